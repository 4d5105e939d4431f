// The engine: the shell around the pure core. Commands and reports that arrive together are decided together and committed in one transaction, however many
// pipelines they touch; then their callers are answered and the orders leave.
//   E1. Every state change goes through decide, under the row lock of its pipeline, on the state whose seq the database confirmed.
//   E2. A command that is refused changes nothing and spoils nothing else in its batch.
//   E3. An agent's reports are applied in order, without gaps, once: its watermark moves in the same transaction.
//   E4. Nothing is answered, acknowledged or sent before the commit. An unknown outcome is looked up, never guessed.

import type pg from "pg";
import type { Logger } from "pino";
import type { IngestOptions } from "../db/telemetry/ingest.js";
import { createSeriesIds } from "../db/telemetry/series-ids.js";
import { UnavailableError } from "../domain/errors.js";
import type { AgentId, AttemptId, PipelineId, StageId } from "../domain/ids.js";
import type { PipelineCommand } from "../domain/pipeline/commands.js";
import { failpoint } from "../failpoints.js";
import type { Report, ReportsAccepted } from "../protocol/messages.js";
import { Batch, type BatchTransaction, type CommandItem, type EngineItem, type KnownAttempt } from "./batch.js";
import type { Committed } from "./control-plane.js";
import type { Ledger } from "./ledger.js";
import { Mailbox } from "./mailbox.js";
import { StateCache } from "./state-cache.js";

/** What a committed batch did, for whoever tells the world. */
export interface CommittedBatch {
  readonly ledger: Ledger;
  /** Position of the batch's last event; null without events. */
  readonly position: number | null;
  readonly telemetryStages: readonly StageId[];
  /** Pipelines in whose trainings something was found wrong. */
  readonly unhealthy: ReadonlySet<PipelineId>;
  readonly points: number;
  readonly logBytes: number;
  /** When the oldest report of the batch was made, by its agent's clock; null without reports. */
  readonly reportedAt: number | null;
  readonly watermarks: ReadonlyMap<AgentId, { readonly epoch: string; readonly watermark: number }>;
}

/** The part of a batch that places waiting stages; only the process that holds the dispatcher's role has one. */
export interface Scheduler {
  /** Decides and enters offers in this transaction. */
  placeWithin(transaction: BatchTransaction): Promise<void>;
  /** The transaction did not commit: forget what `placeWithin` assumed. */
  undo(): void;
}

/** The scheduler's role was taken over by another process in the meantime: the batch is decided again, without offers. */
export class RoleLostError extends Error {}

/** The answer to a commit was lost, and nobody could be asked. */
class OutcomeUnknownError extends UnavailableError {
  constructor(cause: unknown) {
    super("Postgres went away while this was being stored: it may have taken effect or not. Look before you order it again; a submission with a request id and an agent's reports can simply be repeated.", { cause });
  }
}

/** Reports and points in one transaction at most, so that state never waits long behind telemetry. */
const BATCH_WEIGHT = 20_000;
const RETRIES = 5;

export class Engine {
  readonly #pool: pg.Pool;
  readonly #log: Logger;
  readonly #mailbox: Mailbox<EngineItem>;
  readonly #onCommit: (batch: CommittedBatch) => void;
  readonly #telemetry: IngestOptions;
  readonly #cache = new StateCache();
  readonly #attempts = new Map<AttemptId, KnownAttempt>();
  scheduler: Scheduler | null = null;

  constructor(options: { pool: pg.Pool; log: Logger; logLimitBytes: number; sampleLimitBytes: number; onCommit: (batch: CommittedBatch) => void }) {
    this.#pool = options.pool;
    this.#log = options.log;
    this.#onCommit = options.onCommit;
    this.#telemetry = { logLimitBytes: options.logLimitBytes, sampleLimitBytes: options.sampleLimitBytes, series: createSeriesIds() };
    this.#mailbox = new Mailbox((batch) => this.#work(batch), { limit: BATCH_WEIGHT, weigh: weightOf });
  }

  /** Items waiting for a transaction. */
  get backlog(): number {
    return this.#mailbox.length;
  }

