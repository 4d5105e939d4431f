// The dispatcher: places waiting stages on agents, inside the transactions of the engine. One process holds the role.
//   P1. What the fleet assumes beyond the database is forgotten when a transaction does not commit: it is read anew.
//   P2. An offer is made under the row lock of its pipeline and the epoch of the role; a stage whose pipeline another process holds waits for the next pass.
//   P3. The fleet only ever over-estimates what is taken: others may end attempts behind our back, none but us may offer.

import type pg from "pg";
import type { Logger } from "pino";
import { kyselyOn } from "../db/database.js";
import { loadPipelines } from "../db/pipeline-store.js";
import { cleanupPlan, type CleanupPlan } from "../db/telemetry/cleanup-plan.js";
import { agentStanding } from "../domain/agent-standing.js";
import { newId, type AgentId, type AttemptId, type PipelineId, type StageId } from "../domain/ids.js";
import { Fleet } from "../domain/placement/fleet.js";
import { explain } from "../domain/placement/explain.js";
import { place } from "../domain/placement/place.js";
import type { Placement } from "../domain/placement/facts.js";
import { resolvedParams } from "../domain/pipeline/decide.js";
import { capabilityOf, cleanupParamsSchema, queueOf } from "../domain/pipeline/spec.js";
import { isPlaceable, liveAttempt, type PipelineState, type StageState } from "../domain/pipeline/state.js";
import { failpoint } from "../failpoints.js";
import type { Assignment, GpuReport, Pool } from "../protocol/messages.js";
import type { BatchTransaction } from "./batch.js";
import { RoleLostError, type Scheduler } from "./engine.js";
import type { AssignmentBuilder } from "./ledger.js";

export interface DispatcherOptions {
  readonly epoch: number;
  readonly log: Logger;
  readonly unresponsiveAfterMs: number;
  readonly leaseTtlMs: number;
  /** Called when a pass at that time (milliseconds since 1970) may place what this one could not. */
  readonly wakeAt: (at: number) => void;
}

export class Dispatcher implements Scheduler {
  readonly #options: DispatcherOptions;
  #fleet: Fleet | null = null;
  #agentsReadAt = 0;
  #agents = new Map<AgentId, { name: string; address: string | null }>();
  /** Stages that were placed while their pipeline was locked elsewhere. */
  #again = new Set<PipelineId>();
  #lost = false;

  constructor(options: DispatcherOptions) {
    this.#options = options;
  }

  get waiting(): number {
    return this.#fleet?.waitingCount ?? 0;
  }

  /** Agents are read again at the next pass. */
  agentsChanged(): void {
    this.#agentsReadAt = 0;
  }

  undo(): void {
    this.#fleet = null;
  }

  /** Why a stage waits, as of the last pass; null when it is not known to wait. */
  explain(stageId: StageId): readonly string[] | null {
    return this.#fleet?.isWaiting(stageId) === true ? explain(this.#fleet, stageId, Date.now()) : null;
  }

  /** The same answer from a process that does not schedule: from the facts in the database at this moment. */
  static async explainFrom(pool: pg.Pool, stageId: StageId, options: Pick<DispatcherOptions, "log" | "unresponsiveAfterMs" | "leaseTtlMs">): Promise<readonly string[] | null> {
    const onlooker = new Dispatcher({ ...options, epoch: 0, wakeAt: () => undefined });
    const client = await pool.connect();
    try {
      const fleet = await onlooker.#readFleet(client, new Set());
      // What could be placed right now is about to be: the pass shows the rest why not.
      place(fleet, Date.now());
      return onlooker.explain(stageId);
    } finally {
      client.release();
    }
  }

