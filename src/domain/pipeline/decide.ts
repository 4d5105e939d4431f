// What follows from a command. Pure: time and ids come with the command; a broken rule is a typed error, everything expected is an event.
//   C1. A stage is queued only when all its dependencies are COMPLETED, and never once its pipeline is being cancelled.
//   C2. A stage that ends without success skips everything downstream of it, each with the reason; independent branches go on.
//   C3. The work done is proportional to what changes, not to the size of the graph; only a user's order over a whole pipeline looks at every stage.
// Submission and users' orders stand here, the fate of attempts in attempts.ts, how stages move in draft.ts.

import { ConflictError, assertNever } from "../errors.js";
import { endMember, fireTimer, loseMember, offerAttempt, startMember, stopSilentAttempt, stopUnhealthyAttempt } from "./attempts.js";
import type { CommandOf, PipelineCommand } from "./commands.js";
import { ancestorsOf, descendantsOf } from "./dag.js";
import { Draft, cancelWaiting, completeStage, queueIfReady, requestStop, skipDownstream } from "./draft.js";
import type { PipelineEvent } from "./events.js";
import { evolve } from "./evolve.js";
import { TERMINAL_PIPELINE, TERMINAL_STAGE, liveAttempt, type PipelineState, type StageState } from "./state.js";

export { resolvedParams } from "./draft.js";

/** The events that follow from a command in a state (`null`: no such pipeline yet). Throws typed errors; see each command's function. */
export function decide(state: PipelineState | null, command: PipelineCommand): PipelineEvent[] {
  return decideAndEvolve(state, command).events;
}

/** Like `decide`, with the state after the events, which it has at hand anyway. */
export function decideAndEvolve(before: PipelineState | null, command: PipelineCommand): { events: PipelineEvent[]; state: PipelineState } {
  const draft = command.type === "SubmitPipeline" ? submit(before, command) : new Draft(before ?? missing(command), command.at);
  switch (command.type) {
    case "SubmitPipeline": break;
    case "CancelPipeline": cancelPipeline(draft, command); break;
    case "PausePipeline": pausePipeline(draft, command); break;
    case "ResumePipeline": resumePipeline(draft, command); break;
    case "RetryPipeline": retryPipeline(draft, command); break;
    case "RetryStage": retryStage(draft, command); break;
    case "CancelStage": cancelStage(draft, command); break;
    case "ApproveStage": approveStage(draft, command); break;
    case "OfferAttempt": offerAttempt(draft, command); break;
    case "StartMember": startMember(draft, command); break;
    case "EndMember": endMember(draft, command); break;
    case "LoseMember": loseMember(draft, command); break;
    case "FireTimer": fireTimer(draft, command); break;
    case "StopSilentAttempt": stopSilentAttempt(draft, command); break;
    case "StopUnhealthyAttempt": stopUnhealthyAttempt(draft, command); break;
    default: assertNever(command);
  }
  draft.finishWhenDone();
  return { events: draft.events, state: draft.state };
}

/** Throws ConflictError when the pipeline exists. */
function submit(before: PipelineState | null, command: CommandOf<"SubmitPipeline">): Draft {
  if (before !== null) throw new ConflictError("PIPELINE_EXISTS", `Pipeline ${command.pipelineId} exists already.`);
  const { at } = command;
  const first: PipelineEvent = { type: "PipelineSubmitted", at, pipelineId: command.pipelineId, spec: command.spec, stageIds: command.stageIds, forkedFrom: command.forkedFrom, by: command.by };
  const draft = new Draft(evolve(null, first), at);
  draft.events.push(first);
  for (const [stage, { fromStageId, outputs }] of command.reuse) draft.emit({ type: "StageReused", at, stage, fromStageId, outputs });
  command.spec.stages.forEach((_, index) => queueIfReady(draft, index));
  return draft;
}

function missing(command: PipelineCommand): never {
  throw new Error(`${command.type} without a pipeline`);
}

