// What a pipeline is between two events. A phase owns its data: a stage has a live attempt only while it is offered or running, outputs only when completed.

import type { AgentId, AttemptId, PipelineId, StageId } from "../ids.js";
import type { Dag } from "./dag.js";
import type { FailureCode, PipelineSpec, StageSpec } from "./spec.js";
import type { StageTable } from "./stage-table.js";

export const PIPELINE_STATUSES = ["PENDING", "RUNNING", "PAUSED", "COMPLETED", "FAILED", "CANCELLED"] as const;
export type PipelineStatus = (typeof PIPELINE_STATUSES)[number];
export const STAGE_STATUSES = ["PENDING", "QUEUED", "RUNNING", "PAUSED", "WAITING_APPROVAL", "COMPLETED", "FAILED", "CANCELLED", "SKIPPED"] as const;
export type StageStatus = (typeof STAGE_STATUSES)[number];
export const ATTEMPT_STATUSES = ["OFFERED", "RUNNING", "COMPLETED", "FAILED", "LOST", "CANCELLED"] as const;
export type AttemptStatus = (typeof ATTEMPT_STATUSES)[number];

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };
export type Outputs = { readonly [key: string]: Json };

/** Why an attempt or a stage failed, as shown to the user. */
export interface Failure {
  readonly code: FailureCode;
  readonly message: string;
  readonly hint: string | null;
  readonly exitCode: number | null;
  /** Last lines of the log, secrets redacted; at most 50 lines of 2,000 characters. */
  readonly logTail: readonly string[];
}

/** Why a live attempt is being stopped. */
export type StopCause = "CANCEL" | "PAUSE" | "TIMEOUT" | "NO_PROGRESS" | "PEER_ENDED" | "HEALTH";

/** How one agent's part of an attempt ended. STOPPED: because it was asked to. REFUSED: never started, another agent may take it. */
export type MemberOutcome =
  | { readonly kind: "COMPLETED"; readonly outputs: Outputs }
  | { readonly kind: "FAILED"; readonly failure: Failure }
  | { readonly kind: "STOPPED" }
  | { readonly kind: "REFUSED"; readonly reason: string }
  | { readonly kind: "LOST"; readonly reason: string };

/** One agent's part of an attempt; most attempts have one. */
export interface Member {
  readonly agentId: AgentId;
  readonly agentName: string;
  /** GPU indices on that agent. */
  readonly gpus: readonly number[];
  /** 0 is the head: its outputs are the stage's. */
  readonly rank: number;
  readonly status: "OFFERED" | "RUNNING" | "ENDED";
  readonly outcome: MemberOutcome | null;
}

export interface LiveAttempt {
  readonly id: AttemptId;
  /** The fence: rises with every attempt of the stage; older ones are refused everywhere. */
  readonly number: number;
  readonly offeredAt: number;
  /** When the first member started; milliseconds since 1970. */
  readonly startedAt: number | null;
  readonly members: readonly Member[];
  /** `peer`, with PEER_ENDED: the agent whose part ended first; its outcome is the attempt's. `rollbackTo`, with HEALTH: the step from which a new attempt goes on. */
  readonly stopping: { readonly cause: StopCause; readonly reason: string; readonly peer?: AgentId; readonly rollbackTo?: number } | null;
}

/** What attempts up to this one left behind after the step is not to be gone on from. */
export interface Rollback { readonly attempt: number; readonly toStep: number }

