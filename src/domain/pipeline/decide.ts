// What follows from a command. Pure: time and ids come with the command; a broken rule is a typed error, everything expected is an event.
//   C1. A stage is queued only when all its dependencies are COMPLETED, and never once its pipeline is being cancelled.
//   C2. A stage has at most one live attempt; each attempt's number is one higher than the last.
//   C3. A report that carries an older fence, or that of an attempt that is over, is refused with StaleLeaseError; a repeated one changes nothing.
//   C4. A stage that ends without success skips everything downstream of it, each with the reason; independent branches go on.
//   C5. The work done is proportional to what changes, not to the size of the graph.

import { ConflictError, NotFoundError, StaleLeaseError, assertNever } from "../errors.js";
import type { CommandOf, PipelineCommand } from "./commands.js";
import { nextTryAt, whyNot } from "./conditions.js";
import { ancestorsOf, descendantsOf } from "./dag.js";
import type { PipelineEvent } from "./events.js";
import { evolve } from "./evolve.js";
import { MissingOutputError, resolveReferences } from "./references.js";
import { capabilityOf, type StageSpec } from "./spec.js";
import { TERMINAL_PIPELINE, TERMINAL_STAGE, findStage, liveAttempt, nextTimerAt, type Failure, type Json, type LiveAttempt, type Member, type Outputs, type PipelineState, type StageState, type StopCause } from "./state.js";

/** The events that follow from a command in a state (`null`: no such pipeline yet). Throws typed errors; see each command's function. */
export function decide(state: PipelineState | null, command: PipelineCommand): PipelineEvent[] {
  return decideAndEvolve(state, command).events;
}

/** Like `decide`, with the state after the events, which it has at hand anyway. */
export function decideAndEvolve(before: PipelineState | null, command: PipelineCommand): { events: PipelineEvent[]; state: PipelineState } {
  if (command.type === "SubmitPipeline") return submit(before, command);
  if (before === null) throw new Error(`${command.type} without a pipeline`);
  const draft = new Draft(before, command.at);
  switch (command.type) {
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
    default: assertNever(command);
  }
  draft.finishWhenDone();
  return { events: draft.events, state: draft.state };
}

/** Params of a stage with references resolved, for its assignment. Throws MissingOutputError. */
export function resolvedParams(state: PipelineState, name: string): Record<string, Json> {
  return resolveReferences(state.spec.stages[state.dag.indexOf.get(name)!]!.params, (stage) => outputsOf(state, stage)) as Record<string, Json>;
}

/** A state with the events that led to it since the command came in. */
class Draft {
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

  find(name: string): { index: number; stage: StageState; spec: StageSpec } {
    const found = findStage(this.state, name);
    if (found === null) throw new NotFoundError(`stage of pipeline ${this.state.id} named`, name);
    return found;
  }

  /** Ends the pipeline when its last stage has ended. */
  finishWhenDone(): void {
    const { counts, status, stages, cancelling } = this.state;
    const over = counts.COMPLETED + counts.FAILED + counts.CANCELLED + counts.SKIPPED;
    if (over < stages.length || TERMINAL_PIPELINE.has(status)) return;
    if (cancelling !== null) this.emit({ type: "PipelineCancelled", at: this.at, reason: cancelling.reason });
    else if (counts.FAILED > 0) this.emit({ type: "PipelineFailed", at: this.at, error: `${counts.FAILED} of ${stages.length} stages failed${counts.SKIPPED > 0 ? ` and ${counts.SKIPPED} were skipped` : ""}. See the error of each, then retry the pipeline.` });
    else if (counts.CANCELLED > 0) this.emit({ type: "PipelineCancelled", at: this.at, reason: `${counts.CANCELLED} of ${stages.length} stages were cancelled` });
    else this.emit({ type: "PipelineCompleted", at: this.at });
  }
}

// ── submission ──────────────────────────────────────────────────────────────────────────────────────

function submit(before: PipelineState | null, command: CommandOf<"SubmitPipeline">): { events: PipelineEvent[]; state: PipelineState } {
  if (before !== null) throw new ConflictError("PIPELINE_EXISTS", `Pipeline ${command.pipelineId} exists already.`);
  const { at } = command;
  const first: PipelineEvent = { type: "PipelineSubmitted", at, pipelineId: command.pipelineId, spec: command.spec, stageIds: command.stageIds, forkedFrom: command.forkedFrom, by: command.by };
  const draft = new Draft(evolve(null, first), at);
  draft.events.push(first);
  for (const [stage, { fromStageId, outputs }] of command.reuse) draft.emit({ type: "StageReused", at, stage, fromStageId, outputs });
  command.spec.stages.forEach((_, index) => queueIfReady(draft, index));
  draft.finishWhenDone();
  return { events: draft.events, state: draft.state };
}