  command(pipelineId: PipelineId, command: PipelineCommand, options: Pick<CommandItem, "claim" | "audit"> = {}): Promise<Committed> {
    return new Promise((resolve, reject) => this.#push({ kind: "command", pipelineId, command, resolve, reject, ...options }));
  }

  /** Applies an agent's reports; resolves after the commit. */
  report(agentId: AgentId, epoch: string, reports: readonly Report[]): Promise<ReportsAccepted> {
    return new Promise((resolve, reject) => this.#push({ kind: "reports", agentId, epoch, reports, resolve, reject }));
  }

  /** Runs a scheduling pass, with these pipelines read anew. */
  look(pipelineIds: readonly PipelineId[] = []): Promise<void> {
    return new Promise((resolve, reject) => this.#push({ kind: "look", pipelineIds, resolve, reject }));
  }

  /** Takes no more, finishes what was taken. */
  close(): Promise<void> {
    return this.#mailbox.close();
  }

  #push(item: EngineItem): void {
    if (!this.#mailbox.push(item)) item.reject(new UnavailableError("The control plane is stopping. Try again in a moment."));
  }

  async #work(items: readonly EngineItem[]): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      const batch = new Batch(items, this.#cache, this.#attempts, this.#telemetry);
      let committed: CommittedBatch;
      try {
        committed = await this.#transact(batch);
      } catch (error) {
        this.#cache.forget(batch.touched);
        this.scheduler?.undo();
        if (attempt < RETRIES && isTransient(error)) {
          this.#log.warn({ err: error, attempt }, "a batch did not commit; deciding it again");
          await new Promise((resolve) => setTimeout(resolve, Math.min(2_000, 50 * 4 ** (attempt - 1))));
          continue;
        }
        this.#log.error({ err: error, items: items.length }, "a batch did not commit");
        if (items.length > 1 && !isTransient(error) && !(error instanceof OutcomeUnknownError)) {
          // One item may be what the database refuses: alone, it fails alone.
          for (const item of items) await this.#work([item]);
          return;
        }
        const answer = isTransient(error) ? new UnavailableError("Postgres does not answer. Nothing was changed; try again.", { cause: error }) : error;
        for (const item of items) item.reject(answer);
        return;
      }
      batch.settle(committed.position);
      try {
        this.#onCommit(committed);
      } catch (error) {
        // The batch stands. Whoever was not told finds out within a second: wake-ups are repeated, orders are published again.
        this.#log.error({ err: error }, "telling of a committed batch failed");
      }
      return;
    }
  }

  async #transact(batch: Batch): Promise<CommittedBatch> {
    const client = await this.#pool.connect();
    let broken: Error | undefined;
    try {
      await client.query("begin");
      await batch.open(client);
      await batch.decideAll();
      if (this.scheduler !== null) await this.scheduler.placeWithin(batch);
      const { position, stageIds, points, logBytes } = await batch.write();
      if (batch.ledger.events.length > 0) failpoint("before-commit");
      try {
        await client.query("commit");
      } catch (error) {
        broken = error as Error;
        if (!(await this.#outcomeOf(batch, position))) throw error;
      }
      if (batch.ledger.events.length > 0) failpoint("after-commit-before-publish");
      return { ledger: batch.ledger, position, telemetryStages: stageIds, unhealthy: batch.unhealthy, points, logBytes, reportedAt: batch.reportedAt, watermarks: batch.watermarks };
    } catch (error) {
      if (broken === undefined) await client.query("rollback").catch((failure: unknown) => { broken = failure as Error; });
      throw error;
    } finally {
      client.release(broken);
    }
  }

  /** E4. Asks until Postgres answers; throws OutcomeUnknownError when it does not for long. */
  async #outcomeOf(batch: Batch, position: number | null): Promise<boolean> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#wasCommitted(batch, position);
      } catch (error) {
        if (attempt === RETRIES) throw new OutcomeUnknownError(error);
        await new Promise((resolve) => setTimeout(resolve, Math.min(2_000, 50 * 4 ** (attempt - 1))));
      }
    }
  }

  /** The newest event of the batch tells; a batch without events is told by its watermarks. The row lock is waited for first: the commit may still be on its way. */
  async #wasCommitted(batch: Batch, position: number | null): Promise<boolean> {
    const last = batch.ledger.events.at(-1);
    if (last !== undefined && position !== null) {
      await this.#pool.query("select 1 from event_counter for share");
      const { rowCount } = await this.#pool.query("select 1 from events where position = $1 and pipeline_id = $2 and seq = $3 and type = $4 and at = $5", [position, last.pipelineId, last.seq, last.event.type, new Date(last.event.at)]);
      return rowCount === 1;
    }
    for (const [agentId, { watermark }] of batch.watermarks) {
      await this.#pool.query("select 1 from agents where id = $1 for share", [agentId]);
      const { rowCount } = await this.#pool.query("select 1 from agents where id = $1 and watermark >= $2", [agentId, watermark]);
      return rowCount === 1;
    }
    return true;
  }
}

function weightOf(item: EngineItem): number {
  if (item.kind === "command") return item.command.type === "SubmitPipeline" ? item.command.spec.stages.length : 1;
  if (item.kind === "look") return 1;
  return item.reports.reduce((sum, report) => sum + (report.type === "metrics" ? report.points.length : report.type === "log" ? 20 : 2), 1);
}

/** Connection trouble, conflicts with another writer and a lost role: the same batch may succeed when decided again. */
function isTransient(error: unknown): boolean {
  if (error instanceof RoleLostError) return true;
  const code = (error as { code?: unknown } | null)?.code;
  if (typeof code === "string") return /^(08|40|57|53|25P03)/.test(code) || code === "23505" || /^(ECONN|EPIPE|ETIMEDOUT|ENOTFOUND)/.test(code);
  return error instanceof Error && /Connection terminated|timeout exceeded when trying to connect|Client has encountered a connection error/.test(error.message);
}
