// Evaluate stages on a real agent. For the tests beside this file.
import { readFileSync } from "node:fs";
import type { Assignment, WireSample } from "../../../src/protocol/messages.js";
import { newId, type PipelineId } from "../../../src/domain/ids.js";
import { commandAssignment, type Peer } from "../../support/control-plane-peer.js";

/** An assignment of an evaluate stage that asks `input`. */
export function evaluating(params: Record<string, unknown>, more: Partial<Omit<Assignment, "params">> = {}): Assignment {
  const assignment = commandAssignment([], { kind: "evaluate", stage: "score", ...more });
  return { ...assignment, params: { columns: { prompt: "question", answer: "answer" }, scorer: "math", ...params } as Assignment["params"] };
}

/** Tries of one stage, one after the other. */
export function tries(params: Record<string, unknown>, more: Partial<Omit<Assignment, "params">> = {}): (fence: number) => Assignment {
  const pipelineId: PipelineId = newId("pip");
  return (fence) => evaluating(params, { pipelineId, fence, ...more });
}

/** Rows "What is <i> plus <i>?", one a line. */
export function sums(count: number): string {
  return Array.from({ length: count }, (_, index) => `${JSON.stringify({ question: `What is ${index} plus ${index}?`, answer: `#### ${2 * index}` })}\n`).join("");
}

/** The number that a prompt of `sums` asks for. */
export function sumAsked(prompt: string): number {
  return 2 * Number(/What is (\d+) plus/.exec(prompt)![1]);
}

export function samplesOf(peer: Peer, { attemptId }: Assignment): WireSample[] {
  return peer.reports.flatMap((report) => (report.type === "samples" && report.attemptId === attemptId ? report.samples : []));
}

export function linesOf(path: string): Record<string, unknown>[] {
  return readFileSync(path, "utf8").trim().split("\n").map((line) => JSON.parse(line) as Record<string, unknown>);
}