interface StageBase {
  readonly id: StageId;
  /** Attempts ever made: the newest fence. */
  readonly attempts: number;
  /** Attempts that count against retry.maxAttempts since the stage was last reset. */
  readonly tries: number;
  readonly startedAt: number | null;
  /** Oldest first; absent: none. Kept for good, also when the stage is reset. */
  readonly rollbacks?: readonly Rollback[];
}
export type StageState = StageBase & (
  | { readonly status: "PENDING"; /** Dependencies not yet COMPLETED. */ readonly waitingFor: number }
  | { readonly status: "QUEUED"; /** Since when it may be placed, the end of a back-off included: age and startTimeoutSeconds count from here. Refusals do not move it. */ readonly queuedAt: number; /** A retry waits until then. */ readonly notBefore: number | null; readonly live: LiveAttempt | null }
  | { readonly status: "RUNNING"; readonly live: LiveAttempt }
  | { readonly status: "PAUSED"; readonly reason: string }
  | { readonly status: "WAITING_APPROVAL"; readonly since: number; readonly message: string | null }
  | { readonly status: "COMPLETED"; readonly outputs: Outputs; readonly finishedAt: number; /** The stage of the parent pipeline whose result was taken over by a fork. */ readonly reusedFrom: StageId | null }
  | { readonly status: "FAILED"; readonly failure: Failure; readonly finishedAt: number }
  | { readonly status: "CANCELLED"; readonly reason: string; readonly finishedAt: number }
  | { readonly status: "SKIPPED"; readonly reason: string; readonly finishedAt: number }
);

export interface PipelineState {
  readonly id: PipelineId;
  readonly spec: PipelineSpec;
  /** Derived from spec; never stored. */
  readonly dag: Dag;
  readonly status: PipelineStatus;
  /** Number of events so far; the next event's seq is one more. */
  readonly seq: number;
  readonly stages: StageTable<StageState>;
  /** Stages in each status: the end is seen without a scan. */
  readonly counts: Readonly<Record<StageStatus, number>>;
  readonly cancelling: { readonly reason: string } | null;
  readonly forkedFrom: PipelineId | null;
  readonly error: string | null;
  readonly createdAt: number;
  readonly startedAt: number | null;
  readonly finishedAt: number | null;
}

export const TERMINAL_PIPELINE: ReadonlySet<PipelineStatus> = new Set(["COMPLETED", "FAILED", "CANCELLED"]);
export const TERMINAL_STAGE: ReadonlySet<StageStatus> = new Set(["COMPLETED", "FAILED", "CANCELLED", "SKIPPED"]);

/** Whether no stage has anything left to do. */
export function everyStageOver({ counts, stages }: PipelineState): boolean {
  return counts.COMPLETED + counts.FAILED + counts.CANCELLED + counts.SKIPPED === stages.length;
}

/** The live attempt of a stage, offered or running; null otherwise. */
export function liveAttempt(stage: StageState): LiveAttempt | null {
  return stage.status === "QUEUED" || stage.status === "RUNNING" ? stage.live : null;
}

/** A stage by name with its position; null when the pipeline has none of that name. */
export function findStage(state: PipelineState, name: string): { index: number; stage: StageState; spec: StageSpec } | null {
  const index = state.dag.indexOf.get(name);
  if (index === undefined) return null;
  return { index, stage: state.stages.at(index), spec: state.spec.stages[index]! };
}

/** Whether the scheduler may place the stage now. `at`: milliseconds since 1970. */
export function isPlaceable(state: PipelineState, stage: StageState, at: number): boolean {
  return stage.status === "QUEUED" && stage.live === null && state.status !== "PAUSED" && state.cancelling === null && (stage.notBefore ?? 0) <= at;
}

/** The stage's next deadline, milliseconds since 1970; null when it has none. The end of a back-off is no deadline: the scheduler
 *  sees to it, and `queuedAt` is not before it. */
export function nextTimerAt(stage: StageState, spec: StageSpec): number | null {
  if (stage.status === "QUEUED" && (stage.live === null || stage.live.stopping === null)) return stage.queuedAt + spec.startTimeoutSeconds * 1000;
  if (stage.status === "RUNNING" && spec.timeoutSeconds !== undefined && stage.live.stopping === null) {
    return (stage.live.startedAt ?? stage.live.offeredAt) + spec.timeoutSeconds * 1000;
  }
  return null;
}
