// Retention: the periodic run that deletes what is older than the settings allow. The caretaker's role sees to it that one process runs it.
//   T1. Only what belongs to pipelines that finished long enough ago goes. Roll-ups of metrics, checkpoints' rows and scores of evaluations stay.
//   T2. Deletes go in small transactions and a run has a bound; the next run goes on where this one stopped. No mark moves past what is not deleted.
//   T3. Checkpoints are ordered deleted, one by one; rows follow when the agents report.
//   T4. How far events were deleted is written down in the same transaction: a reader whose cursor lies before that must be told to start over.

import { sql } from "kysely";
import type { Logger } from "pino";
import type { Db } from "../../db/database.js";
import { metricsOfStages, listCheckpoints, readScores } from "../../db/telemetry/checkpoints.js";
import { pathsInUse } from "../../db/telemetry/cleanup-plan.js";
import { TrainyardError } from "../../domain/errors.js";
import type { CheckpointId, PipelineId, StageId } from "../../domain/ids.js";
import { checkpointsPastAge, DAY_MS } from "../../domain/retention.js";

export { cleanupPlan, type CleanupPlan } from "../../db/telemetry/cleanup-plan.js";

export interface RetentionDeps {
  readonly db: Db;
  readonly log: Pick<Logger, "info" | "warn">;
  /** Days after the end of a pipeline for which events, raw points, log chunks and samples stay; 0 keeps all. The settings TRAINYARD_*_RETENTION_DAYS. */
  readonly eventDays: number;
  readonly metricDays: number;
  readonly logDays: number;
  readonly sampleDays: number;
  /** Days after they were made for which checkpoints stay that are neither pinned, best, newest nor in use; 0 keeps all. */
  readonly checkpointDays: number;
  /** Orders a checkpoint's files deleted (ControlPlane.deleteCheckpoint). */
  readonly deleteCheckpoint: (id: CheckpointId) => Promise<void>;
  /** Rows deleted at most in one run, of each kind. Default 200,000. */
  readonly rowsPerRun?: number;
  /** Checkpoints ordered deleted at most in one run. Default 500. */
  readonly checkpointsPerRun?: number;
}

export interface RetentionOutcome {
  readonly points: number;
  readonly logChunks: number;
  readonly samples: number;
  readonly events: number;
  /** Ordered deleted. */
  readonly checkpoints: readonly CheckpointId[];
}

const ROWS_PER_RUN = 200_000;
const CHECKPOINTS_PER_RUN = 500;
/** Rows of one delete: some tens of milliseconds. */
const ROWS_AT_ONCE = 10_000;
const PIPELINES_AT_ONCE = 100;
const STAGES_AT_ONCE = 500;

/** One run. What fails for one checkpoint is logged and left to the next run. */
export async function runRetention(deps: RetentionDeps, now: Date): Promise<RetentionOutcome> {
  const budget = deps.rowsPerRun ?? ROWS_PER_RUN;
  const outcome = {
    points: deps.metricDays === 0 ? 0 : await deleteFinished(deps.db, "points", daysBefore(now, deps.metricDays), budget),
    logChunks: deps.logDays === 0 ? 0 : await deleteFinished(deps.db, "logs", daysBefore(now, deps.logDays), budget),
    samples: deps.sampleDays === 0 ? 0 : await deleteFinished(deps.db, "samples", daysBefore(now, deps.sampleDays), budget),
    events: deps.eventDays === 0 ? 0 : await deleteFinished(deps.db, "events", daysBefore(now, deps.eventDays), budget),
    checkpoints: deps.checkpointDays === 0 ? [] : await orderOldCheckpoints(deps, now),
  };
  const { points, logChunks, samples, events, checkpoints } = outcome;
  if (points + logChunks + samples + events + checkpoints.length > 0) {
    deps.log.info({ points, logChunks, samples, events, checkpoints: checkpoints.length }, "retention deleted what is older than the settings keep");
  }
  return outcome;
}

/** Position of the newest event that retention has deleted: a cursor over all pipelines that lies before it has missed something. 0: nothing was ever deleted. */
export async function eventsDeletedUpTo(db: Db): Promise<number> {
  return (await db.selectFrom("retention_marks").select("position").where("what", "=", "events").executeTakeFirst())?.position ?? 0;
}

type Kind = "points" | "logs" | "samples" | "events";

/** Deletes up to `budget` rows of pipelines that finished before `cutoff`, oldest end first. Returns how many. */
async function deleteFinished(db: Db, kind: Kind, cutoff: Date, budget: number): Promise<number> {
  let deleted = 0;
  for (;;) {
    const pipelines = await nextFinished(db, kind, cutoff);
    for (const { id } of pipelines) {
      for (;;) {
        if (deleted >= budget) return deleted; // T2
        const wanted = Math.min(ROWS_AT_ONCE, budget - deleted);
        const count = await deleteSome(db, kind, id, cutoff, wanted);
        deleted += count;
        if (count < wanted) break;
      }
      if (kind === "samples") await sql`delete from sample_sets s using stages st where st.id = s.stage_id and st.pipeline_id = ${id} and not exists (select 1 from samples where set_id = s.id)`.execute(db);
      await sql`update retention_marks m set finished_at = p.finished_at, pipeline_id = p.id from pipelines p where p.id = ${id} and p.finished_at is not null and m.what = ${kind}`.execute(db);
    }
    if (pipelines.length < PIPELINES_AT_ONCE) return deleted;
  }
}

