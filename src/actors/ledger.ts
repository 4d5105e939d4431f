// The ledger of one batch: what its events change in the tables, which orders go out after the commit. Pure bookkeeping: it asks nobody.
//   L1. Everything here is written in the one transaction of its batch, or never; orders leave only after the commit.
//   L2. Whatever is in `orders` also stands in the assignments table, from which it is published again when it got lost.

import type { Append, AssignmentChange, AttemptChange, AuditRow, NewAssignment, NewAttempt } from "../db/pipeline-store.js";
import type { AgentId, AttemptId, PipelineId } from "../domain/ids.js";
import type { EventOf, PipelineEvent } from "../domain/pipeline/events.js";
import { liveAttempt, type AttemptStatus, type Failure, type Member, type PipelineState } from "../domain/pipeline/state.js";
import type { Assignment, Order } from "../protocol/messages.js";

/** Completes the assignment of one member: what only the shell knows. */
export type AssignmentBuilder = (state: PipelineState, event: EventOf<"AttemptOffered">, member: Member) => Assignment;

export class Ledger {
  readonly #created = new Map<PipelineId, { by: string }>();
  readonly #stages = new Map<PipelineId, Set<number>>();
  readonly #states = new Map<PipelineId, PipelineState>();
  readonly #events: { pipelineId: PipelineId; seq: number; event: PipelineEvent }[] = [];
  readonly #attempts: NewAttempt[] = [];
  readonly #attemptChanges = new Map<AttemptId, AttemptChange>();
  readonly #assignments: NewAssignment[] = [];
  readonly #assignmentChanges = new Map<string, AssignmentChange>();
  readonly #released = new Map<string, { attempt_id: AttemptId; agent_id: AgentId }>();
  readonly #watermarks = new Map<AgentId, number>();
  readonly #audits: AuditRow[] = [];
  readonly orders = new Map<AgentId, Order[]>();

  /** The newest states of all pipelines this batch has changed. */
  get states(): ReadonlyMap<PipelineId, PipelineState> {
    return this.#states;
  }
  /** Positions of the stages changed, by pipeline. */
  get changedStages(): ReadonlyMap<PipelineId, ReadonlySet<number>> {
    return this.#stages;
  }
  get events(): readonly { pipelineId: PipelineId; seq: number; event: PipelineEvent }[] {
    return this.#events;
  }

  /** Enters the events that led from `before` to `after`. `by` for a new pipeline; `build` for offers. */
  enter(before: PipelineState | null, events: readonly PipelineEvent[], after: PipelineState, options: { by?: string; build?: AssignmentBuilder } = {}): void {
    if (events.length === 0) return;
    if (before === null) this.#created.set(after.id, { by: options.by ?? "" });
    let seq = before?.seq ?? 0;
    const stages = this.#stages.get(after.id) ?? new Set<number>();
    this.#stages.set(after.id, stages);
    this.#states.set(after.id, after);
    for (const event of events) {
      this.#events.push({ pipelineId: after.id, seq: ++seq, event });
      if ("stage" in event) stages.add(after.dag.indexOf.get(event.stage)!);
      this.#enterRows(before, event, after, options.build);
    }
  }

  advanceWatermark(agentId: AgentId, watermark: number): void {
    this.#watermarks.set(agentId, watermark);
  }

  /** Keeps who ordered what, in the transaction of what they ordered. */
  audit(row: AuditRow): void {
    this.#audits.push(row);
  }

