// The dispatcher's post: takes the role, wakes the scheduler when something may have changed, reads report streams, publishes again what got lost.

import type pg from "pg";
import type { Logger } from "pino";
import type { AgentId, AttemptId, PipelineId } from "../domain/ids.js";
import type { Order } from "../protocol/messages.js";
import { TOPICS, type Wakeups } from "./control-plane.js";
import { Dispatcher } from "./dispatcher.js";
import type { CommittedBatch, Engine } from "./engine.js";
import type { RedisHub } from "./redis-hub.js";
import { keepRole, type RoleKeeper } from "./roles.js";

export interface DispatchOptions {
  readonly pool: pg.Pool;
  readonly databaseUrl: string;
  readonly engine: Engine;
  readonly wakeups: Wakeups;
  /** Null when there is no Redis at all. */
  readonly hub: RedisHub | null;
  readonly log: Logger;
  readonly self: string;
  readonly unresponsiveAfterMs: number;
  readonly leaseTtlMs: number;
  readonly republishAfterMs: number;
}

const TICK_MS = 1_000;

export class Dispatch {
  readonly #options: DispatchOptions;
  readonly #role: RoleKeeper;
  #dispatcher: Dispatcher | null = null;
  #timer: NodeJS.Timeout | null = null;
  #wake: { timer: NodeJS.Timeout; at: number } | null = null;
  #stopListening: () => void = () => undefined;
  /** Positions up to here are known to the fleet. */
  #seen = 0;
  #looking = false;

  constructor(options: DispatchOptions) {
    this.#options = options;
    this.#role = keepRole({ name: "dispatcher", databaseUrl: options.databaseUrl, holder: options.self, log: options.log, taken: (role) => this.#start(role.epoch), lost: () => this.#end() });
  }

  get dispatcher(): Dispatcher | null {
    return this.#dispatcher;
  }

  /** Told of each commit of this process, in order: a jump in positions is another process's work. */
  committed(batch: CommittedBatch): void {
    if (batch.position === null || this.#options.engine.scheduler === null) return;
    const first = batch.position - batch.ledger.events.length + 1;
    if (first > this.#seen + 1) void this.#lookAt(this.#seen, first - 1);
    this.#seen = Math.max(this.#seen, batch.position);
  }

  /** An agent came, went or changed, here or elsewhere. */
  agentsChanged(): void {
    if (this.#dispatcher === null) return;
    this.#dispatcher.agentsChanged();
    void this.#look([]);
  }

  /** Sends everything outstanding again, e.g. because Redis came back empty. */
  async republish(olderThanMs = 0): Promise<void> {
    if (this.#dispatcher === null || this.#options.hub?.connected !== true) return;
    const { rows } = await this.#options.pool.query<{ attempt_id: AttemptId; agent_id: AgentId; status: string; body: Extract<Order, { type: "assign" }>["assignment"]; stop: Order | null }>(
      `update assignments set published_at = now() where (status = 'OFFERED' or stop is not null) and published_at <= now() - $1 * interval '1 millisecond' returning attempt_id, agent_id, status, body, stop`, [olderThanMs]);
    const orders = new Map<AgentId, Order[]>();
    for (const row of rows) {
      const list = orders.get(row.agent_id) ?? [];
      orders.set(row.agent_id, list);
      if (row.status === "OFFERED") list.push({ type: "assign", assignment: row.body });
      if (row.stop !== null) list.push(row.stop);
    }
    this.#options.hub.publish(orders);
    if (rows.length > 0) this.#options.log.info({ orders: rows.length }, "orders not taken up were published again");
  }

  async stop(): Promise<void> {
    this.#end();
    await this.#role.stop();
  }

  #start(epoch: number): void {
    const { engine, wakeups, log, unresponsiveAfterMs, leaseTtlMs } = this.#options;
    const dispatcher = new Dispatcher({ epoch, log, unresponsiveAfterMs, leaseTtlMs, wakeAt: (at) => this.#wakeAt(at) });
    this.#dispatcher = dispatcher;
    // The position is read before the fleet is: what others commit in between is looked at twice rather than never.
    const begin = async (): Promise<void> => {
      const { rows: [counter] } = await this.#options.pool.query<{ position: number }>("select position from event_counter");
      if (this.#dispatcher !== dispatcher) return;
      this.#seen = counter!.position;
      engine.scheduler = dispatcher;
      this.#stopListening = wakeups.listen(TOPICS.events, () => void this.#catchUp());
      this.#timer = setInterval(() => void this.#tick(), TICK_MS);
      await this.#tick();
    };
    begin().catch((error: unknown) => {
      log.warn({ err: error }, "taking up the dispatcher's post failed; trying again");
      setTimeout(() => { if (this.#dispatcher === dispatcher) this.#start(epoch); }, TICK_MS);
    });
  }

  #end(): void {
    if (this.#dispatcher === null) return;
    this.#dispatcher = null;
    this.#options.engine.scheduler = null;
    this.#stopListening();
    if (this.#timer !== null) clearInterval(this.#timer);
    if (this.#wake !== null) clearTimeout(this.#wake.timer);
    this.#wake = null;
    void this.#options.hub?.stopReading();
  }

  async #tick(): Promise<void> {
    try {
      await this.#look([]);
      const { hub } = this.#options;
      if (hub !== null) {
        const { rows } = await this.#options.pool.query<{ id: AgentId }>("select id from agents where last_heartbeat_at > now() - interval '1 day' order by id");
        if (this.#dispatcher !== null) hub.read(rows.map((row) => row.id));
        await this.republish(this.#options.republishAfterMs);
      }
    } catch (error) {
      this.#options.log.warn({ err: error }, "the dispatcher's round failed; the next follows in a second");
    }
  }

  /** Finds what other processes committed since the last look. */
  async #catchUp(): Promise<void> {
    if (this.#looking || this.#dispatcher === null) return;
    this.#looking = true;
    try {
      const { rows: [counter] } = await this.#options.pool.query<{ position: number }>({ name: "event-position", text: "select position from event_counter" });
      if (counter !== undefined && counter.position > this.#seen) {
        const from = this.#seen;
        this.#seen = counter.position;
        await this.#lookAt(from, counter.position);
      }
    } catch (error) {
      this.#options.log.debug({ err: error }, "looking for the work of other processes failed");
    } finally {
      this.#looking = false;
    }
  }

  async #lookAt(after: number, upTo: number): Promise<void> {
    const { rows } = await this.#options.pool.query<{ pipeline_id: PipelineId }>({ name: "changed-pipelines", text: "select distinct pipeline_id from events where position > $1 and position <= $2", values: [after, upTo] });
    await this.#look(rows.map((row) => row.pipeline_id));
  }

  async #look(pipelineIds: readonly PipelineId[]): Promise<void> {
    await this.#options.engine.look(pipelineIds).catch((error: unknown) => this.#options.log.debug({ err: error }, "a scheduling pass did not commit"));
  }

  #wakeAt(at: number): void {
    if (this.#wake !== null && this.#wake.at <= at && this.#wake.at > Date.now()) return;
    if (this.#wake !== null) clearTimeout(this.#wake.timer);
    const timer = setTimeout(() => { this.#wake = null; void this.#look([]); }, Math.min(Math.max(1, at - Date.now()), 60_000));
    this.#wake = { at, timer };
  }
}