/** Pipelines after the mark. One that was retried finishes again, later, and so comes again. */
async function nextFinished(db: Db, kind: Kind, cutoff: Date): Promise<{ id: PipelineId }[]> {
  const { rows } = await sql<{ id: PipelineId }>`
    select p.id from pipelines p join retention_marks m on m.what = ${kind}
     where p.finished_at < ${cutoff}::timestamptz and (p.finished_at, p.id) > (m.finished_at, m.pipeline_id) order by p.finished_at, p.id limit ${PIPELINES_AT_ONCE}::int`.execute(db);
  return rows;
}

/** Deletes up to `limit` rows of one pipeline in a transaction of its own, while it is still finished; fewer than that: nothing is left. */
async function deleteSome(db: Db, kind: Kind, pipelineId: PipelineId, cutoff: Date, limit: number): Promise<number> {
  const finished = sql`exists (select 1 from pipelines p where p.id = ${pipelineId} and p.finished_at < ${cutoff}::timestamptz)`;
  const statements = {
    points: sql<{ count: number }>`
      with gone as (delete from metric_points where ctid = any(array(
             select p.ctid from stages st join metric_series s on s.stage_id = st.id cross join lateral (select ctid from metric_points where series_id = s.id offset 0) p
              where st.pipeline_id = ${pipelineId} and ${finished} limit ${limit}::int)) returning 1)
      select count(*) as count from gone`,
    logs: sql<{ count: number }>`
      with gone as (delete from log_chunks where ctid = any(array(
             select c.ctid from stages st cross join lateral (select ctid from log_chunks where stage_id = st.id offset 0) c where st.pipeline_id = ${pipelineId} and ${finished} limit ${limit}::int)) returning 1)
      select count(*) as count from gone`,
    samples: sql<{ count: number }>`
      with gone as (delete from samples where ctid = any(array(
             select c.ctid from stages st join sample_sets s on s.stage_id = st.id cross join lateral (select ctid from samples where set_id = s.id offset 0) c
              where st.pipeline_id = ${pipelineId} and ${finished} limit ${limit}::int)) returning 1)
      select count(*) as count from gone`,
    events: sql<{ count: number }>`
      with going as (select position from events where pipeline_id = ${pipelineId} and ${finished} order by seq limit ${limit}::int),
           gone as (delete from events e using going g where e.position = g.position returning e.position),
           noted as (update retention_marks set position = greatest(position, (select max(position) from gone)) where what = 'events' and exists (select 1 from gone))
      select count(*) as count from gone`, // T4
  };
  return (await statements[kind].execute(db)).rows[0]!.count;
}

/** T3. Stages are gone through in the order of their ids until the run's bound is met: those whose old checkpoints all stay never hide the others. */
async function orderOldCheckpoints(deps: RetentionDeps, now: Date): Promise<CheckpointId[]> {
  const bound = deps.checkpointsPerRun ?? CHECKPOINTS_PER_RUN;
  const cutoff = daysBefore(now, deps.checkpointDays);
  const ordered: CheckpointId[] = [];
  const inUse = await pathsInUse(deps.db);
  let after = "";
  while (ordered.length < bound) {
    const stages = await stagesWithOld(deps.db, cutoff, after);
    for (const id of (await pastAge(deps, stages, inUse, now)).slice(0, bound - ordered.length)) {
      try {
        await deps.deleteCheckpoint(id);
        ordered.push(id);
      } catch (error) {
        if (!(error instanceof TrainyardError)) throw error;
        deps.log.warn({ err: error, checkpointId: id }, "an old checkpoint could not be ordered deleted; the next run tries again");
      }
    }
    if (stages.length < STAGES_AT_ONCE) break;
    after = stages[stages.length - 1]!;
  }
  return ordered;
}

/** Stages of finished pipelines that hold more than one checkpoint, one of them old. */
async function stagesWithOld(db: Db, cutoff: Date, after: string): Promise<StageId[]> {
  const { rows } = await sql<{ stage_id: StageId }>`
    select c.stage_id from checkpoints c join pipelines p on p.id = c.pipeline_id
     where c.deleted_at is null and c.stage_id > ${after} and p.finished_at is not null
     group by c.stage_id having count(*) > 1 and min(c.created_at) < ${cutoff}::timestamptz order by c.stage_id limit ${STAGES_AT_ONCE}::int`.execute(db);
  return rows.map(({ stage_id }) => stage_id);
}

async function pastAge(deps: RetentionDeps, stages: readonly StageId[], inUse: ReadonlySet<string>, now: Date): Promise<CheckpointId[]> {
  const checkpoints = (await listCheckpoints(deps.db, stages)).filter(({ deletedAt, deleteOrderedAt }) => deletedAt === null && deleteOrderedAt === null);
  const scores = await readScores(deps.db, checkpoints.map(({ id }) => id));
  const judged = checkpoints.map((checkpoint) => ({ ...checkpoint, metrics: { ...scores.get(checkpoint.id), ...checkpoint.metrics } }));
  return checkpointsPastAge(judged, { days: deps.checkpointDays, openStages: new Set(), pathsInUse: inUse, metrics: await metricsOfStages(deps.db, stages), now: now.getTime() });
}

function daysBefore(now: Date, days: number): Date {
  return new Date(now.getTime() - days * DAY_MS);
}