// ── how stages move ─────────────────────────────────────────────────────────────────────────────────

/** Queues a PENDING stage whose dependencies are all COMPLETED; or asks for approval, skips it, or fails it, as its specification and its inputs say. */
function queueIfReady(draft: Draft, index: number): void {
  const { state, at } = draft;
  const stage = state.stages.at(index);
  if (stage.status !== "PENDING" || stage.waitingFor > 0 || state.cancelling !== null) return;
  const spec = state.spec.stages[index]!;
  try {
    const reason = spec.when === undefined ? null : whyNot(spec.when, resolveReferences(spec.when.value, (name) => outputsOf(state, name)));
    if (reason !== null) return skip(draft, index, `its condition does not hold: ${reason}`);
    resolvedParams(state, spec.name);
  } catch (error) {
    if (!(error instanceof MissingOutputError)) throw error;
    return failStage(draft, index, { code: "MISSING_OUTPUT", message: error.message, hint: `Correct the reference, or let stage "${error.reference.stage}" write that key to TRAINYARD_OUTPUTS_FILE; then fork from it.`, exitCode: null, logTail: [] });
  }
  if (capabilityOf(spec) === null) draft.emit({ type: "StageWaitingApproval", at, stage: spec.name, message: typeof spec.params["message"] === "string" ? spec.params["message"] : null });
  else draft.emit({ type: "StageQueued", at, stage: spec.name, cause: "READY", notBefore: null });
}

function completeStage(draft: Draft, index: number, outputs: Outputs, attempt: LiveAttempt | null): void {
  const stage = draft.state.dag.names[index]!;
  draft.emit({ type: "StageCompleted", at: draft.at, stage, attemptId: attempt?.id ?? null, number: attempt?.number ?? 0, outputs });
  for (const next of draft.state.dag.feeds[index]!) queueIfReady(draft, next);
}

function failStage(draft: Draft, index: number, failure: Failure): void {
  const stage = draft.state.dag.names[index]!;
  draft.emit({ type: "StageFailed", at: draft.at, stage, failure });
  skipDownstream(draft, index, `stage "${stage}" failed (${failure.code})`);
}

function skip(draft: Draft, index: number, reason: string): void {
  const stage = draft.state.dag.names[index]!;
  draft.emit({ type: "StageSkipped", at: draft.at, stage, reason });
  skipDownstream(draft, index, `stage "${stage}" was skipped: ${reason}`);
}

function skipDownstream(draft: Draft, index: number, reason: string): void {
  const open = [...draft.state.dag.feeds[index]!];
  while (open.length > 0) {
    const next = open.pop()!;
    if (draft.state.stages.at(next).status !== "PENDING") continue;
    draft.emit({ type: "StageSkipped", at: draft.at, stage: draft.state.dag.names[next]!, reason });
    open.push(...draft.state.dag.feeds[next]!);
  }
}

// ── orders of users ─────────────────────────────────────────────────────────────────────────────────

/** Throws ConflictError when the pipeline is over. A second cancel changes nothing. */
function cancelPipeline(draft: Draft, { at, reason, by }: CommandOf<"CancelPipeline">): void {
  refuseWhenOver(draft.state, "cancelled");
  if (draft.state.cancelling !== null) return;
  draft.emit({ type: "PipelineCancelRequested", at, reason, by });
  draft.state.dag.names.forEach((stage, index) => cancelOne(draft, index, stage, reason));
}

function cancelOne(draft: Draft, index: number, stage: string, reason: string): void {
  const state = draft.state.stages.at(index);
  if (TERMINAL_STAGE.has(state.status)) return;
  const live = liveAttempt(state);
  if (live === null) draft.emit({ type: "StageCancelled", at: draft.at, stage, reason });
  else requestStop(draft, stage, live, "CANCEL", reason);
}

/** A cancel overrides whatever else the attempt is being stopped for; otherwise the first cause stays. */
function requestStop(draft: Draft, stage: string, live: LiveAttempt, cause: StopCause, reason: string): void {
  if (live.stopping !== null && (cause !== "CANCEL" || live.stopping.cause === "CANCEL")) return;
  draft.emit({ type: "AttemptStopRequested", at: draft.at, stage, attemptId: live.id, number: live.number, cause, reason });
}

