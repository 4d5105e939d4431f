// What becomes of a stage through its attempts: offered, started, ended, lost, overdue. Commands here carry what the shell observed.
//   A1. A stage has at most one live attempt; each attempt's number is one higher than the last.
//   A2. A report that carries an older fence, or that of an attempt that is over, is refused with StaleLeaseError; a repeated one changes nothing.
//   A3. An attempt is over when the last of its members has ended: until then its agents may still run something.

import { ConflictError, StaleLeaseError } from "../errors.js";
import type { CommandOf } from "./commands.js";
import { nextTryAt } from "./conditions.js";
import { completeStage, failStage, cancelWaiting, requestStop, skipDownstream, type Draft } from "./draft.js";
import { isPlaceable, liveAttempt, nextTimerAt, type Failure, type LiveAttempt, type Member } from "./state.js";
import { mostTelling } from "./telling-failure.js";

/** Wait before a refused stage is offered again, in milliseconds: what made the agent refuse (a stranger on its GPU) rarely ends at once. */
const REFUSED_WAIT_MS = 10_000;

/** Throws ConflictError when the stage cannot be placed (any more), or not yet. */
export function offerAttempt(draft: Draft, { at, stage: name, attemptId, members }: CommandOf<"OfferAttempt">): void {
  const { stage } = draft.find(name);
  if (!isPlaceable(draft.state, stage, at)) throw new ConflictError("STAGE_NOT_PLACEABLE", `Stage "${name}" of ${draft.state.id} is not waiting for an agent now.`);
  if (members.length === 0 || members.some((member, rank) => member.rank !== rank) || new Set(members.map((member) => member.agentId)).size < members.length) {
    throw new Error(`The members of ${attemptId} are no gang: different agents, ranks from 0.`);
  }
  draft.emit({ type: "AttemptOffered", at, stage: name, attemptId, number: stage.attempts + 1, members: members.map((member): Member => ({ ...member, status: "OFFERED", outcome: null })) });
}

/** Throws StaleLeaseError. A repetition changes nothing. */
export function startMember(draft: Draft, command: CommandOf<"StartMember">): void {
  const { live, member } = liveMember(draft, command);
  if (member.status === "OFFERED") start(draft, command.stage, live, member, command.command);
}

function start(draft: Draft, stage: string, live: LiveAttempt, member: Member, command: readonly string[] | null): void {
  draft.emit({ type: "AttemptStarted", at: draft.at, stage, attemptId: live.id, number: live.number, agentId: member.agentId, agentName: member.agentName, command });
  draft.start();
}

/** Throws StaleLeaseError. The attempt ends with its last member; the first that ends badly stops the others. */
export function endMember(draft: Draft, command: CommandOf<"EndMember">): void {
  const { index, live, member } = liveMember(draft, command);
  const { stage, outcome } = command;
  if (member.status === "ENDED") return;
  // What has completed had started, also when the report of it is still on its way: it will be refused as repeated.
  if (outcome.kind === "COMPLETED" && member.status === "OFFERED") start(draft, stage, live, member, null);
  if (live.members.length === 1) return endAttempt(draft, index, live, [{ ...member, status: "ENDED", outcome }]);
  draft.emit({ type: "MemberEnded", at: draft.at, stage, attemptId: live.id, number: live.number, agentId: member.agentId, outcome });
  const now = liveAttempt(draft.state.stages.at(index))!;
  if (now.members.every((other) => other.status === "ENDED")) return endAttempt(draft, index, now, now.members);
  if (outcome.kind !== "COMPLETED") requestStop(draft, stage, now, "PEER_ENDED", `rank ${member.rank} on agent ${member.agentName} ended: ${outcome.kind}`, { peer: member.agentId });
}