  async placeWithin(transaction: BatchTransaction): Promise<void> {
    if (this.#lost) return;
    const known = this.#fleet !== null;
    const fleet = this.#fleet ?? (await this.#readFleet(transaction.client, transaction.states));
    if (Date.now() - this.#agentsReadAt >= Math.min(AGENTS_EVERY_MS, this.#options.unresponsiveAfterMs / 4)) await this.#readAgents(transaction.client, fleet);
    for (const [id, state] of transaction.states) {
      // A state that had to be read was changed by another process, or is new to us: all of it is looked at. Otherwise only what this batch changed.
      if (!known || transaction.reread.has(id)) await this.#sync(transaction.client, state, undefined, fleet);
      else if (transaction.ledger.changedStages.has(id)) await this.#sync(transaction.client, state, transaction.ledger.changedStages.get(id), fleet);
    }
    if (this.#again.size > 0) {
      const ids = [...this.#again];
      this.#again.clear();
      await transaction.lockMore(ids);
      for (const id of ids) {
        const state = transaction.states.get(id);
        if (state === undefined) this.#again.add(id);
        else await this.#sync(transaction.client, state, undefined, fleet);
      }
    }
    const placements = place(fleet, transaction.at);
    if (placements.length > 0) await this.#offer(transaction, placements, fleet);
    const due = this.#again.size > 0 ? transaction.at + RETRY_LOCKED_MS : fleet.nextDueAt();
    if (due !== null) this.#options.wakeAt(due);
  }

  async #offer(transaction: BatchTransaction, placements: readonly Placement[], fleet: Fleet): Promise<void> {
    const { rowCount } = await transaction.client.query({ name: "check-role", text: "select 1 from roles where name = 'dispatcher' and epoch = $1 for share", values: [this.#options.epoch] });
    if (rowCount !== 1) {
      this.#lost = true;
      throw new RoleLostError("Another control plane holds the dispatcher's role now.");
    }
    await transaction.lockMore(placements.map((placement) => placement.pipelineId));
    for (const placement of placements) {
      const state = transaction.states.get(placement.pipelineId);
      const stage = state?.stages.at(state.dag.indexOf.get(placement.stage)!);
      if (state === undefined || stage === undefined || !isPlaceable(state, stage, transaction.at)) {
        fleet.withdraw(placement.stageId);
        if (state === undefined) this.#again.add(placement.pipelineId);
        else await this.#sync(transaction.client, state, undefined, fleet);
        continue;
      }
      const spec = state.spec.stages[state.dag.indexOf.get(placement.stage)!]!;
      const plan = spec.kind === "cleanup" ? await this.#planCleanup(transaction.client, state, placement.stage) : null;
      const attemptId = newId("att", transaction.at);
      transaction.decide(placement.pipelineId, { type: "OfferAttempt", at: transaction.at, stage: placement.stage, attemptId, members: placement.members }, this.#builder(plan));
      fleet.confirm(placement.stageId, attemptId);
      this.#occupied.set(placement.stageId, attemptId);
    }
  }

  #builder(plan: CleanupPlan | null): AssignmentBuilder {
    return (state, event, member) => {
      const index = state.dag.indexOf.get(event.stage)!;
      return {
        attemptId: event.attemptId, fence: event.number, pipelineId: state.id, pipelineName: state.spec.name, stageId: state.stages.at(index).id, stage: event.stage, kind: state.spec.stages[index]!.kind,
        params: resolvedParams(state, event.stage), gpus: [...member.gpus], rank: member.rank,
        members: event.members.map((other) => ({ agentName: other.agentName, address: this.#agents.get(other.agentId)?.address ?? null, gpus: [...other.gpus] })),
        deletions: (plan?.get(member.agentId) ?? []).map(({ checkpointId, path }) => ({ checkpointId, path })),
        ...rollbacksOf(state.stages.at(index)),
      };
    };
  }

  /** Brings the fleet in line with a state: all its stages, or those named. */
  async #sync(client: pg.PoolClient, state: PipelineState, stages: ReadonlySet<number> | undefined, fleet: Fleet): Promise<void> {
    const paused = state.status === "PAUSED";
    fleet.setPaused(state.id, paused);
    const positions = stages ?? state.stages.length;
    const each = async (index: number): Promise<void> => {
      const stage = state.stages.at(index);
      const spec = state.spec.stages[index]!;
      const live = liveAttempt(stage);
      this.#releaseOld(fleet, stage.id, live?.id ?? null);
      for (const member of live?.members ?? []) {
        if (member.status === "ENDED") fleet.release(live!.id, member.agentId);
        else this.#occupy(fleet, { attemptId: live!.id, pipelineId: state.id, stageId: stage.id, stage: spec.name, agentId: member.agentId, queue: queueOf(spec), gpus: member.gpus });
      }
      if (stage.status !== "QUEUED" || live !== null || state.cancelling !== null) return fleet.removeWaiting(stage.id);
      const plan = spec.kind === "cleanup" ? await this.#planCleanup(client, state, spec.name) : null;
      fleet.addWaiting({
        pipelineId: state.id, stageId: stage.id, stage: spec.name, queue: queueOf(spec), capability: capabilityOf(spec)!, priority: spec.priority, queuedAt: stage.queuedAt, notBefore: stage.notBefore, paused,
        resources: spec.resources, pinnedTo: plan === null || plan.size === 0 ? null : [...plan.keys()],
      });
    };
    if (typeof positions === "number") for (let index = 0; index < positions; index++) await each(index);
    else for (const index of positions) await each(index);
  }

  /** The live attempt of each stage as the fleet knows it, so that one that ended is released. */
  readonly #occupied = new Map<StageId, AttemptId>();

  #occupy(fleet: Fleet, assignment: Parameters<Fleet["occupy"]>[0]): void {
    fleet.occupy(assignment);
    this.#occupied.set(assignment.stageId, assignment.attemptId);
  }

  #releaseOld(fleet: Fleet, stageId: StageId, live: AttemptId | null): void {
    const known = this.#occupied.get(stageId);
    if (known === undefined || known === live) return;
    fleet.release(known);
    this.#occupied.delete(stageId);
  }

  async #planCleanup(client: pg.PoolClient, state: PipelineState, stage: string): Promise<CleanupPlan> {
    const params = cleanupParamsSchema.safeParse(resolvedParams(state, stage));
    return params.success ? cleanupPlan(kyselyOn(client), state.id, params.data) : new Map();
  }

  /** Everything the fleet must know that other transactions than this one have changed. */
  async #readFleet(client: pg.PoolClient, states: { has(id: PipelineId): boolean }): Promise<Fleet> {
    const fleet = new Fleet();
    this.#occupied.clear();
    this.#again.clear();
    await this.#readAgents(client, fleet);
    const assignments = await client.query<{ attempt_id: AttemptId; agent_id: AgentId; pipeline_id: PipelineId; stage_id: StageId; stage: string; queue: string; gpus: number[] }>(
      "select a.attempt_id, a.agent_id, a.pipeline_id, s.id as stage_id, a.stage, s.queue, array(select gpu_index from gpu_holds g where g.attempt_id = a.attempt_id and g.agent_id = a.agent_id) as gpus from assignments a join stages s on s.pipeline_id = a.pipeline_id and s.name = a.stage");
    for (const row of assignments.rows) this.#occupy(fleet, { attemptId: row.attempt_id, pipelineId: row.pipeline_id, stageId: row.stage_id, stage: row.stage, agentId: row.agent_id, queue: row.queue, gpus: row.gpus });
    failpoint("during-start-up-recovery");
    const waiting = await client.query<{ pipeline_id: PipelineId }>("select id as pipeline_id from pipelines where status in ('PENDING', 'RUNNING', 'PAUSED')");
    const unread = waiting.rows.map((row) => row.pipeline_id).filter((id) => !states.has(id));
    for (let start = 0; start < unread.length; start += READ_AT_ONCE) {
      for (const state of (await loadPipelines(client, unread.slice(start, start + READ_AT_ONCE))).values()) await this.#sync(client, state, undefined, fleet);
    }
    this.#options.log.debug({ assignments: assignments.rows.length, pipelines: unread.length }, "fleet read");
    this.#fleet = fleet;
    return fleet;
  }

  async #readAgents(client: pg.PoolClient, fleet: Fleet): Promise<void> {
    this.#agentsReadAt = Date.now();
    interface Row { id: AgentId; name: string; pools: Pool[]; capabilities: string[]; labels: Record<string, string | number | boolean>; gpus: GpuReport[]; address: string | null; draining: boolean; last_heartbeat_at: Date | null; closed_at: Date | null; now: Date }
    const { rows } = await client.query<Row>({ name: "read-agents", text: "select id, name, pools, capabilities, labels, gpus, address, draining or stopping as draining, last_heartbeat_at, closed_at, clock_timestamp() as now from agents" });
    for (const row of rows) {
      this.#agents.set(row.id, { name: row.name, address: row.address });
      const status = agentStanding({ draining: row.draining, lastHeartbeatAt: row.last_heartbeat_at?.getTime() ?? null, closedAt: row.closed_at?.getTime() ?? null }, row.now.getTime(), this.#options);
      fleet.upsertAgent({ id: row.id, name: row.name, status, lastSeenAt: row.last_heartbeat_at?.getTime() ?? null, pools: row.pools, capabilities: row.capabilities, labels: row.labels, gpus: row.gpus });
    }
  }
}

/** What an attempt of a rolled back stage must not go on from. */
function rollbacksOf({ rollbacks }: StageState): Pick<Assignment, "rollbacks"> {
  return rollbacks === undefined ? {} : { rollbacks: rollbacks.map(({ attempt, toStep }) => ({ fence: attempt, step: toStep })) };
}

/** Agents change by sessions, renewals and silence; a pass reads them at most this often, in milliseconds, unless told that one changed. Where silence counts
 *  sooner, they are read sooner: what an agent lost must not be offered to it again. */
const AGENTS_EVERY_MS = 2_000;
const RETRY_LOCKED_MS = 20;
const READ_AT_ONCE = 500;