/** Throws ConflictError when the pipeline is over, being cancelled, or paused already. */
function pausePipeline(draft: Draft, { at, reason, by }: CommandOf<"PausePipeline">): void {
  refuseWhenOver(draft.state, "paused");
  if (draft.state.cancelling !== null) throw new ConflictError("PIPELINE_CANCELLING", `Pipeline ${draft.state.id} is being cancelled.`);
  if (draft.state.status === "PAUSED") throw new ConflictError("PIPELINE_PAUSED", `Pipeline ${draft.state.id} is paused already. Resume it to go on.`);
  draft.emit({ type: "PipelinePaused", at, reason, by });
  draft.state.dag.names.forEach((stage, index) => {
    const live = liveAttempt(draft.state.stages.at(index));
    if (live !== null) requestStop(draft, stage, live, "PAUSE", reason);
  });
}

/** Throws ConflictError when the pipeline is not paused. */
function resumePipeline(draft: Draft, { at, reason, by }: CommandOf<"ResumePipeline">): void {
  if (draft.state.status !== "PAUSED") throw new ConflictError("PIPELINE_NOT_PAUSED", `Pipeline ${draft.state.id} is ${draft.state.status}, not PAUSED: there is nothing to resume.`);
  draft.emit({ type: "PipelineResumed", at, reason, by });
  draft.state.dag.names.forEach((stage, index) => {
    const { status } = draft.state.stages.at(index);
    // Those that were queued all the while are queued anew: the time they were paused does not count against startTimeoutSeconds.
    if (status === "PAUSED" || (status === "QUEUED" && liveAttempt(draft.state.stages.at(index)) === null)) draft.emit({ type: "StageQueued", at, stage, cause: "RESUMED", notBefore: null });
  });
}

/** Runs FAILED, CANCELLED and SKIPPED stages again. Throws ConflictError when there are none, or while a cancel is under way. */
function retryPipeline(draft: Draft, command: CommandOf<"RetryPipeline">): void {
  const again = draft.state.dag.names.flatMap((_, index) => (isRetryable(draft.state.stages.at(index)) ? [index] : []));
  if (again.length === 0) throw new ConflictError("NOTHING_TO_RETRY", `Pipeline ${draft.state.id} has no failed, cancelled or skipped stage. To run completed stages again, fork it.`);
  reset(draft, again, command);
}

/** Runs one FAILED, CANCELLED or SKIPPED stage again, and what was skipped downstream of it. Throws NotFoundError, ConflictError. */
function retryStage(draft: Draft, command: CommandOf<"RetryStage">): void {
  const { index, stage } = draft.find(command.stage);
  if (!isRetryable(stage)) throw new ConflictError("STAGE_NOT_RETRYABLE", `Stage "${command.stage}" is ${stage.status}; only FAILED, CANCELLED and SKIPPED stages can be retried.${stage.status === "COMPLETED" ? " To run it again, fork the pipeline from it." : ""}`);
  const blocker = [...ancestorsOf(draft.state.dag, index)].find((other) => isRetryable(draft.state.stages.at(other)));
  if (blocker !== undefined) throw new ConflictError("UPSTREAM_NOT_COMPLETED", `Stage "${command.stage}" needs "${draft.state.dag.names[blocker]!}", which is ${draft.state.stages.at(blocker).status}. Retry that stage, or the whole pipeline.`);
  // What also hangs on another stage that ended badly stays skipped: it could never start.
  const skipped = [...descendantsOf(draft.state.dag, index)].filter((other) => draft.state.stages.at(other).status === "SKIPPED");
  const again = new Set([index, ...skipped]);
  for (let shrinking = true; shrinking; ) {
    shrinking = false;
    for (const other of again) {
      if (other === index || draft.state.dag.needs[other]!.every((need) => again.has(need) || !isRetryable(draft.state.stages.at(need)))) continue;
      again.delete(other);
      shrinking = true;
    }
  }
  reset(draft, [...again].sort((a, b) => a - b), command);
}

