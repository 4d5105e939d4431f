// A database with pipelines, stages and attempts in it, and short ways to report telemetry for them.
import type pg from "pg";
import { openDatabase, type OpenedDatabase } from "../../../src/db/database.js";
import { ingestTelemetry, type Ingested, type TelemetryItem, type TelemetryReport } from "../../../src/db/telemetry/ingest.js";
import { createSeriesIds, type SeriesIds } from "../../../src/db/telemetry/series-ids.js";
import { newId, type AgentId, type AttemptId, type PipelineId, type StageId } from "../../../src/domain/ids.js";
import type { WirePoint } from "../../../src/protocol/messages.js";
import { createTestDatabase } from "../../support/postgres.js";

export interface StageOf { readonly pipelineId: PipelineId; readonly stageId: StageId; readonly name: string }
export interface AttemptOf extends StageOf { readonly attemptId: AttemptId; readonly attempt: number; readonly agentId: AgentId }
type Body<T> = T extends unknown ? Omit<T, "n" | "attemptId" | "fence" | "at"> & { at?: number } : never;

export interface TelemetryWorld {
  readonly opened: OpenedDatabase;
  readonly series: SeriesIds;
  /** A pipeline with these stages; kind `command` unless said. */
  pipeline(stages: readonly { name: string; kind?: string; params?: unknown; status?: string }[], facts?: { finishedAt?: Date }): Promise<StageOf[]>;
  /** The next attempt of a stage. */
  attempt(stage: StageOf, facts?: { status?: string; agentId?: AgentId; finishedAt?: Date; error?: unknown }): Promise<AttemptOf>;
  /** One committed ingest. */
  report(items: readonly TelemetryItem[], options?: { now?: Date; logLimitBytes?: number; sampleLimitBytes?: number; client?: pg.PoolClient; series?: SeriesIds }): Promise<Ingested>;
  /** Work in one transaction; rolls back when it throws. */
  transaction<T>(work: (client: pg.PoolClient) => Promise<T>): Promise<T>;
  close(): Promise<void>;
}

let reports = 0;

/** A report of an attempt. */
export function item(attempt: AttemptOf, body: Body<TelemetryReport>): TelemetryItem {
  const { pipelineId, stageId, attemptId, agentId } = attempt;
  const report = { n: ++reports, attemptId, fence: attempt.attempt, at: 1_764_000_000_000, ...body } as TelemetryReport;
  return { pipelineId, stageId, attemptId, attempt: attempt.attempt, agentId, report };
}

/** A metrics report from values by name: `{ loss: [[1, 0.5], [2, NaN]] }`. Times are the step in seconds. */
export function metrics(attempt: AttemptOf, values: Readonly<Record<string, readonly (readonly [step: number, value: number])[]>>): TelemetryItem {
  const names = Object.keys(values);
  const points = names.flatMap((name, index) => values[name]!.map(([step, value]): WirePoint => [index, step, 1_764_000_000_000 + step * 1000, Number.isFinite(value) ? value : (String(value) as "NaN")]));
  return item(attempt, { type: "metrics", names, points });
}

export async function openTelemetryWorld(): Promise<TelemetryWorld> {
  const database = await createTestDatabase();
  const opened = openDatabase({ url: database.url, size: 6, log: { warn: () => undefined } });
  const series = createSeriesIds();
  const attempts = new Map<StageId, number>();
  const world: TelemetryWorld = {
    opened,
    series,
    async pipeline(stages, facts = {}) {
      const pipelineId = newId("pip");
      const spec = { name: "p", labels: {}, stages: stages.map(({ name, kind = "command", params = {} }) => ({ name, kind, params })) };
      await opened.pool.query("insert into pipelines (id, name, status, labels, spec, seq, stage_count, created_by, created_at, finished_at) values ($1, 'p', $2, '{}', $3, 0, $4, 'test', now(), $5)", [pipelineId, facts.finishedAt ? "COMPLETED" : "RUNNING", JSON.stringify(spec), stages.length, facts.finishedAt ?? null]);
      const made = stages.map(({ name }) => ({ pipelineId, stageId: newId("stg"), name }));
      for (const [position, stage] of made.entries()) {
        const { kind = "command", status = "RUNNING" } = stages[position]!;
        await opened.pool.query("insert into stages (id, pipeline_id, position, name, kind, queue, priority, status, phase) values ($1, $2, $3, $4, $5, 'default', 0, $6, '{}')", [stage.stageId, pipelineId, position, stage.name, kind, status]);
      }
      return made;
    },
    async attempt(stage, facts = {}) {
      const attempt = (attempts.get(stage.stageId) ?? 0) + 1;
      attempts.set(stage.stageId, attempt);
      const made = { ...stage, attemptId: newId("att"), attempt, agentId: facts.agentId ?? newId("agt") };
      await opened.pool.query("insert into attempts (id, stage_id, pipeline_id, number, status, agent_id, members, offered_at, finished_at, error) values ($1, $2, $3, $4, $5, $6, '[]', now(), $7, $8)",
        [made.attemptId, made.stageId, made.pipelineId, attempt, facts.status ?? "COMPLETED", made.agentId, facts.finishedAt ?? null, facts.error === undefined ? null : JSON.stringify(facts.error)]);
      return made;
    },
    report: (items, options = {}) => world.transaction((client) => ingestTelemetry(client, items, options.now ?? new Date(), { logLimitBytes: options.logLimitBytes ?? 1e9, sampleLimitBytes: options.sampleLimitBytes ?? 1e9, series: options.series ?? series })),
    async transaction(work) {
      const client = await opened.pool.connect();
      try {
        await client.query("begin");
        const result = await work(client);
        await client.query("commit");
        return result;
      } catch (error) {
        await client.query("rollback");
        throw error;
      } finally {
        client.release();
      }
    },
    async close() {
      await opened.close();
      await database.drop();
    },
  };
  return world;
}
