// State after an event. Pure; touches only what the event names, so a step costs the same in a pipeline of 10 stages and of 10,000.
//   E1. An event that is impossible in a state throws: returning the state unchanged would hide a lost transition.
//   E2. Replaying a pipeline's events from nothing gives the stored state, always.

import { assertNever } from "../errors.js";
import { buildDag } from "./dag.js";
import type { EventOf, PipelineEvent } from "./events.js";
import { StageTable } from "./stage-table.js";
import { STAGE_STATUSES, TERMINAL_PIPELINE, everyStageOver, liveAttempt, type LiveAttempt, type PipelineState, type StageState, type StageStatus } from "./state.js";

/** The state after one more event; `null` is the state before PipelineSubmitted. */
export function evolve(before: PipelineState | null, event: PipelineEvent): PipelineState {
  if (event.type === "PipelineSubmitted") return before === null ? submitted(event) : impossible(event, "the pipeline exists");
  if (before === null) return impossible(event, "there is no pipeline yet");
  const state = { ...before, seq: before.seq + 1 };
  const open = !TERMINAL_PIPELINE.has(state.status);
  const going = open && state.cancelling === null;
  const { at } = event;
  switch (event.type) {
    case "PipelineStarted": return when(open && state.startedAt === null, { ...state, status: state.status === "PENDING" ? "RUNNING" : state.status, startedAt: at });
    case "PipelinePaused": return when(going && state.status !== "PAUSED", { ...state, status: "PAUSED" });
    case "PipelineResumed": return when(going && state.status === "PAUSED", { ...state, status: goingStatus(state) });
    case "PipelineCancelRequested": return when(going, { ...state, cancelling: { reason: event.reason } });
    case "PipelineRetried": return when(going || !open, { ...state, status: state.status === "PAUSED" ? "PAUSED" : goingStatus(state), cancelling: null, error: null, finishedAt: null });
    case "PipelineCompleted": return when(open && everyStageOver(state), { ...state, status: "COMPLETED", finishedAt: at });
    case "PipelineFailed": return when(open && everyStageOver(state), { ...state, status: "FAILED", error: event.error, finishedAt: at });
    case "PipelineCancelled": return when(open && everyStageOver(state), { ...state, status: "CANCELLED", error: event.reason, finishedAt: at });
    case "StageReused": return completed(state, event, event.fromStageId);
    case "StageCompleted": return completed(state, event, null);
    case "StageQueued": return change(state, event, (stage) => ({ ...base(stage), status: "QUEUED", queuedAt: queuedAt(stage, event), notBefore: event.notBefore, live: null }));
    case "StageWaitingApproval": return change(state, event, (stage) => ({ ...base(stage), status: "WAITING_APPROVAL", since: at, message: event.message, startedAt: at }));
    case "StageApproved": return change(state, event, (stage) => stage);
    case "StageFailed": return change(state, event, (stage) => ({ ...base(stage), status: "FAILED", failure: event.failure, finishedAt: at }));
    case "StageCancelled": return change(state, event, (stage) => ({ ...base(stage), status: "CANCELLED", reason: event.reason, finishedAt: at }));
    case "StageSkipped": return change(state, event, (stage) => ({ ...base(stage), status: "SKIPPED", reason: event.reason, finishedAt: at }));
    case "StagePaused": return change(state, event, (stage) => ({ ...base(stage), status: "PAUSED", reason: event.reason }));
    case "StageReset": return change(state, event, (stage) => ({ ...base(stage), tries: 0, startedAt: null, status: "PENDING", waitingFor: event.waitingFor }));
    case "AttemptOffered": return change(state, event, (stage) =>
      stage.status === "QUEUED" && stage.live === null && event.number === stage.attempts + 1
        ? { ...stage, attempts: event.number, live: { id: event.attemptId, number: event.number, offeredAt: at, startedAt: null, members: event.members, stopping: null } }
        : impossible(event, `attempt ${stage.attempts} is the newest`));
    case "AttemptStarted": return withLive(state, event, (live, stage) => ({
      ...base(stage), status: "RUNNING", startedAt: stage.startedAt ?? at,
      live: { ...live, startedAt: live.startedAt ?? at, members: withMember(live, event, ["OFFERED"], { status: "RUNNING" }) },
    }));
    case "MemberEnded": return withLive(state, event, (live, stage) => ({ ...stage, live: { ...live, members: withMember(live, event, ["OFFERED", "RUNNING"], { status: "ENDED", outcome: event.outcome }) } }));
    case "AttemptStopRequested": return withLive(state, event, (live, stage) => ({ ...stage, live: { ...live, stopping: { cause: event.cause, reason: event.reason, ...(event.peer === undefined ? {} : { peer: event.peer }), ...(event.rollbackTo === undefined ? {} : { rollbackTo: event.rollbackTo }) } } }));
    case "AttemptFailed": return attemptOver(state, event, event.counts ? 1 : 0, event.rolledBackTo);
    case "AttemptLost": return attemptOver(state, event, 1);
    case "AttemptCancelled": return attemptOver(state, event, 0);
    default: return assertNever(event);
  }

  function when(possible: boolean, after: PipelineState): PipelineState {
    return possible ? after : impossible(event, `the pipeline is ${state.status}${state.cancelling === null ? "" : " and being cancelled"}`);
  }
}

