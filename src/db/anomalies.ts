// What was found wrong with trainings, and what is remembered of each run between two looks at it.
//   N1. A finding is stored once: (stage, key) is unique, and storing it again changes nothing.
//   N2. Whoever writes holds the row lock of the pipeline. So positions of one pipeline rise in the order of commits, and a reader who is past one has missed none before it.

import { sql } from "kysely";
import type pg from "pg";
import { newId, type AnomalyId, type PipelineId, type StageId } from "../domain/ids.js";
import type { Anomaly, AnomalyKind, AnomalySeverity } from "../domain/training/health/anomaly.js";
import type { ActionDecision, AnomalyAction } from "../domain/training/health/decide-action.js";
import { restoreHealthState, type HealthState } from "../domain/training/health/health-state.js";
import { shortText, type Notice } from "../domain/webhooks/notice.js";
import type { Db } from "./database.js";
import { enterNotices } from "./webhooks.js";

export interface AnomalyRow {
  readonly id: AnomalyId;
  readonly position: number;
  readonly stageId: StageId;
  readonly pipelineId: PipelineId;
  readonly attempt: number;
  readonly kind: AnomalyKind;
  readonly severity: AnomalySeverity;
  readonly step: number | null;
  readonly metric: string | null;
  readonly value: number | null;
  readonly threshold: number | null;
  readonly message: string;
  readonly suggestion: string;
  readonly action: AnomalyAction;
  readonly would: AnomalyAction | null;
  readonly reason: string;
  readonly createdAt: Date;
}

/** A finding with what was done about it. */
export interface JudgedAnomaly extends ActionDecision { readonly stageId: StageId; readonly pipelineId: PipelineId; readonly attempt: number; readonly anomaly: Anomaly }

/** N1. Webhooks are to tell of them. */
export async function insertAnomalies(client: pg.ClientBase, judged: readonly JudgedAnomaly[], now: Date): Promise<void> {
  await client.query({
    name: "anomalies-insert",
    text: `insert into anomalies (id, stage_id, pipeline_id, attempt, key, kind, severity, step, metric, value, threshold, message, suggestion, action, would, reason, created_at)
           select *, $17::timestamptz from unnest($1::text[], $2::text[], $3::text[], $4::int[], $5::text[], $6::text[], $7::text[], $8::bigint[], $9::text[], $10::double precision[], $11::double precision[],
             $12::text[], $13::text[], $14::text[], $15::text[], $16::text[])
           on conflict (stage_id, key) do nothing`,
    values: [
      judged.map(() => newId("ano", now.getTime())), judged.map((one) => one.stageId), judged.map((one) => one.pipelineId), judged.map((one) => one.attempt), ...(["key", "kind", "severity", "step", "metric", "value", "threshold", "message", "suggestion"] as const).map((field) => judged.map(({ anomaly }) => anomaly[field])),
      judged.map((one) => one.action), judged.map((one) => one.would), judged.map((one) => one.reason), now,
    ],
  });
  const { rows } = await client.query<{ stage_id: StageId }>({ name: "simulated-jobs", text: "select stage_id from training_jobs where simulated and stage_id = any($1::text[])", values: [judged.map((one) => one.stageId)] });
  const simulated = new Set(rows.map((row) => row.stage_id));
  await enterNotices(client, judged.map(({ stageId, pipelineId, attempt, anomaly, action }): Notice => ({
    key: `${stageId}:${anomaly.key}`, event: "anomaly", at: now.getTime(), pipelineId, stageId, title: `shows an anomaly: ${anomaly.kind}${action === "NOTIFIED" ? "" : ` (${action === "STOPPED" ? "stopped" : "taken back to a checkpoint"})`}`,
    text: shortText(`${anomaly.message} ${anomaly.suggestion}`), tone: "BAD", simulated: simulated.has(stageId), details: { kind: anomaly.kind, severity: anomaly.severity, step: anomaly.step, metric: anomaly.metric, attempt, action },
  })), now);
}

