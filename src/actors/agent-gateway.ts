// The agents' side door: sessions, leases, orders and reports, whichever link they come by.
//   A1. One process per agent name: while a session renews, another process under the same name is refused.
//   A2. A lease is renewed for what the assignments table knows; anything else the agent holds is over, and it is told so.
//   A3. An agent that comes back without an attempt it was running has lost it: that is decided at once, not after the lease.

import type pg from "pg";
import type { Logger } from "pino";
import { ConflictError, ForbiddenError, NotFoundError, TrainyardError } from "../domain/errors.js";
import { newId, type AgentId, type AttemptId, type PipelineId, type SessionId, type TokenId } from "../domain/ids.js";
import { failpoint } from "../failpoints.js";
import { orderKey, type Held, type OpenSession, type Order, type Polled, type RefusedLease, type Renew, type Renewed, type Report, type ReportsAccepted, type SessionOpened } from "../protocol/messages.js";
import { TOPICS, type Wakeups } from "./control-plane.js";
import type { Engine } from "./engine.js";

export interface AgentPrincipal { readonly tokenId: TokenId; /** A token may be bound to one agent name. */ readonly agentName: string | null }

export interface AgentGatewayOptions {
  readonly pool: pg.Pool;
  readonly engine: Engine;
  readonly wakeups: Wakeups;
  readonly log: Logger;
  readonly leaseTtlMs: number;
  readonly renewEveryMs: number;
  readonly unresponsiveAfterMs: number;
  /** The fast link of an agent, when there is Redis: makes its user and names its streams. */
  readonly fastLink: (agentId: AgentId) => Promise<SessionOpened["redis"]>;
  /** Agents or their capacity changed: the scheduler should look. */
  readonly agentsChanged: () => void;
}

/** The session is not (any more) the agent's: open a new one. */
class SessionOverError extends TrainyardError {
  readonly kind = "CONFLICT";
  constructor() {
    super("SESSION_OVER", "This session is over; the agent opened another one, or the control plane forgot it. Open a session again.", { retryable: true });
  }
}

interface StoredAssignment { attempt_id: AttemptId; fence: number; status: "OFFERED" | "RUNNING"; pipeline_id: PipelineId; stage: string; body: Extract<Order, { type: "assign" }>["assignment"]; stop: Extract<Order, { type: "stop" }> | null }

export class AgentGateway {
  readonly #options: AgentGatewayOptions;

  constructor(options: AgentGatewayOptions) {
    this.#options = options;
  }

