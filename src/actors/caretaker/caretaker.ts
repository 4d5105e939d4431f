// The caretaker: everything that happens because time passes. One process holds the role; each round is repeatable.
//   T1. A lease is lost only when the database's clock and our own agree that it was silent for its length: a stepped clock or a fresh start loses nobody.
//   T2. What the rounds find is ordered like anything else, through decide, which checks it again.

import type pg from "pg";
import type { Logger } from "pino";
import type { AgentId, AttemptId, PipelineId } from "../../domain/ids.js";
import { failpoint } from "../../failpoints.js";
import type { Engine } from "../engine.js";
import { keepRole, type RoleKeeper } from "../roles.js";

export interface Chore {
  readonly name: string;
  readonly everyMs: number;
  readonly run: () => Promise<void>;
}

export interface CaretakerOptions {
  readonly pool: pg.Pool;
  readonly databaseUrl: string;
  readonly engine: Engine;
  readonly log: Logger;
  readonly self: string;
  readonly leaseTtlMs: number;
  readonly startGraceMs: number;
  readonly sweepEveryMs: number;
  /** Retention, diagnosis and the like, beside the sweeps. */
  readonly chores: readonly Chore[];
}

const SWEEP_LIMIT = 5_000;

export class Caretaker {
  readonly #options: CaretakerOptions;
  readonly #role: RoleKeeper;
  readonly #startedAt = performance.now();
  /** T1: for each lease, the renewal we saw and when we first saw it, on our own clock. */
  readonly #firstSeen = new Map<string, { renewedAt: number; seenAt: number }>();
  #timers: NodeJS.Timeout[] = [];
  #running = new Set<Promise<void>>();

  constructor(options: CaretakerOptions) {
    this.#options = options;
    this.#role = keepRole({ name: "caretaker", databaseUrl: options.databaseUrl, holder: options.self, log: options.log, taken: () => this.#start(), lost: () => this.#end() });
  }

  async stop(): Promise<void> {
    this.#end();
    await Promise.all(this.#running);
    await this.#role.stop();
  }

  #start(): void {
    this.#firstSeen.clear();
    const sweeps: Chore[] = [
      { name: "lost leases", everyMs: this.#options.sweepEveryMs, run: () => this.sweepLeases() },
      { name: "deadlines", everyMs: this.#options.sweepEveryMs, run: () => this.sweepDeadlines() },
      { name: "silence", everyMs: this.#options.sweepEveryMs, run: () => this.sweepSilence() },
    ];
    for (const chore of [...sweeps, ...this.#options.chores]) {
      let busy = false;
      const round = (): void => {
        if (busy) return;
        busy = true;
        const run = chore.run()
          .catch((error: unknown) => this.#options.log.warn({ err: error, chore: chore.name }, "a round of the caretaker failed; the next follows"))
          .finally(() => { busy = false; this.#running.delete(run); });
        this.#running.add(run);
      };
      this.#timers.push(setInterval(round, chore.everyMs));
      round();
    }
  }

  #end(): void {
    for (const timer of this.#timers) clearInterval(timer);
    this.#timers = [];
  }

  /** Declares leases lost that were silent for their length by both clocks. */
  async sweepLeases(): Promise<void> {
    const { pool, leaseTtlMs, startGraceMs } = this.#options;
    const { rows } = await pool.query<{ attempt_id: AttemptId; agent_id: AgentId; pipeline_id: PipelineId; stage: string; fence: number; renewed_ms: string; name: string | null }>(
      `select a.attempt_id, a.agent_id, a.pipeline_id, a.stage, a.fence, extract(epoch from a.lease_renewed_at) * 1000 as renewed_ms, g.name
       from assignments a left join agents g on g.id = a.agent_id where a.lease_renewed_at < clock_timestamp() - least($1, 30000) * interval '1 millisecond' limit $2`, [leaseTtlMs, SWEEP_LIMIT]);
    const now = performance.now();
    const current = new Set<string>();
    for (const row of rows) {
      const key = `${row.attempt_id} ${row.agent_id}`;
      current.add(key);
      const renewedAt = Number(row.renewed_ms);
      const seen = this.#firstSeen.get(key);
      if (seen === undefined || seen.renewedAt !== renewedAt) {
        this.#firstSeen.set(key, { renewedAt, seenAt: now });
        continue;
      }
      const silentForUs = now - seen.seenAt;
      const { rows: [still] } = await pool.query<{ silent_ms: string }>("select extract(epoch from clock_timestamp() - lease_renewed_at) * 1000 as silent_ms from assignments where attempt_id = $1 and agent_id = $2", [row.attempt_id, row.agent_id]);
      // The lease was seen unrenewed only from a little after its renewal: both clocks must show nearly its whole length, and the grace after a start.
      const lookFrom = Math.min(leaseTtlMs, 30_000);
      if (still === undefined || Number(still.silent_ms) < leaseTtlMs || silentForUs < leaseTtlMs - lookFrom || now - this.#startedAt < startGraceMs) continue;
      this.#firstSeen.delete(key);
      const reason = `Agent ${row.name ?? row.agent_id} did not renew its lease for ${Math.round(Number(still.silent_ms) / 1000)} s.`;
      await this.#order(row.pipeline_id, { type: "LoseMember", at: Date.now(), stage: row.stage, attemptId: row.attempt_id, fence: row.fence, agentId: row.agent_id, reason });
    }
    for (const key of this.#firstSeen.keys()) if (!current.has(key)) this.#firstSeen.delete(key);
  }

  /** Fires deadlines that have passed: schedule-to-start and start-to-close. */
  async sweepDeadlines(): Promise<void> {
    const { rows } = await this.#options.pool.query<{ pipeline_id: PipelineId; name: string }>(
      "select s.pipeline_id, s.name from pipelines p join stages s on s.pipeline_id = p.id where p.status in ('PENDING', 'RUNNING') and s.timer_at <= now() limit $1", [SWEEP_LIMIT]);
    await Promise.all(rows.map((row) => this.#order(row.pipeline_id, { type: "FireTimer", at: Date.now(), stage: row.name })));
  }

  /** Stops attempts that gave no sign of life for their stage's limit. */
  async sweepSilence(): Promise<void> {
    const { rows } = await this.#options.pool.query<{ pipeline_id: PipelineId; stage: string; attempt_id: AttemptId; since_ms: string }>(
      `select a.pipeline_id, a.stage, a.attempt_id, extract(epoch from max(greatest(a.active_at, t.started_at))) * 1000 as since_ms
       from assignments a join attempts t on t.id = a.attempt_id
       where a.silence_limit_seconds is not null and a.status = 'RUNNING' and a.stop is null
       group by a.pipeline_id, a.stage, a.attempt_id
       having max(greatest(a.active_at, t.started_at)) < now() - min(a.silence_limit_seconds) * interval '1 second' limit $1`, [SWEEP_LIMIT]);
    await Promise.all(rows.map((row) => this.#order(row.pipeline_id, { type: "StopSilentAttempt", at: Date.now(), stage: row.stage, attemptId: row.attempt_id, silentSince: Math.round(Number(row.since_ms)) })));
  }

  async #order(pipelineId: PipelineId, command: Parameters<Engine["command"]>[1]): Promise<void> {
    await this.#options.engine.command(pipelineId, command).catch((error: unknown) => this.#options.log.debug({ err: error, pipelineId, command: command.type }, "what time brought was refused: it is no longer so"));
    failpoint("mid-sweep");
  }
}
