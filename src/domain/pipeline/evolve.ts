// State after an event. Pure; touches only what the event names, so a step costs the same in a pipeline of 10 stages and of 10,000.
//   E1. An event that is impossible in a state throws: returning the state unchanged would hide a lost transition.
//   E2. Replaying a pipeline's events from nothing gives the stored state, always.

import { assertNever } from "../errors.js";
import { buildDag } from "./dag.js";
import type { EventOf, PipelineEvent } from "./events.js";
import { StageTable } from "./stage-table.js";
import { STAGE_STATUSES, TERMINAL_STAGE, type LiveAttempt, type PipelineState, type StageState, type StageStatus } from "./state.js";

/** The state after one more event; `null` is the state before PipelineSubmitted. */
export function evolve(before: PipelineState | null, event: PipelineEvent): PipelineState {
  if (event.type === "PipelineSubmitted") return before === null ? submitted(event) : impossible(event, "the pipeline exists");
  if (before === null) return impossible(event, "there is no pipeline yet");
  const state = { ...before, seq: before.seq + 1 };
  switch (event.type) {
    case "PipelineStarted": return { ...state, status: state.status === "PENDING" ? "RUNNING" : state.status, startedAt: event.at };
    case "PipelinePaused": return { ...state, status: "PAUSED" };
    case "PipelineResumed": return { ...state, status: "RUNNING", startedAt: state.startedAt ?? event.at };
    case "PipelineCancelRequested": return { ...state, cancelling: { reason: event.reason } };
    case "PipelineRetried": return { ...state, status: "RUNNING", cancelling: null, error: null, finishedAt: null, startedAt: state.startedAt ?? event.at };
    case "PipelineCompleted": return { ...state, status: "COMPLETED", finishedAt: event.at };
    case "PipelineFailed": return { ...state, status: "FAILED", error: event.error, finishedAt: event.at };
    case "PipelineCancelled": return { ...state, status: "CANCELLED", error: event.reason, finishedAt: event.at };
    case "StageReused": return completed(state, event, event.outputs, event.fromStageId);
    case "StageCompleted": return completed(state, event, event.outputs, null);
    case "StageQueued": return change(state, event, (stage) => ({ ...base(stage), status: "QUEUED", queuedAt: event.at, notBefore: event.notBefore, live: null }));
    case "StageWaitingApproval": return change(state, event, (stage) => ({ ...base(stage), status: "WAITING_APPROVAL", since: event.at, message: event.message, startedAt: event.at }));
    case "StageApproved": return change(state, event, (stage) => (stage.status === "WAITING_APPROVAL" ? stage : impossible(event, stage.status)));
    case "StageFailed": return change(state, event, (stage) => ({ ...base(stage), status: "FAILED", failure: event.failure, finishedAt: event.at }));
    case "StageCancelled": return change(state, event, (stage) => ({ ...base(stage), status: "CANCELLED", reason: event.reason, finishedAt: event.at }));
    case "StageSkipped": return change(state, event, (stage) => ({ ...base(stage), status: "SKIPPED", reason: event.reason, finishedAt: event.at }));
    case "StagePaused": return change(state, event, (stage) => ({ ...base(stage), status: "PAUSED", reason: event.reason }));
    case "StageReset": return change(state, event, (stage) => ({ ...base(stage), tries: 0, startedAt: null, status: "PENDING", waitingFor: event.waitingFor }), true);
    case "AttemptOffered": return change(state, event, (stage) =>
      stage.status === "QUEUED" && stage.live === null && event.number === stage.attempts + 1
        ? { ...stage, attempts: event.number, live: { id: event.attemptId, number: event.number, offeredAt: event.at, startedAt: null, members: event.members, stopping: null } }
        : impossible(event, stage.status));
    case "AttemptStarted": return withLive(state, event, (live, stage) => ({
      ...base(stage), status: "RUNNING", startedAt: stage.startedAt ?? event.at,
      live: { ...live, startedAt: live.startedAt ?? event.at, members: live.members.map((member) => (member.agentId === event.agentId ? { ...member, status: "RUNNING" as const } : member)) },
    }));
    case "MemberEnded": return withLive(state, event, (live, stage) => ({
      ...stage, live: { ...live, members: live.members.map((member) => (member.agentId === event.agentId ? { ...member, status: "ENDED" as const, outcome: event.outcome } : member)) },
    }));
    case "AttemptStopRequested": return withLive(state, event, (live, stage) => ({ ...stage, live: { ...live, stopping: { cause: event.cause, reason: event.reason } } }));
    case "AttemptFailed": return attemptOver(state, event, event.counts ? 1 : 0);
    case "AttemptLost": return attemptOver(state, event, 1);
    case "AttemptCancelled": return attemptOver(state, event, 0);
    default: return assertNever(event);
  }
}