function submitted(event: EventOf<"PipelineSubmitted">): PipelineState {
  const dag = buildDag(event.spec.stages);
  const stages = event.stageIds.map((id, index): StageState => ({ id, attempts: 0, tries: 0, startedAt: null, status: "PENDING", waitingFor: dag.needs[index]!.length }));
  if (stages.length !== dag.names.length) return impossible(event, `${dag.names.length} stages need as many ids`);
  const counts = Object.fromEntries(STAGE_STATUSES.map((status) => [status, status === "PENDING" ? stages.length : 0])) as Record<StageStatus, number>;
  return {
    id: event.pipelineId, spec: event.spec, dag, status: "PENDING", seq: 1, stages: StageTable.of(stages), counts, cancelling: null, forkedFrom: event.forkedFrom, error: null,
    createdAt: event.at, startedAt: null, finishedAt: null,
  };
}

function goingStatus(state: PipelineState): "PENDING" | "RUNNING" {
  return state.startedAt === null ? "PENDING" : "RUNNING";
}

type StageEvent = Extract<PipelineEvent, { stage: string }>;

/** E1: what a stage may be when the event happens to it. COMPLETED is left by nothing, the other ends by a reset alone. */
const FROM: Record<StageEvent["type"], readonly StageStatus[]> = {
  StageReused: ["PENDING"],
  StageQueued: ["PENDING", "QUEUED", "PAUSED"],
  StageWaitingApproval: ["PENDING"],
  StageApproved: ["WAITING_APPROVAL"],
  StageCompleted: ["RUNNING", "WAITING_APPROVAL"],
  StageFailed: ["PENDING", "QUEUED"],
  StageCancelled: ["PENDING", "QUEUED", "PAUSED", "WAITING_APPROVAL"],
  StageSkipped: ["PENDING"],
  StagePaused: ["QUEUED"],
  StageReset: ["FAILED", "CANCELLED", "SKIPPED"],
  AttemptOffered: ["QUEUED"],
  AttemptStarted: ["QUEUED", "RUNNING"],
  MemberEnded: ["QUEUED", "RUNNING"],
  AttemptStopRequested: ["QUEUED", "RUNNING"],
  AttemptFailed: ["QUEUED", "RUNNING"],
  AttemptLost: ["QUEUED", "RUNNING"],
  AttemptCancelled: ["QUEUED", "RUNNING"],
};