  toAppend(): Append {
    const changed = [...this.#stages].filter(([id]) => !this.#created.has(id)).map(([id, stages]) => ({ state: this.#states.get(id)!, stages }));
    return {
      created: [...this.#created].map(([id, { by }]) => ({ state: this.#states.get(id)!, by })),
      changed, events: this.#events, attempts: this.#attempts, attemptChanges: [...this.#attemptChanges.values()], assignments: this.#assignments,
      assignmentChanges: [...this.#assignmentChanges.values()], released: [...this.#released.values()], watermarks: [...this.#watermarks].map(([id, watermark]) => ({ id, watermark })), audits: this.#audits,
    };
  }

  #enterRows(before: PipelineState | null, event: PipelineEvent, after: PipelineState, build?: AssignmentBuilder): void {
    switch (event.type) {
      case "AttemptOffered": return this.#offer(event, after, build!);
      case "AttemptStarted":
        this.#assignmentChange(event.attemptId, event.agentId as AgentId, { status: "RUNNING" });
        return this.#attempt(event.attemptId, { status: "RUNNING", started_at: new Date(event.at), command: event.command });
      case "AttemptStopRequested": {
        const members = memberList(before, after, event);
        for (const member of members) {
          if (member.status === "ENDED") continue;
          const stop = { type: "stop" as const, attemptId: event.attemptId, fence: event.number, cause: event.cause, reason: event.reason };
          this.#assignmentChange(event.attemptId, member.agentId, { stop });
          this.#order(member.agentId, stop);
        }
        return;
      }
      case "MemberEnded": return this.#release(event.attemptId, event.agentId as AgentId);
      case "StageCompleted": return event.attemptId === null ? undefined : this.#end(before, after, { ...event, attemptId: event.attemptId }, "COMPLETED", null);
      case "AttemptFailed": return this.#end(before, after, event, "FAILED", event.failure);
      case "AttemptLost": return this.#end(before, after, event, "LOST", event.failure);
      case "AttemptCancelled": return this.#end(before, after, event, "CANCELLED", null);
      default: return;
    }
  }

  #offer(event: EventOf<"AttemptOffered">, after: PipelineState, build: AssignmentBuilder): void {
    const stage = after.stages.at(after.dag.indexOf.get(event.stage)!);
    const head = event.members.find((member) => member.rank === 0)!;
    this.#attempts.push({ id: event.attemptId, stage_id: stage.id, pipeline_id: after.id, number: event.number, agent_id: head.agentId, members: event.members, offered_at: new Date(event.at) });
    for (const member of event.members) {
      const body = build(after, event, member);
      this.#assignments.push({
        attempt_id: event.attemptId, agent_id: member.agentId, pipeline_id: after.id, stage: event.stage, fence: event.number, rank: member.rank,
        silence_limit_seconds: after.spec.stages[after.dag.indexOf.get(event.stage)!]!.noProgressTimeoutSeconds ?? null, body, gpus: member.gpus, offered_at: new Date(event.at),
      });
      this.#order(member.agentId, { type: "assign", assignment: body });
    }
  }

  #end(before: PipelineState | null, after: PipelineState, event: { stage: string; attemptId: AttemptId; at: number }, status: AttemptStatus, error: Failure | null): void {
    this.#attempt(event.attemptId, { status, error, finished_at: new Date(event.at) });
    for (const member of memberList(before, after, event)) this.#release(event.attemptId, member.agentId);
  }

  #attempt(id: AttemptId, change: Partial<AttemptChange>): void {
    const earlier = this.#attemptChanges.get(id) ?? { id, status: null, command: null, error: null, started_at: null, finished_at: null };
    const given = Object.fromEntries(Object.entries(change).filter(([, value]) => value !== null));
    this.#attemptChanges.set(id, { ...earlier, ...given, started_at: earlier.started_at ?? change.started_at ?? null });
  }

  #assignmentChange(attemptId: AttemptId, agentId: AgentId, change: Partial<AssignmentChange>): void {
    const key = `${attemptId} ${agentId}`;
    this.#assignmentChanges.set(key, { ...(this.#assignmentChanges.get(key) ?? { attempt_id: attemptId, agent_id: agentId, status: null, stop: null }), ...change });
  }

  #release(attemptId: AttemptId, agentId: AgentId): void {
    const key = `${attemptId} ${agentId}`;
    this.#released.set(key, { attempt_id: attemptId, agent_id: agentId });
    this.#assignmentChanges.delete(key);
  }

  #order(agentId: AgentId, order: Order): void {
    const orders = this.orders.get(agentId);
    if (orders === undefined) this.orders.set(agentId, [order]);
    else orders.push(order);
  }
}

/** Members of the attempt, which may be over in `after` already. Its members never change, so the state before the command names them. */
function memberList(before: PipelineState | null, after: PipelineState, event: { stage: string; attemptId: AttemptId }): readonly Member[] {
  for (const state of [after, before]) {
    if (state === null) continue;
    const live = liveAttempt(state.stages.at(state.dag.indexOf.get(event.stage)!));
    if (live?.id === event.attemptId) return live.members;
  }
  return [];
}
