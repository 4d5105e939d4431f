// Registers checkpoints, gives them the metrics of their step, and notes what became of delete orders.
//   W1. A checkpoint reported again is the same checkpoint: unique on (attempt, step, path).
//   W2. Its metrics are all values of its attempt at its step, whether they came before it, with it or after it.
//   W3. Only the agent that holds a checkpoint can say that it is gone, by an order of ours or because its program deleted it; rows follow files.

import type pg from "pg";
import { newId, type AgentId, type AttemptId, type CheckpointId, type PipelineId, type StageId } from "../../domain/ids.js";
import type { ReportOf } from "../../protocol/messages.js";
import { storableText } from "./gathered-points.js";
import { int8Array } from "./pg-binary.js";

export interface CheckpointReport {
  readonly stageId: StageId;
  readonly pipelineId: PipelineId;
  readonly attemptId: AttemptId;
  readonly attempt: number;
  readonly agentId: AgentId;
  readonly report: ReportOf<"checkpoint">;
}

/** W1. */
export async function registerCheckpoints(client: pg.PoolClient, reports: readonly CheckpointReport[], now: Date): Promise<void> {
  const unique = new Map<string, CheckpointReport>();
  for (const item of reports) unique.set(JSON.stringify([item.attemptId, item.report.step, item.report.path]), item);
  const items = [...unique.values()];
  await client.query({
    name: "telemetry-checkpoints",
    text: `insert into checkpoints (id, stage_id, pipeline_id, attempt_id, attempt, agent_id, step, path, size_bytes, metrics, created_at)
           select *, '{}'::jsonb, $10::timestamptz from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::int[], $6::text[], $7::bigint[], $8::text[], $9::bigint[])
           on conflict (attempt_id, step, path) do update set size_bytes = excluded.size_bytes where excluded.size_bytes is distinct from checkpoints.size_bytes and excluded.size_bytes is not null`,
    values: [
      items.map(() => newId("ckp", now.getTime())), items.map((i) => i.stageId), items.map((i) => i.pipelineId), items.map((i) => i.attemptId), items.map((i) => i.attempt), items.map((i) => i.agentId),
      int8Array(items.map((i) => i.report.step)), items.map((i) => storableText(i.report.path)), int8Array(items.map((i) => i.report.sizeBytes)), now,
    ],
  });
}

/** W3, for what the reports say their programs have deleted themselves. */
export async function recordGone(client: pg.PoolClient, reports: readonly CheckpointReport[], now: Date): Promise<void> {
  const gone = reports.flatMap(({ attemptId, report }) => (report.gone ?? []).map((path) => ({ attemptId, path })));
  if (gone.length === 0) return;
  await client.query({
    name: "telemetry-checkpoints-gone",
    text: "update checkpoints c set deleted_at = $3::timestamptz from unnest($1::text[], $2::text[]) k (attempt_id, path) where c.attempt_id = k.attempt_id and c.path = k.path and c.deleted_at is null",
    values: [gone.map(({ attemptId }) => attemptId), gone.map(({ path }) => storableText(path)), now],
  });
}

/** Steps of one attempt whose values, or checkpoints, are new. Both ends included. */
export interface StepRange { readonly stageId: StageId; readonly attempt: number; readonly fromStep: number; readonly toStep: number }

/** W2, for the checkpoints in these ranges. NaN and infinities become strings: JSON has no others. */
export async function refreshCheckpointMetrics(client: pg.PoolClient, ranges: readonly StepRange[]): Promise<void> {
  await client.query({
    name: "telemetry-checkpoint-metrics",
    text: `update checkpoints c set metrics = n.metrics
             from (select c.id, (select jsonb_object_agg(v.name, v.value) from (
                            select s.name, (select p.value from metric_points p where p.series_id = s.id and p.step = c.step) as value
                              from metric_series s where s.stage_id = c.stage_id and s.attempt = c.attempt offset 0) v where v.value is not null) as metrics
                     from (select distinct c.id, c.stage_id, c.attempt, c.step from unnest($1::text[], $2::int[], $3::bigint[], $4::bigint[]) k (stage_id, attempt, from_step, to_step)
                             join checkpoints c on c.stage_id = k.stage_id and c.step between k.from_step and k.to_step and c.attempt = k.attempt offset 0) c) n
            where c.id = n.id and n.metrics is not null and c.metrics <> n.metrics`,
    values: [ranges.map((r) => r.stageId), ranges.map((r) => r.attempt), int8Array(ranges.map((r) => r.fromStep)), int8Array(ranges.map((r) => r.toStep))],
  });
}

/** An agent's answer to a delete order. */
export interface Deletion { readonly agentId: AgentId; readonly checkpointId: CheckpointId; readonly error: string | null }

/** W3. After an error the order counts as answered: retention gives it again. Returns the stages whose checkpoints changed. */
export async function recordDeletions(client: pg.PoolClient, deletions: readonly Deletion[], now: Date): Promise<StageId[]> {
  const newest = [...new Map(deletions.map((deletion) => [deletion.checkpointId, deletion])).values()];
  const { rows } = await client.query<{ stage_id: StageId }>({
    name: "telemetry-deletions",
    text: `update checkpoints c set deleted_at = case when k.error is null then $4::timestamptz end, delete_error = k.error, delete_ordered_at = case when k.error is null then c.delete_ordered_at end
             from unnest($1::text[], $2::text[], $3::text[]) k (id, agent_id, error)
            where c.id = k.id and c.agent_id = k.agent_id and c.deleted_at is null returning c.stage_id`,
    values: [newest.map((d) => d.checkpointId), newest.map((d) => d.agentId), newest.map((d) => (d.error === null ? null : storableText(d.error))), now],
  });
  return rows.map((row) => row.stage_id);
}