function reset(draft: Draft, again: readonly number[], { at, reason, by }: CommandOf<"RetryPipeline"> | CommandOf<"RetryStage">): void {
  if (draft.state.cancelling !== null && !TERMINAL_PIPELINE.has(draft.state.status)) throw new ConflictError("PIPELINE_CANCELLING", `Pipeline ${draft.state.id} is still being cancelled. Retry when it is CANCELLED.`, { retryable: true });
  const { dag } = draft.state;
  draft.emit({ type: "PipelineRetried", at, reason, by, stages: again.map((index) => dag.names[index]!) });
  for (const index of again) {
    const waitingFor = dag.needs[index]!.filter((need) => draft.state.stages.at(need).status !== "COMPLETED").length;
    draft.emit({ type: "StageReset", at, stage: dag.names[index]!, waitingFor });
  }
  for (const index of again) queueIfReady(draft, index);
}

/** Cancels one stage; its dependents are skipped. Throws NotFoundError, ConflictError when the stage is over. */
function cancelStage(draft: Draft, { stage: name, reason }: CommandOf<"CancelStage">): void {
  const { index, stage } = draft.find(name);
  if (TERMINAL_STAGE.has(stage.status)) throw new ConflictError("STAGE_OVER", `Stage "${name}" is ${stage.status} already.`);
  cancelOne(draft, index, name, reason);
  if (draft.state.stages.at(index).status === "CANCELLED") skipDownstream(draft, index, `stage "${name}" was cancelled`);
}

/** Completes an approval stage. Throws NotFoundError, ConflictError when it does not wait for approval. */
function approveStage(draft: Draft, { at, stage: name, by, reason }: CommandOf<"ApproveStage">): void {
  const { index, stage } = draft.find(name);
  if (stage.status !== "WAITING_APPROVAL") throw new ConflictError("NOT_WAITING_APPROVAL", `Stage "${name}" is ${stage.status}; it does not wait for an approval.`);
  draft.emit({ type: "StageApproved", at, stage: name, by, reason });
  completeStage(draft, index, { approvedBy: by, reason }, null);
  startPipeline(draft);
}

// ── attempts ────────────────────────────────────────────────────────────────────────────────────────

/** Throws ConflictError when the stage cannot be placed (any more). */
function offerAttempt(draft: Draft, { at, stage: name, attemptId, members }: CommandOf<"OfferAttempt">): void {
  const { stage } = draft.find(name);
  if (stage.status !== "QUEUED" || stage.live !== null || draft.state.status === "PAUSED" || draft.state.cancelling !== null) {
    throw new ConflictError("STAGE_NOT_PLACEABLE", `Stage "${name}" of ${draft.state.id} is no longer waiting for an agent.`);
  }
  draft.emit({ type: "AttemptOffered", at, stage: name, attemptId, number: stage.attempts + 1, members: members.map((member): Member => ({ ...member, status: "OFFERED", outcome: null })) });
}

/** Throws StaleLeaseError. A repetition changes nothing. */
function startMember(draft: Draft, command: CommandOf<"StartMember">): void {
  const { live, member } = liveMember(draft, command);
  if (member.status !== "OFFERED") return;
  draft.emit({ type: "AttemptStarted", at: draft.at, stage: command.stage, attemptId: live.id, number: live.number, agentId: member.agentId, agentName: member.agentName, command: command.command });
  startPipeline(draft);
}

function startPipeline(draft: Draft): void {
  if (draft.state.startedAt === null) draft.emit({ type: "PipelineStarted", at: draft.at });
}

/** Throws StaleLeaseError. The attempt ends with its last member; the first that ends badly stops the others. */
function endMember(draft: Draft, command: CommandOf<"EndMember">): void {
  const { index, live, member } = liveMember(draft, command);
  if (member.status === "ENDED") return;
  if (live.members.length > 1) {
    draft.emit({ type: "MemberEnded", at: draft.at, stage: command.stage, attemptId: live.id, number: live.number, agentId: member.agentId, outcome: command.outcome });
    const now = liveAttempt(draft.state.stages.at(index))!;
    const open = now.members.some((other) => other.status !== "ENDED");
    if (open && command.outcome.kind !== "COMPLETED") requestStop(draft, command.stage, now, "PEER_ENDED", `rank ${member.rank} on agent ${member.agentName} ended: ${command.outcome.kind}`);
    if (open) return;
    endAttempt(draft, index, now, now.members);
    return;
  }
  endAttempt(draft, index, live, [{ ...member, status: "ENDED", outcome: command.outcome }]);
}