  /** Opens a session. Throws ConflictError AGENT_NAME_TAKEN, ForbiddenError for a token bound to another name. */
  async open(principal: AgentPrincipal, input: OpenSession): Promise<SessionOpened> {
    if (principal.agentName !== null && principal.agentName !== input.name) throw new ForbiddenError(`This token is for agent "${principal.agentName}", not "${input.name}".`);
    const { pool } = this.#options;
    const sessionId = newId("ses");
    const client = await pool.connect();
    let agentId: AgentId;
    let watermark: number;
    try {
      await client.query("begin");
      await client.query("select pg_advisory_xact_lock(hashtext('agent:' || $1))", [input.name]);
      const { rows: [known] } = await client.query<{ id: AgentId; instance: string | null; epoch: string | null; watermark: number; silent_ms: number | null; closed_at: Date | null }>(
        "select id, instance, epoch, watermark, closed_at, extract(epoch from clock_timestamp() - last_heartbeat_at) * 1000 as silent_ms from agents where name = $1 for update", [input.name]);
      if (known !== undefined && known.closed_at === null && known.epoch !== input.epoch && known.silent_ms !== null && Number(known.silent_ms) < this.#options.unresponsiveAfterMs) {
        throw new ConflictError("AGENT_NAME_TAKEN", `An agent named "${input.name}" is connected from another directory, last heard of ${Math.round(Number(known.silent_ms) / 1000)} s ago. Give this one another name (TRAINYARD_AGENT_NAME), or stop the other one.`, { retryable: true });
      }
      agentId = known?.id ?? newId("agt");
      watermark = known !== undefined && known.epoch === input.epoch ? known.watermark : 0;
      await client.query(
        `insert into agents (id, name, session_id, instance, epoch, watermark, pools, capabilities, labels, gpus, versions, run_mode, address, token_id, connected_at, last_heartbeat_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, now(), clock_timestamp())
         on conflict (id) do update set session_id = $3, instance = $4, epoch = $5, watermark = $6, pools = $7, capabilities = $8, labels = $9, gpus = $10, versions = $11, run_mode = $12, address = $13, token_id = $14,
           connected_at = now(), last_heartbeat_at = clock_timestamp(), closed_at = null, stopping = false`,
        [agentId, input.name, sessionId, input.instance, input.epoch, watermark, json(input.pools), json(input.capabilities), json(input.labels), json(input.gpus), json(input.versions), input.runMode, input.address, principal.tokenId]);
      await client.query("commit");
    } catch (error) {
      await client.query("rollback").catch(() => undefined);
      throw error;
    } finally {
      client.release();
    }
    failpoint("after-session-before-reply");
    const stored = await this.#assignments(agentId);
    const refused = refusedOf(input.held, stored);
    const held = new Set(input.held.map((one) => one.attemptId));
    for (const row of stored) {
      // A3. Offers may still be on their way; what was running and is not held any more is gone.
      if (row.status === "RUNNING" && !held.has(row.attempt_id)) {
        await this.#options.engine.command(row.pipeline_id, { type: "LoseMember", at: Date.now(), stage: row.stage, attemptId: row.attempt_id, fence: row.fence, agentId, reason: `Agent ${input.name} came back without this attempt: its directory was changed or emptied.` });
      }
    }
    await this.#renewLeases(agentId, input.held);
    this.#options.agentsChanged();
    this.#options.log.info({ agent: input.name, agentId, pools: input.pools, gpus: input.gpus.length, held: input.held.length }, "agent connected");
    return {
      agentId, sessionId, leaseTtlMs: this.#options.leaseTtlMs, renewEveryMs: this.#options.renewEveryMs, watermark, redis: await this.#options.fastLink(agentId), refused,
      orders: ordersOf(stored.filter((row) => row.status === "OFFERED" || held.has(row.attempt_id))),
    };
  }

