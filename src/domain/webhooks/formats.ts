// How a notice is written for each kind of receiver, and how it is signed. Pure.
//   json    our own form, signed: X-Trainyard-Signature: v1=<hex of HMAC-SHA256 of "<timestamp>.<body>">, with X-Trainyard-Timestamp in seconds since 1970.
//   slack   an incoming webhook of Slack: {text, blocks}; the address is the key.
//   feishu  a custom bot of Feishu or Lark: {msg_type, content}; with a secret also {timestamp, sign}, sign = base64 of HMAC-SHA256 of nothing under "<timestamp>\n<secret>".

import { createHmac } from "node:crypto";
import type { Notice } from "./notice.js";

export const WEBHOOK_FORMATS = ["json", "slack", "feishu"] as const;
export type WebhookFormat = (typeof WEBHOOK_FORMATS)[number];

/** A notice with the names that stand behind its ids when it is sent. */
export interface NamedNotice extends Notice {
  /** Of the delivery: the same in every try. */
  readonly id: string;
  readonly pipelineName: string | null;
  readonly labels: Readonly<Record<string, unknown>>;
  readonly stageName: string | null;
}

export interface Message { readonly body: string; readonly headers: Readonly<Record<string, string>> }

/** `seconds` since 1970: when this try is made. */
export function messageOf(format: WebhookFormat, notice: NamedNotice, secret: string | null, seconds: number): Message {
  const body = JSON.stringify(BODIES[format](notice, secret, seconds));
  return { body, headers: { "content-type": "application/json; charset=utf-8", ...(format === "json" ? ownHeaders(notice, body, secret, seconds) : {}) } };
}

/** What is wrong with an answer of status 2xx; null: nothing. Feishu refuses with status 200 and a code. */
export function refusalIn(format: WebhookFormat, answer: string): string | null {
  if (format !== "feishu") return null;
  try {
    const { code, StatusCode, msg } = JSON.parse(answer) as { code?: unknown; StatusCode?: unknown; msg?: unknown };
    const told = code ?? StatusCode ?? 0;
    return told === 0 ? null : `code ${String(told)}${typeof msg === "string" ? `: ${msg}` : ""}`;
  } catch {
    return "the answer is no JSON";
  }
}

const BODIES: Readonly<Record<WebhookFormat, (notice: NamedNotice, secret: string | null, seconds: number) => unknown>> = {
  json: ({ id, event, at, pipelineId, pipelineName, labels, stageId, stageName, title, text, simulated, details }) => ({
    id, event, at: new Date(at).toISOString(), pipeline: pipelineId === null ? null : { id: pipelineId, name: pipelineName, labels }, stage: stageId === null ? null : { id: stageId, name: stageName }, title, text, simulated, details,
  }),
  slack: (notice) => ({
    text: headline(notice, slackText),
    blocks: [
      { type: "section", text: { type: "mrkdwn", text: `${MARKS[notice.tone].slack} ${headline(notice, slackText)}${notice.text === null ? "" : `\n${slackText(notice.text)}`}` } },
      ...(notice.pipelineId === null ? [] : [{ type: "context", elements: [{ type: "mrkdwn", text: slackText(`${notice.event} · ${notice.pipelineId}`) }] }]),
    ],
  }),
  feishu: (notice, secret, seconds) => ({
    ...(secret === null ? {} : { timestamp: String(seconds), sign: createHmac("sha256", `${seconds}\n${secret}`).digest("base64") }),
    msg_type: "post",
    content: { post: { en_us: { title: `${MARKS[notice.tone].plain} ${headline(notice, (text) => text)}`, content: [...(notice.text === null ? [] : [[{ tag: "text", text: notice.text }]]), [{ tag: "text", text: [notice.event, notice.pipelineId].filter((part) => part !== null).join(" · ") }]] } } },
  }),
};

const MARKS = { GOOD: { slack: ":white_check_mark:", plain: "✅" }, BAD: { slack: ":x:", plain: "❌" }, NEUTRAL: { slack: ":information_source:", plain: "ℹ️" } } as const;

/** E.g. `Pipeline nightly: stage train failed: GPU_OUT_OF_MEMORY`. */
function headline({ pipelineName, pipelineId, stageName, title, simulated }: NamedNotice, written: (text: string) => string): string {
  const of = pipelineId === null ? "" : `Pipeline ${pipelineName ?? pipelineId}${stageName === null ? "" : `: stage ${stageName}`} `;
  return written(`${of}${title}${simulated ? " (simulated)" : ""}`);
}

/** Slack reads these three characters as control characters. */
function slackText(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

function ownHeaders({ id, event }: NamedNotice, body: string, secret: string | null, seconds: number): Record<string, string> {
  return {
    "x-trainyard-delivery": id, "x-trainyard-event": event, "x-trainyard-timestamp": String(seconds),
    ...(secret === null ? {} : { "x-trainyard-signature": `v1=${createHmac("sha256", secret).update(`${seconds}.${body}`).digest("hex")}` }),
  };
}