/** The agent fell silent for the length of its lease. A loss that comes too late changes nothing. */
export function loseMember(draft: Draft, command: CommandOf<"LoseMember">): void {
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
  const outcomes = members.map((member) => member.outcome!);
  const bad = outcomes.filter((outcome) => outcome.kind !== "COMPLETED");
  // A program that finished before a stop reached it has finished: its outputs count, whatever the stop was for.
  if (bad.length === 0) {
    const head = outcomes[members.findIndex((member) => member.rank === 0)]!;
    return completeStage(draft, index, head.kind === "COMPLETED" ? head.outputs : {}, live);
  }
  if (live.stopping?.cause === "CANCEL") {
    draft.emit({ type: "AttemptCancelled", ...attempt, reason: live.stopping.reason });
    cancelWaiting(draft, index, live.stopping.reason);
    return skipDownstream(draft, index, `stage "${spec.name}" was cancelled`);
  }
  const failed = bad.find((outcome) => outcome.kind === "FAILED");
  if (live.stopping?.cause === "PAUSE" && failed === undefined) {
    draft.emit({ type: "AttemptCancelled", ...attempt, reason: live.stopping.reason });
    // Resumed before the stop had reached the program: it goes on at once.
    if (draft.state.status === "PAUSED") draft.emit({ type: "StagePaused", at, stage: spec.name, reason: live.stopping.reason });
    else draft.emit({ type: "StageQueued", at, stage: spec.name, cause: "RESUMED", notBefore: null });
    return;
  }
  if (live.stopping?.cause === "TIMEOUT" || live.stopping?.cause === "NO_PROGRESS") {
    return failAttempt(draft, index, attempt, overdue(live, failed?.failure ?? null));
  }
  if (live.stopping?.cause === "HEALTH") return endUnhealthy(draft, index, attempt, live.stopping, failed?.failure ?? null);
  // Of several, the first that ended badly is why, unless another one tells more (T1 of telling-failure.ts).
  const first = members.find((member) => member.agentId === live.stopping?.peer)?.outcome ?? bad[0]!;
  const cause = first.kind === "STOPPED" ? failed ?? first : first;
  if (cause.kind === "FAILED") return failAttempt(draft, index, attempt, mostTelling(cause.failure, bad.flatMap((outcome) => (outcome.kind === "FAILED" ? [outcome.failure] : []))));
  if (cause.kind === "LOST") {
    const failure: Failure = { code: "AGENT_LOST", message: cause.reason, hint: "The program may have been healthy. Look at the agent's host and its network; the stage resumes from its last checkpoint where it can.", exitCode: null, logTail: [] };
    draft.emit({ type: "AttemptLost", ...attempt, failure });
    return retryOrFail(draft, index, failure);
  }
  if (cause.kind === "REFUSED") {
    draft.emit({ type: "AttemptFailed", ...attempt, failure: { code: "AGENT_REFUSED", message: cause.reason, hint: null, exitCode: null, logTail: [] }, counts: false });
    return draft.emit({ type: "StageQueued", at, stage: spec.name, cause: "REFUSED", notBefore: at + REFUSED_WAIT_MS });
  }
  // Nobody asked for it here: an operator stopped the agent and its programs. That is no failure of the stage: it waits for another agent, or for this one.
  draft.emit({ type: "AttemptCancelled", ...attempt, reason: "the agent was stopped, and its programs with it" });
  draft.emit({ type: "StageQueued", at, stage: spec.name, cause: "RESUMED", notBefore: null });
}

function failAttempt(draft: Draft, index: number, attempt: { at: number; stage: string; attemptId: LiveAttempt["id"]; number: number }, failure: Failure): void {
  draft.emit({ type: "AttemptFailed", ...attempt, failure, counts: true });
  retryOrFail(draft, index, failure);
}

/** Stopped by the policy on its health: it fails, or a new attempt goes on from before what was found. The budget of rollbacks was judged when the stop was ordered. */
function endUnhealthy(draft: Draft, index: number, attempt: { at: number; stage: string; attemptId: LiveAttempt["id"]; number: number }, { reason, rollbackTo }: NonNullable<LiveAttempt["stopping"]>, said: Failure | null): void {
  const failure: Failure = { code: "HEALTH_POLICY", message: reason, hint: UNHEALTHY_HINT, exitCode: said?.exitCode ?? null, logTail: said?.logTail ?? [] };
  if (rollbackTo === undefined) return failAttempt(draft, index, attempt, failure);
  draft.emit({ type: "AttemptFailed", ...attempt, failure, counts: false, rolledBackTo: rollbackTo });
  draft.emit({ type: "StageQueued", at: attempt.at, stage: attempt.stage, cause: "ROLLBACK", notBefore: null });
}

const UNHEALTHY_HINT = "See the job's anomalies for what was found and what to change; params.health says what is done about them.";

