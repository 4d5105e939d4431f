// What webhooks tell of. Pure.

import type { PipelineEvent } from "../pipeline/events.js";
import type { PipelineId, StageId } from "../ids.js";

/** pipeline.ended: completed, failed or cancelled. anomaly: something was found wrong with a training. test: asked for by an admin. */
export const WEBHOOK_EVENTS = ["pipeline.ended", "stage.failed", "approval.waiting", "anomaly"] as const;
export type WebhookEvent = (typeof WEBHOOK_EVENTS)[number];

export interface Notice {
  /** The same for the same fact, however often it is entered. */
  readonly key: string;
  readonly event: WebhookEvent | "test";
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly pipelineId: PipelineId | null;
  readonly stageId: StageId | null;
  /** One line, without the names of pipeline and stage. */
  readonly title: string;
  /** Why, in sentences; null when there is no more to say. */
  readonly text: string | null;
  /** GOOD, BAD or neither. */
  readonly tone: "GOOD" | "BAD" | "NEUTRAL";
  /** What it tells of is made up by a stand-in, or made of such. */
  readonly simulated: boolean;
  /** Facts for programs. */
  readonly details: Readonly<Record<string, string | number | null>>;
}

/** Longest text that leaves in a notice, in UTF-16 units. */
const MOST_TEXT = 1_500;

/** What an event of a pipeline gives to tell; null: nothing. `stageId`: of the event's stage. */
export function noticeOf(event: PipelineEvent, of: { readonly pipelineId: PipelineId; readonly seq: number; readonly stageId: StageId | null }): Omit<Notice, "simulated"> | null {
  const base = { key: `${of.pipelineId}:${of.seq}`, at: event.at, pipelineId: of.pipelineId, stageId: of.stageId };
  switch (event.type) {
    case "PipelineCompleted": return { ...base, event: "pipeline.ended", title: "completed", text: null, tone: "GOOD", details: { status: "COMPLETED" } };
    case "PipelineFailed": return { ...base, event: "pipeline.ended", title: "failed", text: shortText(event.error), tone: "BAD", details: { status: "FAILED" } };
    case "PipelineCancelled": return { ...base, event: "pipeline.ended", title: "was cancelled", text: shortText(event.reason), tone: "NEUTRAL", details: { status: "CANCELLED" } };
    case "StageFailed": return { ...base, event: "stage.failed", title: `failed: ${event.failure.code}`, text: shortText([event.failure.message, event.failure.hint].filter((part) => part !== null).join(" ")), tone: "BAD", details: { code: event.failure.code, exitCode: event.failure.exitCode } };
    case "StageWaitingApproval": return { ...base, event: "approval.waiting", title: "waits for approval", text: event.message === null ? null : shortText(event.message), tone: "NEUTRAL", details: {} };
    default: return null;
  }
}

export function shortText(text: string): string {
  return text.length <= MOST_TEXT ? text : `${text.slice(0, MOST_TEXT).toWellFormed()}…`;
}