// ── cancel, pause, resume ───────────────────────────────────────────────────────────────────────────

/** Throws ConflictError when the pipeline is over. A second cancel changes nothing. */
function cancelPipeline(draft: Draft, { at, reason, by }: CommandOf<"CancelPipeline">): void {
  refuseWhenOver(draft.state, "cancelled");
  if (draft.state.cancelling !== null) return;
  draft.emit({ type: "PipelineCancelRequested", at, reason, by });
  draft.state.dag.names.forEach((_, index) => cancelOne(draft, index, reason));
}

/** Cancels one stage; its dependents are skipped. Throws NotFoundError, ConflictError when the stage is over. */
function cancelStage(draft: Draft, { stage: name, reason }: CommandOf<"CancelStage">): void {
  const { index, stage } = draft.find(name);
  if (TERMINAL_STAGE.has(stage.status)) throw new ConflictError("STAGE_OVER", `Stage "${name}" is ${stage.status} already.`);
  cancelOne(draft, index, reason);
  if (draft.state.stages.at(index).status === "CANCELLED") skipDownstream(draft, index, `stage "${name}" was cancelled`);
}

function cancelOne(draft: Draft, index: number, reason: string): void {
  const stage = draft.state.stages.at(index);
  if (TERMINAL_STAGE.has(stage.status)) return;
  const live = liveAttempt(stage);
  if (live === null) cancelWaiting(draft, index, reason);
  else requestStop(draft, draft.state.dag.names[index]!, live, "CANCEL", reason);
}

/** Throws ConflictError when the pipeline is over, being cancelled, or paused already. */
function pausePipeline(draft: Draft, { at, reason, by }: CommandOf<"PausePipeline">): void {
  refuseWhenOver(draft.state, "paused");
  refuseWhenCancelling(draft.state);
  if (draft.state.status === "PAUSED") throw new ConflictError("PIPELINE_PAUSED", `Pipeline ${draft.state.id} is paused already. Resume it to go on.`);
  draft.emit({ type: "PipelinePaused", at, reason, by });
  draft.state.dag.names.forEach((stage, index) => {
    const live = liveAttempt(draft.state.stages.at(index));
    if (live !== null) requestStop(draft, stage, live, "PAUSE", reason);
  });
}

/** Throws ConflictError when the pipeline is not paused, or being cancelled. */
function resumePipeline(draft: Draft, { at, reason, by }: CommandOf<"ResumePipeline">): void {
  if (draft.state.status !== "PAUSED") throw new ConflictError("PIPELINE_NOT_PAUSED", `Pipeline ${draft.state.id} is ${draft.state.status}, not PAUSED: there is nothing to resume.`);
  refuseWhenCancelling(draft.state);
  draft.emit({ type: "PipelineResumed", at, reason, by });
  draft.state.dag.names.forEach((stage, index) => {
    const found = draft.state.stages.at(index);
    // Those that were queued all the while are queued anew: the time they were paused does not count against startTimeoutSeconds. A back-off still runs to its end.
    if (found.status === "PAUSED") draft.emit({ type: "StageQueued", at, stage, cause: "RESUMED", notBefore: null });
    else if (found.status === "QUEUED" && found.live === null) draft.emit({ type: "StageQueued", at, stage, cause: "RESUMED", notBefore: (found.notBefore ?? 0) > at ? found.notBefore : null });
  });
}

// ── retry, approve ──────────────────────────────────────────────────────────────────────────────────

/** Runs FAILED, CANCELLED and SKIPPED stages again. Throws ConflictError when there are none, or while a cancel is under way. */
function retryPipeline(draft: Draft, command: CommandOf<"RetryPipeline">): void {
  const again = draft.state.dag.names.flatMap((_, index) => (isRetryable(draft.state.stages.at(index)) ? [index] : []));
  if (again.length === 0) throw new ConflictError("NOTHING_TO_RETRY", `Pipeline ${draft.state.id} has no failed, cancelled or skipped stage. To run completed stages again, fork it.`);
  reset(draft, again, command);
}