function submitted(event: EventOf<"PipelineSubmitted">): PipelineState {
  const dag = buildDag(event.spec.stages);
  const stages = event.stageIds.map((id, index): StageState => ({ id, attempts: 0, tries: 0, startedAt: null, status: "PENDING", waitingFor: dag.needs[index]!.length }));
  const counts = Object.fromEntries(STAGE_STATUSES.map((status) => [status, status === "PENDING" ? stages.length : 0])) as Record<StageStatus, number>;
  return {
    id: event.pipelineId, spec: event.spec, dag, status: "PENDING", seq: 1, stages: StageTable.of(stages), counts, cancelling: null, forkedFrom: event.forkedFrom, error: null,
    createdAt: event.at, startedAt: null, finishedAt: null,
  };
}

type StageEvent = Extract<PipelineEvent, { stage: string }>;

/** Replaces one stage and keeps the counts true. Leaving a final status is possible for a reset only. */
function change(state: PipelineState, event: StageEvent, next: (stage: StageState) => StageState, mayLeaveFinal = false): PipelineState {
  const index = state.dag.indexOf.get(event.stage);
  if (index === undefined) return impossible(event, "there is no such stage");
  const before = state.stages.at(index);
  if (TERMINAL_STAGE.has(before.status) && !mayLeaveFinal) return impossible(event, `${event.stage} is ${before.status}`);
  const after = next(before);
  const counts = before.status === after.status ? state.counts : { ...state.counts, [before.status]: state.counts[before.status] - 1, [after.status]: state.counts[after.status] + 1 };
  return { ...state, stages: state.stages.with(index, after), counts };
}

function completed(state: PipelineState, event: EventOf<"StageCompleted"> | EventOf<"StageReused">, outputs: EventOf<"StageCompleted">["outputs"], reusedFrom: EventOf<"StageReused">["fromStageId"] | null): PipelineState {
  let next = change(state, event, (stage) => ({ ...base(stage), status: "COMPLETED", outputs, finishedAt: event.at, reusedFrom }));
  for (const index of state.dag.feeds[state.dag.indexOf.get(event.stage)!]!) {
    const stage = next.stages.at(index);
    // A dependent that was cancelled or skipped meanwhile counts its needs anew when it is reset.
    if (stage.status === "PENDING") next = { ...next, stages: next.stages.with(index, { ...stage, waitingFor: stage.waitingFor - 1 }) };
  }
  return next;
}

type AttemptEvent = Extract<PipelineEvent, { attemptId: LiveAttempt["id"] } & { stage: string; number: number }>;
type LiveStage = Extract<StageState, { live: unknown }>;

function withLive(state: PipelineState, event: AttemptEvent, next: (live: LiveAttempt, stage: LiveStage) => StageState): PipelineState {
  return change(state, event, (stage) => {
    if ((stage.status === "QUEUED" || stage.status === "RUNNING") && stage.live !== null && stage.live.id === event.attemptId) return next(stage.live, stage);
    return impossible(event, `${event.stage} has no such live attempt`);
  });
}

/** The attempt is over; the next event says what becomes of the stage, which until then reads as queued since now. */
function attemptOver(state: PipelineState, event: AttemptEvent, counted: number): PipelineState {
  return withLive(state, event, (_, stage) => ({ ...base(stage), tries: stage.tries + counted, status: "QUEUED", queuedAt: event.at, notBefore: null, live: null }));
}

function base(stage: StageState): { id: StageState["id"]; attempts: number; tries: number; startedAt: number | null } {
  return { id: stage.id, attempts: stage.attempts, tries: stage.tries, startedAt: stage.startedAt };
}

function impossible(event: PipelineEvent, found: string): never {
  throw new Error(`Event ${event.type}${"stage" in event ? ` of stage ${event.stage}` : ""} is impossible: ${found}`);
}