  /** Renews the leases of what the agent holds. Throws SESSION_OVER. */
  async renew(principal: AgentPrincipal, input: Renew): Promise<Renewed> {
    const { rows: [agent] } = await this.#options.pool.query<{ id: AgentId; watermark: number; draining: boolean; changed: boolean; now: Date }>({
      name: "renew-agent",
      text: `update agents a set last_heartbeat_at = clock_timestamp(), gpus = $2, closed_at = null, stopping = $5, capabilities = coalesce($6::jsonb, a.capabilities), versions = coalesce($7::jsonb, a.versions)
        from (select id, gpus, stopping, capabilities, last_heartbeat_at from agents where session_id = $1 and token_id = $3 for update) old
        where a.id = old.id returning a.id, a.watermark, a.draining, clock_timestamp() as now,
          (old.gpus is distinct from $2::jsonb or old.stopping <> $5 or a.capabilities <> old.capabilities or old.last_heartbeat_at < clock_timestamp() - $4 * interval '1 millisecond') as changed`,
      values: [input.sessionId, json(input.gpus), principal.tokenId, this.#options.unresponsiveAfterMs, input.draining, input.host === undefined ? null : json(input.host.capabilities), input.host === undefined ? null : json(input.host.versions)],
    });
    if (agent === undefined) throw new SessionOverError();
    const stored = await this.#renewLeases(agent.id, input.held);
    if (agent.changed) this.#options.agentsChanged();
    return { watermark: agent.watermark, refused: refusedOf(input.held, stored), now: agent.now.getTime(), drain: agent.draining };
  }

  /** Orders for the agent, at once when there are any, else as soon as they come, at most after `waitMs`. */
  async poll(principal: AgentPrincipal, input: { sessionId: SessionId; waitMs: number; received: readonly string[] }, signal: AbortSignal): Promise<Polled> {
    const agentId = await this.#agentOf(principal, input.sessionId);
    const received = new Set(input.received);
    const deadline = Date.now() + input.waitMs;
    for (;;) {
      let woken: () => void = () => undefined;
      const news = new Promise<void>((resolve) => { woken = resolve; });
      const stopListening = this.#options.wakeups.listen(TOPICS.orders(agentId), woken);
      const timer = setTimeout(woken, Math.max(0, deadline - Date.now()));
      signal.addEventListener("abort", woken, { once: true });
      try {
        const orders = (await this.#orders(agentId)).filter((order) => !received.has(orderKey(order)));
        if (orders.length > 0) failpoint("before-orders-reply");
        if (orders.length > 0 || Date.now() >= deadline || signal.aborted) return { orders };
        await news;
      } finally {
        clearTimeout(timer);
        stopListening();
        signal.removeEventListener("abort", woken);
      }
    }
  }

  /** Applies reports and answers the watermark after the commit. */
  async report(principal: AgentPrincipal, input: { sessionId: SessionId; epoch: string; reports: readonly Report[] }): Promise<ReportsAccepted> {
    const agentId = await this.#agentOf(principal, input.sessionId);
    const accepted = await this.#options.engine.report(agentId, input.epoch, input.reports);
    failpoint("after-inbox-commit-before-ack");
    return accepted;
  }

  /** The agent stops in good order: shown as OFFLINE at once. What it holds keeps its lease. */
  async close(principal: AgentPrincipal, sessionId: SessionId): Promise<void> {
    const agentId = await this.#agentOf(principal, sessionId);
    await this.#options.pool.query("update agents set closed_at = clock_timestamp(), session_id = null where id = $1", [agentId]);
    this.#options.agentsChanged();
  }

  /** Everything outstanding for an agent, from the outbox. */
  async #orders(agentId: AgentId): Promise<Order[]> {
    const { rows } = await this.#options.pool.query<{ id: string; attempt_id: AttemptId; attempt: number; path: string }>({
      name: "ordered-deletions", text: "select id, attempt_id, attempt, path from checkpoints where agent_id = $1 and delete_ordered_at is not null and deleted_at is null and delete_error is null limit 500", values: [agentId],
    });
    return [...ordersOf(await this.#assignments(agentId)), ...rows.map((row): Order => ({ type: "delete-checkpoint", checkpointId: row.id as never, attemptId: row.attempt_id, fence: row.attempt, path: row.path }))];
  }

  async #assignments(agentId: AgentId): Promise<StoredAssignment[]> {
    const { rows } = await this.#options.pool.query<StoredAssignment>({ name: "assignments-of", text: "select attempt_id, fence, status, pipeline_id, stage, body, stop from assignments where agent_id = $1 order by offered_at", values: [agentId] });
    return rows;
  }

  async #renewLeases(agentId: AgentId, held: readonly Held[]): Promise<{ attempt_id: AttemptId; fence: number }[]> {
    if (held.length === 0) return [];
    const { rows } = await this.#options.pool.query<{ attempt_id: AttemptId; fence: number }>({
      name: "renew-leases", text: "update assignments set lease_renewed_at = clock_timestamp() where agent_id = $1 and attempt_id = any($2::text[]) returning attempt_id, fence", values: [agentId, held.map((one) => one.attemptId)],
    });
    return rows;
  }

  async #agentOf(principal: AgentPrincipal, sessionId: SessionId): Promise<AgentId> {
    const { rows: [agent] } = await this.#options.pool.query<{ id: AgentId }>({ name: "agent-of-session", text: "select id from agents where session_id = $1 and token_id = $2", values: [sessionId, principal.tokenId] });
    if (agent === undefined) throw new SessionOverError();
    return agent.id;
  }
}

/** Drains an agent, or ends its draining. Throws NotFoundError. */
export async function setDraining(pool: pg.Pool, agentId: string, draining: boolean): Promise<void> {
  const { rowCount } = await pool.query("update agents set draining = $2 where id = $1", [agentId, draining]);
  if (rowCount !== 1) throw new NotFoundError("agent", agentId);
}

function ordersOf(rows: readonly StoredAssignment[]): Order[] {
  return rows.flatMap((row): Order[] => [...(row.status === "OFFERED" ? [{ type: "assign" as const, assignment: row.body }] : []), ...(row.stop === null ? [] : [row.stop])]);
}

function refusedOf(held: readonly Held[], stored: readonly { attempt_id: AttemptId; fence: number }[]): RefusedLease[] {
  const fences = new Map(stored.map((row) => [row.attempt_id, row.fence]));
  return held.filter((one) => fences.get(one.attemptId) !== one.fence).map((one) => ({ ...one, message: `The lease of ${one.attemptId} is over: the attempt has ended, was lost, or was replaced.` }));
}

function json(value: unknown): string {
  return JSON.stringify(value);
}