/** The agent fell silent for the length of its lease. A loss that comes too late changes nothing. */
function loseMember(draft: Draft, command: CommandOf<"LoseMember">): void {
  const { stage } = draft.find(command.stage);
  const live = liveAttempt(stage);
  if (live === null || live.id !== command.attemptId || !live.members.some((member) => member.agentId === command.agentId && member.status !== "ENDED")) return;
  endMember(draft, { ...command, type: "EndMember", outcome: { kind: "LOST", reason: command.reason } });
}

/** What becomes of the stage now that all members of its attempt have ended. */
function endAttempt(draft: Draft, index: number, live: LiveAttempt, members: readonly Member[]): void {
  const { at } = draft;
  const spec = draft.state.spec.stages[index]!;
  const attempt = { at, stage: spec.name, attemptId: live.id, number: live.number };
  const head = members.find((member) => member.rank === 0)!;
  const bad = members.map((member) => member.outcome!).filter((outcome) => outcome.kind !== "COMPLETED");
  // A program that finished before the stop reached it has finished, unless the whole pipeline is to end.
  if (bad.length === 0 && head.outcome?.kind === "COMPLETED") {
    if (live.startedAt === null) {
      draft.emit({ type: "AttemptStarted", ...attempt, agentId: head.agentId, agentName: head.agentName, command: null });
      startPipeline(draft);
    }
    return completeStage(draft, index, head.outcome.outputs, live);
  }
  if (live.stopping?.cause === "CANCEL") {
    draft.emit({ type: "AttemptCancelled", ...attempt, reason: live.stopping.reason });
    draft.emit({ type: "StageCancelled", at, stage: spec.name, reason: live.stopping.reason });
    return skipDownstream(draft, index, `stage "${spec.name}" was cancelled`);
  }
  if (live.stopping?.cause === "PAUSE" && bad.every((outcome) => outcome.kind === "STOPPED" || outcome.kind === "LOST" || outcome.kind === "REFUSED")) {
    draft.emit({ type: "AttemptCancelled", ...attempt, reason: live.stopping.reason });
    // Resumed before the stop had reached the program: it goes on at once.
    if (draft.state.status === "PAUSED") draft.emit({ type: "StagePaused", at, stage: spec.name, reason: live.stopping.reason });
    else draft.emit({ type: "StageQueued", at, stage: spec.name, cause: "RESUMED", notBefore: null });
    return;
  }
  const refused = bad.find((outcome) => outcome.kind === "REFUSED");
  const failed = bad.find((outcome) => outcome.kind === "FAILED");
  const lost = bad.find((outcome) => outcome.kind === "LOST");
  if (live.stopping === null || live.stopping.cause === "PEER_ENDED") {
    if (refused?.kind === "REFUSED" && failed === undefined && lost === undefined) {
      draft.emit({ type: "AttemptFailed", ...attempt, failure: { code: "AGENT_REFUSED", message: refused.reason, hint: null, exitCode: null, logTail: [] }, counts: false });
      draft.emit({ type: "StageQueued", at, stage: spec.name, cause: "REFUSED", notBefore: at + REFUSED_WAIT_MS });
      return;
    }
    if (lost?.kind === "LOST" && failed === undefined) {
      const failure = lostFailure(lost.reason);
      draft.emit({ type: "AttemptLost", ...attempt, failure });
      return retryOrFail(draft, index, failure);
    }
  }
  const failure = failed?.kind === "FAILED" && (live.stopping === null || live.stopping.cause === "PEER_ENDED") ? failed.failure : stopFailure(live, failed?.kind === "FAILED" ? failed.failure : null, lost?.kind === "LOST" ? lost.reason : null);
  draft.emit({ type: "AttemptFailed", ...attempt, failure, counts: true });
  retryOrFail(draft, index, failure);
}

/** Wait before a refused stage is offered again, in milliseconds: what made the agent refuse (a stranger on its GPU) rarely ends at once. */
const REFUSED_WAIT_MS = 10_000;

function retryOrFail(draft: Draft, index: number, failure: Failure): void {
  const stage = draft.state.stages.at(index);
  const spec = draft.state.spec.stages[index]!;
  const next = nextTryAt(spec.retry, stage.tries, failure, draft.at);
  if (next === null) failStage(draft, index, failure);
  else if (draft.state.cancelling === null) draft.emit({ type: "StageQueued", at: draft.at, stage: spec.name, cause: "RETRY", notBefore: next });
  else draft.emit({ type: "StageCancelled", at: draft.at, stage: spec.name, reason: draft.state.cancelling.reason });
}

