// A pipeline while a command is decided: its state with the events so far, and how its stages move from one phase to the next.
//   D1. Every event is applied as it is emitted: what follows is decided on the state it led to.
//   D2. A stage whose inputs are missing or do not fit fails before anything is started for it.

import { NotFoundError } from "../errors.js";
import type { AgentId } from "../ids.js";
import { whyNot } from "./conditions.js";
import type { PipelineEvent } from "./events.js";
import { evolve } from "./evolve.js";
import { MissingOutputError, resolveReferences } from "./references.js";
import { capabilityOf, type StageSpec } from "./spec.js";
import { TERMINAL_PIPELINE, everyStageOver, findStage, type Failure, type Json, type LiveAttempt, type Outputs, type PipelineState, type StageState, type StopCause } from "./state.js";
import { resolvedParamsProblems } from "./validate.js";

export class Draft {
  state: PipelineState;
  readonly at: number;
  readonly events: PipelineEvent[] = [];

  constructor(state: PipelineState, at: number) {
    this.state = state;
    this.at = at;
  }

  emit(event: PipelineEvent): void {
    this.events.push(event);
    this.state = evolve(this.state, event);
  }

  /** Throws NotFoundError. */
  find(name: string): { index: number; stage: StageState; spec: StageSpec } {
    const found = findStage(this.state, name);
    if (found === null) throw new NotFoundError(`stage of pipeline ${this.state.id} named`, name);
    return found;
  }

  /** PENDING becomes RUNNING with the first thing that starts. */
  start(): void {
    if (this.state.startedAt === null) this.emit({ type: "PipelineStarted", at: this.at });
  }

  /** Ends the pipeline when its last stage has ended. An accepted cancel is kept even when every program finished before its stop came. */
  finishWhenDone(): void {
    const { counts, status, stages, cancelling } = this.state;
    if (TERMINAL_PIPELINE.has(status) || !everyStageOver(this.state)) return;
    const of = `of ${stages.length} stage${stages.length === 1 ? "" : "s"}`;
    if (cancelling !== null) this.emit({ type: "PipelineCancelled", at: this.at, reason: cancelling.reason });
    else if (counts.FAILED > 0) this.emit({ type: "PipelineFailed", at: this.at, error: `${counts.FAILED} ${of} failed${counts.SKIPPED > 0 ? `, ${counts.SKIPPED} skipped` : ""}. See the error of each, then retry the pipeline.` });
    else if (counts.CANCELLED > 0) this.emit({ type: "PipelineCancelled", at: this.at, reason: `${counts.CANCELLED} ${of} cancelled${counts.SKIPPED > 0 ? `, ${counts.SKIPPED} skipped` : ""}.` });
    else this.emit({ type: "PipelineCompleted", at: this.at });
  }
}

/** Queues a PENDING stage whose dependencies are all COMPLETED; or asks for approval, skips it, or fails it, as its specification and its inputs say. */
export function queueIfReady(draft: Draft, index: number): void {
  const { state, at } = draft;
  const stage = state.stages.at(index);
  if (stage.status !== "PENDING" || stage.waitingFor > 0 || state.cancelling !== null) return;
  const spec = state.spec.stages[index]!;
  let params: Record<string, Json>;
  try {
    const reason = spec.when === undefined ? null : whyNot(spec.when, resolveReferences(spec.when.value, (name) => outputsOf(state, name)));
    if (reason !== null) return skip(draft, index, `its condition does not hold: ${reason}`);
    params = resolvedParams(state, spec.name);
  } catch (error) {
    if (!(error instanceof MissingOutputError)) throw error;
    return failStage(draft, index, { code: "MISSING_OUTPUT", message: error.message, hint: `Correct the reference, or let stage "${error.reference.stage}" write that key to TRAINYARD_OUTPUTS_FILE; then fork from it.`, exitCode: null, logTail: [] });
  }
  if (capabilityOf(spec) === null) {
    const message = params["message"] ?? null;
    return draft.emit({ type: "StageWaitingApproval", at, stage: spec.name, message: message === null || typeof message === "string" ? message : JSON.stringify(message) });
  }
  const wrong = resolvedParamsProblems(spec, params);
  if (wrong.length === 0) return draft.emit({ type: "StageQueued", at, stage: spec.name, cause: "READY", notBefore: null });
  const message = `With the outputs of earlier stages filled in, the params do not fit. ${wrong.map((problem) => problem.message).join(" ")}`;
  failStage(draft, index, { code: "INVALID_INPUT", message, hint: "Correct the reference, or what the stage it names leaves as output; then fork from that stage.", exitCode: null, logTail: [] });
}

export function completeStage(draft: Draft, index: number, outputs: Outputs, attempt: LiveAttempt | null): void {
  const stage = draft.state.dag.names[index]!;
  draft.emit({ type: "StageCompleted", at: draft.at, stage, attemptId: attempt?.id ?? null, number: attempt?.number ?? 0, outputs });
  for (const next of draft.state.dag.feeds[index]!) queueIfReady(draft, next);
}

export function failStage(draft: Draft, index: number, failure: Failure): void {
  const stage = draft.state.dag.names[index]!;
  draft.emit({ type: "StageFailed", at: draft.at, stage, failure });
  skipDownstream(draft, index, `stage "${stage}" failed (${failure.code})`);
}

export function cancelWaiting(draft: Draft, index: number, reason: string): void {
  draft.emit({ type: "StageCancelled", at: draft.at, stage: draft.state.dag.names[index]!, reason });
}

function skip(draft: Draft, index: number, reason: string): void {
  const stage = draft.state.dag.names[index]!;
  draft.emit({ type: "StageSkipped", at: draft.at, stage, reason });
  skipDownstream(draft, index, `stage "${stage}" was skipped: ${reason}`);
}

export function skipDownstream(draft: Draft, index: number, reason: string): void {
  const open = [...draft.state.dag.feeds[index]!];
  while (open.length > 0) {
    const next = open.pop()!;
    if (draft.state.stages.at(next).status !== "PENDING") continue;
    draft.emit({ type: "StageSkipped", at: draft.at, stage: draft.state.dag.names[next]!, reason });
    open.push(...draft.state.dag.feeds[next]!);
  }
}

/** A cancel overrides whatever else the attempt is being stopped for; otherwise the first cause stays. */
export function requestStop(draft: Draft, stage: string, live: LiveAttempt, cause: StopCause, reason: string, more: { readonly peer?: AgentId; readonly rollbackTo?: number } = {}): void {
  if (live.stopping !== null && (cause !== "CANCEL" || live.stopping.cause === "CANCEL")) return;
  draft.emit({ type: "AttemptStopRequested", at: draft.at, stage, attemptId: live.id, number: live.number, cause, reason, ...more });
}

/** Params of a stage with references resolved, for its assignment. Throws MissingOutputError. */
export function resolvedParams(state: PipelineState, name: string): Record<string, Json> {
  return resolveReferences(state.spec.stages[state.dag.indexOf.get(name)!]!.params, (stage) => outputsOf(state, stage)) as Record<string, Json>;
}

function outputsOf(state: PipelineState, name: string): Outputs | null {
  const stage = findStage(state, name)?.stage;
  return stage?.status === "COMPLETED" ? stage.outputs : null;
}