/** Replaces one stage and keeps the counts true. */
function change(state: PipelineState, event: StageEvent, next: (stage: StageState) => StageState): PipelineState {
  const index = state.dag.indexOf.get(event.stage);
  if (index === undefined) return impossible(event, "there is no such stage");
  const before = state.stages.at(index);
  if (TERMINAL_PIPELINE.has(state.status)) return impossible(event, `the pipeline is ${state.status}`);
  if (!FROM[event.type].includes(before.status)) return impossible(event, `the stage is ${before.status}`);
  // An attempt ends by an event of its own: no other may drop it.
  const attemptId = "attemptId" in event && event.type !== "AttemptOffered" ? event.attemptId : null;
  if ((liveAttempt(before)?.id ?? null) !== attemptId) return impossible(event, "its live attempt is another one");
  if (event.type === "StageQueued" || event.type === "StageWaitingApproval" || event.type === "AttemptOffered") {
    if (before.status === "PENDING" && before.waitingFor > 0) return impossible(event, `it waits for ${before.waitingFor} stages`);
    if (state.cancelling !== null) return impossible(event, "the pipeline is being cancelled");
  }
  const after = next(before);
  const counts = before.status === after.status ? state.counts : { ...state.counts, [before.status]: state.counts[before.status] - 1, [after.status]: state.counts[after.status] + 1 };
  return { ...state, stages: state.stages.with(index, after), counts };
}

function completed(state: PipelineState, event: EventOf<"StageCompleted"> | EventOf<"StageReused">, reusedFrom: EventOf<"StageReused">["fromStageId"] | null): PipelineState {
  const next = change(state, event, (stage) => ({ ...base(stage), status: "COMPLETED", outputs: event.outputs, finishedAt: event.at, reusedFrom }));
  let { stages } = next;
  for (const index of state.dag.feeds[state.dag.indexOf.get(event.stage)!]!) {
    const stage = stages.at(index);
    // A dependent that was cancelled or skipped meanwhile counts its needs anew when it is reset.
    if (stage.status === "PENDING") stages = stages.with(index, { ...stage, waitingFor: stage.waitingFor - 1 });
  }
  return { ...next, stages };
}

/** A refusal is no news of the stage: it waits as long as it did. */
function queuedAt(stage: StageState, event: EventOf<"StageQueued">): number {
  return event.cause === "REFUSED" && stage.status === "QUEUED" ? stage.queuedAt : Math.max(event.at, event.notBefore ?? 0);
}

type AttemptEvent = Exclude<Extract<StageEvent, { attemptId: LiveAttempt["id"]; number: number }>, { type: "AttemptOffered" }>;
type LiveStage = Extract<StageState, { live: unknown }>;

function withLive(state: PipelineState, event: AttemptEvent, next: (live: LiveAttempt, stage: LiveStage) => StageState): PipelineState {
  return change(state, event, (stage) => {
    const live = liveAttempt(stage);
    return live !== null && live.number === event.number ? next(live, stage as LiveStage) : impossible(event, `its fence is ${stage.attempts}`);
  });
}

function withMember(live: LiveAttempt, event: EventOf<"AttemptStarted"> | EventOf<"MemberEnded">, from: readonly LiveAttempt["members"][number]["status"][], part: Partial<LiveAttempt["members"][number]>): LiveAttempt["members"] {
  if (!live.members.some((member) => member.agentId === event.agentId && from.includes(member.status))) return impossible(event, `agent ${event.agentId} has no part in it that could`);
  return live.members.map((member) => (member.agentId === event.agentId ? { ...member, ...part } : member));
}

/** The attempt is over; the next event says what becomes of the stage, which until then reads as queued: since before when it never started, else since now. */
function attemptOver(state: PipelineState, event: AttemptEvent, counted: number, rolledBackTo?: number): PipelineState {
  const rolledBack = (stage: StageState) => (rolledBackTo === undefined ? {} : { rollbacks: [...(stage.rollbacks ?? []), { attempt: event.number, toStep: rolledBackTo }] });
  return withLive(state, event, (_, stage) => ({ ...base(stage), ...rolledBack(stage), tries: stage.tries + counted, status: "QUEUED", queuedAt: stage.status === "QUEUED" ? stage.queuedAt : event.at, notBefore: null, live: null }));
}

function base(stage: StageState): Pick<StageState, "id" | "attempts" | "tries" | "startedAt" | "rollbacks"> {
  return { id: stage.id, attempts: stage.attempts, tries: stage.tries, startedAt: stage.startedAt, ...(stage.rollbacks === undefined ? {} : { rollbacks: stage.rollbacks }) };
}

function impossible(event: PipelineEvent, found: string): never {
  throw new Error(`Event ${event.type}${"stage" in event ? ` of stage ${event.stage}` : ""} is impossible: ${found}`);
}