/** Runs one FAILED, CANCELLED or SKIPPED stage again, and what was skipped downstream of it. Throws NotFoundError, ConflictError. */
function retryStage(draft: Draft, command: CommandOf<"RetryStage">): void {
  const { index, stage } = draft.find(command.stage);
  const { dag, stages } = draft.state;
  if (!isRetryable(stage)) throw new ConflictError("STAGE_NOT_RETRYABLE", `Stage "${command.stage}" is ${stage.status}; only FAILED, CANCELLED and SKIPPED stages can be retried.${stage.status === "COMPLETED" ? " To run it again, fork the pipeline from it." : ""}`);
  const blocker = [...ancestorsOf(dag, index)].find((other) => isRetryable(stages.at(other)));
  if (blocker !== undefined) throw new ConflictError("UPSTREAM_NOT_COMPLETED", `Stage "${command.stage}" needs "${dag.names[blocker]!}", which is ${stages.at(blocker).status}. Retry that stage, or the whole pipeline.`);
  const again = new Set([index, ...[...descendantsOf(dag, index)].filter((other) => stages.at(other).status === "SKIPPED")]);
  // What also hangs on another stage that ended badly stays skipped, and all behind it: it could never start.
  const stuck = [...again].filter((other) => other !== index && dag.needs[other]!.some((need) => !again.has(need) && isRetryable(stages.at(need))));
  while (stuck.length > 0) {
    const other = stuck.pop()!;
    if (again.delete(other)) stuck.push(...dag.feeds[other]!);
  }
  reset(draft, [...again].sort((a, b) => a - b), command);
}

function reset(draft: Draft, again: readonly number[], { at, reason, by }: CommandOf<"RetryPipeline"> | CommandOf<"RetryStage">): void {
  if (!TERMINAL_PIPELINE.has(draft.state.status)) refuseWhenCancelling(draft.state);
  const { dag } = draft.state;
  draft.emit({ type: "PipelineRetried", at, reason, by, stages: again.map((index) => dag.names[index]!) });
  for (const index of again) {
    const waitingFor = dag.needs[index]!.filter((need) => draft.state.stages.at(need).status !== "COMPLETED").length;
    draft.emit({ type: "StageReset", at, stage: dag.names[index]!, waitingFor });
  }
  for (const index of again) queueIfReady(draft, index);
}

/** Completes an approval stage. Throws NotFoundError, ConflictError when it does not wait for approval. */
function approveStage(draft: Draft, { at, stage: name, by, reason }: CommandOf<"ApproveStage">): void {
  const { index, stage } = draft.find(name);
  if (stage.status !== "WAITING_APPROVAL") throw new ConflictError("NOT_WAITING_APPROVAL", `Stage "${name}" is ${stage.status}; it does not wait for an approval.`);
  draft.emit({ type: "StageApproved", at, stage: name, by, reason });
  draft.start();
  completeStage(draft, index, { approvedBy: by, reason }, null);
}

// ── small judgements ────────────────────────────────────────────────────────────────────────────────

function isRetryable(stage: StageState): boolean {
  return stage.status === "FAILED" || stage.status === "CANCELLED" || stage.status === "SKIPPED";
}

function refuseWhenOver(state: PipelineState, verb: string): void {
  if (TERMINAL_PIPELINE.has(state.status)) throw new ConflictError("PIPELINE_OVER", `Pipeline ${state.id} is ${state.status} already and cannot be ${verb}.`);
}

function refuseWhenCancelling(state: PipelineState): void {
  if (state.cancelling !== null) throw new ConflictError("PIPELINE_CANCELLING", `Pipeline ${state.id} is still being cancelled. Once it is CANCELLED it can be retried.`, { retryable: true });
}