/** Of these findings, the keys that are stored already. */
export async function knownAnomalies(client: pg.ClientBase, stageId: StageId, keys: readonly string[]): Promise<ReadonlySet<string>> {
  const { rows } = await client.query<{ key: string }>("select key from anomalies where stage_id = $1 and key = any($2::text[])", [stageId, keys]);
  return new Set(rows.map((row) => row.key));
}

// ── what is remembered ──────────────────────────────────────────────────────────────────────────────

export interface StoredHealth {
  readonly state: HealthState;
  /** Steps to the end as far as they are known. */
  readonly totalSteps: number | null;
}

/** The states of runs; new ones where there are none. N2. */
export async function readHealth(client: pg.ClientBase, stageIds: readonly StageId[]): Promise<Map<StageId, StoredHealth>> {
  const { rows } = await client.query<{ id: StageId; state: unknown; total_steps: number | null }>({
    name: "health-read",
    text: `select k.id, h.state, t.total_steps from unnest($1::text[]) k (id) left join training_health h on h.stage_id = k.id left join stage_telemetry t on t.stage_id = k.id`,
    values: [stageIds],
  });
  return new Map(rows.map((row) => [row.id, { state: restoreHealthState(row.state), totalSteps: row.total_steps }]));
}

export async function saveHealth(client: pg.ClientBase, states: ReadonlyMap<StageId, HealthState>): Promise<void> {
  await client.query({
    name: "health-save",
    text: "insert into training_health (stage_id, state) select * from unnest($1::text[], $2::jsonb[]) on conflict (stage_id) do update set state = excluded.state",
    values: [[...states.keys()], [...states.values()].map((state) => JSON.stringify(state))],
  });
}

/** Step of the newest checkpoint below `before` that is whole, there, and not behind a rollback; null: none. `reported`: steps of the newest attempt that are not stored yet. */
export async function checkpointBefore(client: pg.ClientBase, stageId: StageId, before: number, rollbacks: readonly { readonly attempt: number; readonly toStep: number }[], reported: readonly number[]): Promise<number | null> {
  const { rows } = await client.query<{ attempt: number; step: number }>(
    "select attempt, step from checkpoints where stage_id = $1 and step < $2 and deleted_at is null and delete_ordered_at is null order by step desc", [stageId, before]);
  const stored = rows.filter(({ attempt, step }) => rollbacks.every((rollback) => attempt > rollback.attempt || step <= rollback.toStep)).map(({ step }) => step);
  const steps = [...stored, ...reported.filter((step) => step < before)];
  return steps.length === 0 ? null : Math.max(...steps);
}

// ── reading ─────────────────────────────────────────────────────────────────────────────────────────

function selectAnomalies(db: Db) {
  return db.selectFrom("anomalies").select([
    "id", "position", "stage_id as stageId", "pipeline_id as pipelineId", "attempt", "kind", "severity", "step", "metric", "value", "threshold", "message", "suggestion", "action", "would", "reason", "created_at as createdAt",
  ]);
}

export function readAnomalies(db: Db, ids: readonly AnomalyId[]): Promise<AnomalyRow[]> {
  return selectAnomalies(db).where(sql<boolean>`id = any(${ids}::text[])`).execute();
}

/** Anomalies of one stage that are listed. */
const MOST_LISTED = 1_000;

/** Of these stages, oldest first; of each at most the newest `limit`. */
export async function listAnomalies(db: Db, stageIds: readonly StageId[], limit = MOST_LISTED): Promise<AnomalyRow[]> {
  return selectAnomalies(db).where("position", "in", sql<number>`(select n.position from unnest(${stageIds}::text[]) k (id)
    cross join lateral (select a.position from anomalies a where a.stage_id = k.id order by a.position desc limit ${limit}::int) n)`).orderBy("position").execute();
}

/** Of a pipeline after a position, in order. */
export function readAnomaliesAfter(db: Db, pipelineId: PipelineId, position: number, limit: number): Promise<AnomalyRow[]> {
  return selectAnomalies(db).where("pipeline_id", "=", pipelineId).where("position", ">", position).orderBy("position").limit(limit).execute();
}
