// Reads checkpoints, and writes what users and retention decide about them. Agents' reports are written by checkpoint-writer.ts.
//   C1. The best of a stage is judged by the metric and mode of a cleanup stage of the pipeline that names the stage, else by defaultMetric (domain/retention.ts).
//       Deleted ones and NaN are never best.
//   C2. Metrics are the values of its step; scores of evaluations of the checkpoint count beside them, under their own names, where the step has no such metric.

import { sql } from "kysely";
import { ConflictError, NotFoundError } from "../../domain/errors.js";
import type { AgentId, AttemptId, CheckpointId, PipelineId, StageId } from "../../domain/ids.js";
import { cleanupParamsSchema } from "../../domain/pipeline/spec.js";
import type { Json } from "../../domain/pipeline/state.js";
import { bestFirst, defaultMetric, type KeptCheckpoint, type MetricMode } from "../../domain/retention.js";
import type { Db } from "../database.js";

export interface CheckpointRow extends KeptCheckpoint {
  readonly id: CheckpointId;
  readonly stageId: StageId;
  readonly pipelineId: PipelineId;
  readonly attemptId: AttemptId;
  readonly agentId: AgentId;
  readonly sizeBytes: number | null;
  /** Values at its step: number, "NaN", "Infinity" or "-Infinity". */
  readonly metrics: Readonly<Record<string, Json>>;
  readonly isBest: boolean;
  readonly deleteOrderedAt: Date | null;
  /** Why the agent could not delete it, the last time it was asked. */
  readonly deleteError: string | null;
  readonly deletedAt: Date | null;
}

/** Checkpoints of these stages, by stage, oldest first; deleted ones too. */
export async function listCheckpoints(db: Db, stageIds: readonly StageId[]): Promise<CheckpointRow[]> {
  if (stageIds.length === 0) return [];
  const { rows } = await sql<Omit<CheckpointRow, "isBest" | "createdAt"> & { createdAt: Date; scores: Record<string, Json> | null }>`
    select c.id, c.stage_id as "stageId", c.pipeline_id as "pipelineId", c.attempt_id as "attemptId", c.attempt, c.agent_id as "agentId", c.step, c.path, c.size_bytes as "sizeBytes",
           c.metrics, c.pinned, c.delete_ordered_at as "deleteOrderedAt", c.delete_error as "deleteError", c.deleted_at as "deletedAt", c.created_at as "createdAt",
           (select jsonb_object_agg(s.key, s.value order by e.created_at) from evaluations e cross join lateral jsonb_each(e.scores) s where e.checkpoint_id = c.id) as scores
      from checkpoints c where c.stage_id = any(${stageIds}::text[]) order by c.stage_id, c.attempt, c.step, c.created_at, c.id`.execute(db);
  const metrics = await metricsOfStages(db, [...new Set(rows.map(({ stageId }) => stageId))]);
  const found = rows.map(({ scores, ...row }) => ({ ...row, createdAt: row.createdAt.getTime(), judged: { ...scores, ...row.metrics } }));
  const best = new Set<CheckpointId>();
  for (const [stageId, some] of groupByStage(found.filter(({ deletedAt }) => deletedAt === null))) {
    const judged = some.map((checkpoint) => ({ ...checkpoint, metrics: checkpoint.judged }));
    const chosen = metrics.get(stageId) ?? defaultMetric(judged);
    const first = chosen === null ? undefined : bestFirst(judged, chosen.metric, chosen.mode)[0];
    if (first !== undefined) best.add(first.id);
  }
  return found.map(({ judged: _, ...row }) => ({ ...row, isBest: best.has(row.id) }));
}

/** Checkpoints by their ids; unknown ones are missing. */
export async function readCheckpoints(db: Db, ids: readonly CheckpointId[]): Promise<CheckpointRow[]> {
  if (ids.length === 0) return [];
  const stages = await db.selectFrom("checkpoints").select("stage_id").distinct().where("id", "in", ids).execute();
  const wanted = new Set(ids);
  return (await listCheckpoints(db, stages.map(({ stage_id }) => stage_id))).filter(({ id }) => wanted.has(id));
}