function lostFailure(reason: string): Failure {
  return { code: "AGENT_LOST", message: reason, hint: "The program may have been healthy. Look at the agent's host and its network; the stage resumes from its last checkpoint where it can.", exitCode: null, logTail: [] };
}

/** The failure of an attempt that was stopped for a deadline; what the program said meanwhile is kept as its log tail. */
function stopFailure(live: LiveAttempt, failed: Failure | null, lost: string | null): Failure {
  const logTail = failed?.logTail ?? [];
  const exitCode = failed?.exitCode ?? null;
  if (live.stopping?.cause === "TIMEOUT") return { code: "TIMEOUT", message: live.stopping.reason, hint: "Raise timeoutSeconds, or make the stage shorter.", exitCode, logTail };
  if (live.stopping?.cause === "NO_PROGRESS") return { code: "NO_PROGRESS", message: live.stopping.reason, hint: "Look at the end of the log; raise noProgressTimeoutSeconds if silence is normal here.", exitCode, logTail };
  if (lost !== null) return lostFailure(lost);
  return failed ?? { code: "KILLED_BY_SIGNAL", message: `The attempt was stopped: ${live.stopping?.reason ?? "nobody asked for it; look at the agent's host"}.`, hint: null, exitCode, logTail };
}

// ── timers ──────────────────────────────────────────────────────────────────────────────────────────

/** Applies a deadline that has passed; firing early or twice changes nothing. */
function fireTimer(draft: Draft, { at, stage: name }: CommandOf<"FireTimer">): void {
  const { index, stage, spec } = draft.find(name);
  const due = nextTimerAt(stage, spec);
  if (due === null || due > at) return;
  if (stage.status === "QUEUED" && at >= stage.queuedAt + spec.startTimeoutSeconds * 1000) {
    if (draft.state.status === "PAUSED") return;
    failStage(draft, index, { code: "START_TIMEOUT", message: `No agent started the stage within ${spec.startTimeoutSeconds} s of it being queued.`, hint: "See why it waited (waitReasons); start an agent that fits, or raise startTimeoutSeconds. Then retry.", exitCode: null, logTail: [] });
  } else if (stage.status === "RUNNING") {
    requestStop(draft, name, stage.live, "TIMEOUT", `The attempt ran longer than timeoutSeconds (${spec.timeoutSeconds} s).`);
  }
}

/** Stops an attempt that showed no sign of life for noProgressTimeoutSeconds. */
function stopSilentAttempt(draft: Draft, { at, stage: name, attemptId, silentSince }: CommandOf<"StopSilentAttempt">): void {
  const { stage, spec } = draft.find(name);
  const limit = spec.noProgressTimeoutSeconds;
  if (stage.status !== "RUNNING" || stage.live.id !== attemptId || limit === undefined || at - silentSince < limit * 1000) return;
  requestStop(draft, name, stage.live, "NO_PROGRESS", `Neither log output nor metrics for ${Math.round((at - silentSince) / 1000)} s (noProgressTimeoutSeconds is ${limit}).`);
}

// ── small judgements ────────────────────────────────────────────────────────────────────────────────

function liveMember(draft: Draft, command: { stage: string; attemptId: string; fence: number; agentId: string }): { index: number; live: LiveAttempt; member: Member } {
  const { index, stage } = draft.find(command.stage);
  const live = liveAttempt(stage);
  const member = live?.id === command.attemptId && live.number === command.fence ? live.members.find((other) => other.agentId === command.agentId) : undefined;
  if (live === null || member === undefined) throw new StaleLeaseError({ attemptId: command.attemptId, presented: command.fence, held: live === null || live.number === command.fence ? null : live.number });
  return { index, live, member };
}

function isRetryable(stage: StageState): boolean {
  return stage.status === "FAILED" || stage.status === "CANCELLED" || stage.status === "SKIPPED";
}

function refuseWhenOver(state: PipelineState, verb: string): void {
  if (TERMINAL_PIPELINE.has(state.status)) throw new ConflictError("PIPELINE_OVER", `Pipeline ${state.id} is ${state.status} already and cannot be ${verb}.`);
}

function outputsOf(state: PipelineState, name: string): Outputs | null {
  const stage = findStage(state, name)?.stage;
  return stage?.status === "COMPLETED" ? stage.outputs : null;
}