function retryOrFail(draft: Draft, index: number, failure: Failure): void {
  const spec = draft.state.spec.stages[index]!;
  const next = nextTryAt(spec.retry, draft.state.stages.at(index).tries, failure, draft.at);
  if (next === null) failStage(draft, index, failure);
  else draft.emit({ type: "StageQueued", at: draft.at, stage: spec.name, cause: "RETRY", notBefore: next });
}

/** The failure of an attempt that was stopped for a deadline; what the program said meanwhile is kept. */
function overdue({ stopping, startedAt }: LiveAttempt, said: Failure | null): Failure {
  const code = stopping!.cause === "NO_PROGRESS" ? "NO_PROGRESS" : startedAt === null ? "START_TIMEOUT" : "TIMEOUT";
  return { code, message: stopping!.reason, hint: OVERDUE_HINT[code], exitCode: said?.exitCode ?? null, logTail: said?.logTail ?? [] };
}

const OVERDUE_HINT = {
  TIMEOUT: "Raise timeoutSeconds, or make the stage shorter.",
  START_TIMEOUT: "See why it waited (waitReasons); start an agent that fits, or raise startTimeoutSeconds. Then retry.",
  NO_PROGRESS: "Look at the end of the log; raise noProgressTimeoutSeconds if silence is normal here.",
};

// ── timers ──────────────────────────────────────────────────────────────────────────────────────────

/** Applies a deadline that has passed; firing early or twice changes nothing, and a paused pipeline has no start deadline. */
export function fireTimer(draft: Draft, { at, stage: name }: CommandOf<"FireTimer">): void {
  const { index, stage, spec } = draft.find(name);
  const due = nextTimerAt(stage, spec);
  if (due === null || due > at) return;
  if (stage.status === "RUNNING") return requestStop(draft, name, stage.live, "TIMEOUT", `The attempt ran longer than timeoutSeconds (${spec.timeoutSeconds} s).`);
  if (draft.state.status === "PAUSED") return;
  const message = `No agent started the stage within ${spec.startTimeoutSeconds} s of it being queued.`;
  const live = liveAttempt(stage);
  if (live === null) failStage(draft, index, { code: "START_TIMEOUT", message, hint: OVERDUE_HINT.START_TIMEOUT, exitCode: null, logTail: [] });
  else requestStop(draft, name, live, "TIMEOUT", message);
}

/** Stops an attempt that showed no sign of life for noProgressTimeoutSeconds, counted from its start at the earliest. */
export function stopSilentAttempt(draft: Draft, { at, stage: name, attemptId, silentSince }: CommandOf<"StopSilentAttempt">): void {
  const { stage, spec } = draft.find(name);
  const limit = spec.noProgressTimeoutSeconds;
  if (stage.status !== "RUNNING" || stage.live.id !== attemptId || limit === undefined) return;
  const silentMs = at - Math.max(silentSince, stage.live.startedAt ?? stage.live.offeredAt);
  if (silentMs < limit * 1000) return;
  requestStop(draft, name, stage.live, "NO_PROGRESS", `Neither log output nor metrics for ${Math.round(silentMs / 1000)} s (noProgressTimeoutSeconds is ${limit}).`);
}

/** Stops an attempt whose training is unwell. One that is over, or being stopped already, is left alone: no event tells the caller. */
export function stopUnhealthyAttempt(draft: Draft, { stage: name, attemptId, reason, rollbackTo }: CommandOf<"StopUnhealthyAttempt">): void {
  const live = liveAttempt(draft.find(name).stage);
  if (live === null || live.id !== attemptId) return;
  requestStop(draft, name, live, "HEALTH", reason, rollbackTo === null ? {} : { rollbackTo });
}

function liveMember(draft: Draft, command: { stage: string; attemptId: string; fence: number; agentId: string }): { index: number; live: LiveAttempt; member: Member } {
  const { index, stage } = draft.find(command.stage);
  const live = liveAttempt(stage);
  const member = live?.id === command.attemptId && live.number === command.fence ? live.members.find((other) => other.agentId === command.agentId) : undefined;
  if (live === null || member === undefined) throw new StaleLeaseError({ attemptId: command.attemptId, presented: command.fence, held: live === null || live.number === command.fence ? null : live.number });
  return { index, live, member };
}