/** What C2 calls the metrics of a checkpoint: those of its step and the scores of its evaluations, the newest of each name. */
export async function readScores(db: Db, ids: readonly CheckpointId[]): Promise<Map<CheckpointId, Record<string, Json>>> {
  if (ids.length === 0) return new Map();
  const rows = await db.selectFrom("evaluations").select(["checkpoint_id", "scores"]).where("checkpoint_id", "in", ids).orderBy("created_at").execute();
  const scores = new Map<CheckpointId, Record<string, Json>>();
  for (const row of rows) scores.set(row.checkpoint_id!, { ...scores.get(row.checkpoint_id!), ...row.scores });
  return scores;
}

/** C1: metric and mode that a cleanup stage names for a stage. With several cleanup stages, the first of the specification that has a metric. */
export async function metricsOfStages(db: Db, stageIds: readonly StageId[]): Promise<Map<StageId, { metric: string; mode: MetricMode }>> {
  if (stageIds.length === 0) return new Map();
  const { rows } = await sql<{ id: StageId; name: string; params: unknown }>`
    with wanted as (select id, name, pipeline_id from stages where id = any(${stageIds}::text[])),
         cleanups as materialized (
           select c.pipeline_id, c.position, (select p.spec -> 'stages' -> c.position -> 'params' from pipelines p where p.id = c.pipeline_id) as params
             from stages c where c.kind = 'cleanup' and c.pipeline_id in (select pipeline_id from wanted))
    select w.id, w.name, c.params from wanted w join cleanups c on c.pipeline_id = w.pipeline_id order by w.id, c.position`.execute(db);
  const metrics = new Map<StageId, { metric: string; mode: MetricMode }>();
  for (const row of rows) {
    const params = cleanupParamsSchema.safeParse(row.params).data;
    if (params?.metric !== undefined && params.stages.includes(row.name) && !metrics.has(row.id)) metrics.set(row.id, { metric: params.metric, mode: params.mode });
  }
  return metrics;
}

/** Pins a checkpoint, or takes the pin off: a pinned one is never deleted. Throws NotFoundError, or ConflictError when it is deleted or about to be. */
export async function pinCheckpoint(db: Db, id: CheckpointId, pinned: boolean): Promise<void> {
  const changed = await db.updateTable("checkpoints").set({ pinned }).where("id", "=", id)
    .where((eb) => eb.or([eb.lit(!pinned), eb.and([eb("delete_ordered_at", "is", null), eb("deleted_at", "is", null)])])).executeTakeFirst();
  if (changed.numUpdatedRows > 0n) return;
  const row = await db.selectFrom("checkpoints").select("deleted_at").where("id", "=", id).executeTakeFirst();
  if (row === undefined) throw new NotFoundError("checkpoint", id);
  throw new ConflictError("CHECKPOINT_GONE", `Checkpoint ${id} ${row.deleted_at === null ? "is being deleted by its agent" : "was deleted"}: it cannot be pinned any more. Choose another one of the stage.`);
}

/** Notes that a deletion is to be ordered from the agent. Gives what the order needs. Throws NotFoundError, or ConflictError when it is pinned or deleted; a second call answers like the first. */
export async function markOrdered(db: Db, id: CheckpointId, now: Date): Promise<{ agentId: AgentId; attemptId: AttemptId; fence: number; path: string }> {
  const { rows } = await sql<{ agentId: AgentId; attemptId: AttemptId; fence: number; path: string }>`
    update checkpoints set delete_ordered_at = coalesce(delete_ordered_at, ${now}::timestamptz), delete_error = null where id = ${id} and not pinned and deleted_at is null
    returning agent_id as "agentId", attempt_id as "attemptId", attempt as fence, path`.execute(db);
  if (rows[0] !== undefined) return rows[0];
  const row = await db.selectFrom("checkpoints").select(["pinned", "deleted_at"]).where("id", "=", id).executeTakeFirst();
  if (row === undefined) throw new NotFoundError("checkpoint", id);
  throw row.deleted_at === null
    ? new ConflictError("CHECKPOINT_PINNED", `Checkpoint ${id} is pinned and stays. Take the pin off first.`)
    : new ConflictError("CHECKPOINT_GONE", `Checkpoint ${id} was deleted already; nothing is left to do.`);
}

function groupByStage<C extends { stageId: StageId }>(checkpoints: readonly C[]): Map<StageId, C[]> {
  const groups = new Map<StageId, C[]>();
  for (const checkpoint of checkpoints) {
    const group = groups.get(checkpoint.stageId);
    if (group === undefined) groups.set(checkpoint.stageId, [checkpoint]);
    else group.push(checkpoint);
  }
  return groups;
}
