// Training jobs as rows: train stages seen as the experiments they are. They are written with their pipeline (pipeline-store.ts); here they are read.

import { sql } from "kysely";
import type { JobId, PipelineId, StageId } from "../domain/ids.js";
import type { StageStatus } from "../domain/pipeline/state.js";
import type { Algorithm } from "../domain/training/algorithms.js";
import type { Db } from "./database.js";

export interface TrainingJobRow {
  readonly id: JobId;
  readonly stageId: StageId;
  readonly pipelineId: PipelineId;
  readonly algorithm: Algorithm;
  /** As the specification names it. */
  readonly model: string;
  readonly simulated: boolean;
  readonly createdAt: Date;
}

const ID = sql<JobId>`'job_' || substr(training_jobs.stage_id, 5)`.as("id");
const COLUMNS = ["training_jobs.stage_id as stageId", "training_jobs.pipeline_id as pipelineId", "training_jobs.algorithm", "training_jobs.model", "training_jobs.simulated", "training_jobs.created_at as createdAt"] as const;

/** Jobs of these stages; stages that are no training are missing. */
export function readJobs(db: Db, stageIds: readonly StageId[]): Promise<TrainingJobRow[]> {
  return db.selectFrom("training_jobs").select(COLUMNS).select(ID).where(sql<boolean>`training_jobs.stage_id = any(${stageIds}::text[])`).execute();
}

/** Of these pipelines, those with a stage that runs a stand-in, or evaluated what one left. */
export async function readSimulated(db: Db, pipelineIds: readonly PipelineId[]): Promise<ReadonlySet<PipelineId>> {
  const { rows } = await sql<{ id: PipelineId }>`
    select p.id from pipelines p where p.id = any(${pipelineIds}::text[]) and (
         exists (select 1 from training_jobs j where j.pipeline_id = p.id and j.simulated)
      or exists (select 1 from stages s join evaluations e on e.stage_id = s.id where s.pipeline_id = p.id and e.simulated)
      or (exists (select 1 from stages s where s.pipeline_id = p.id and s.kind in ('evaluate', 'merge')) and jsonb_path_exists(p.spec, '$.stages[*].params.simulate ? (@ == true)')))`.execute(db);
  return new Set(rows.map((row) => row.id));
}

export type ListedJob = TrainingJobRow & { readonly createdMicros: string };
/** Age in microseconds since 1970, then stage. */
export type JobPlace = readonly [micros: string, stageId: string];

export interface JobsQuery {
  readonly limit: number;
  /** Newest first; otherwise oldest first. */
  readonly forward: boolean;
  readonly after: JobPlace | null;
  readonly before: JobPlace | null;
  /** Null: any. */
  readonly status: readonly StageStatus[] | null;
  readonly algorithm: Algorithm | null;
  readonly pipelineId: PipelineId | null;
}

/** Jobs between two places of the list that goes from the newest to the oldest. */
export function listJobs(db: Db, { limit, forward, after, before, status, algorithm, pipelineId }: JobsQuery): Promise<ListedJob[]> {
  const way = forward ? "desc" : "asc";
  let query = db.selectFrom("training_jobs").select(COLUMNS).select([ID, sql<string>`(extract(epoch from training_jobs.created_at) * 1000000)::bigint::text`.as("createdMicros")])
    .orderBy("training_jobs.created_at", way).orderBy("training_jobs.stage_id", way).limit(limit);
  if (algorithm !== null) query = query.where("training_jobs.algorithm", "=", algorithm);
  if (pipelineId !== null) query = query.where("training_jobs.pipeline_id", "=", pipelineId);
  if (status !== null) query = query.where(sql<boolean>`exists (select 1 from stages s where s.id = training_jobs.stage_id and s.status = any(${status}::text[]))`);
  if (after !== null) query = query.where(sql<boolean>`(training_jobs.created_at, training_jobs.stage_id) < (${momentOf(after)}, ${after[1]})`);
  if (before !== null) query = query.where(sql<boolean>`(training_jobs.created_at, training_jobs.stage_id) > (${momentOf(before)}, ${before[1]})`);
  return query.execute();
}

function momentOf([micros]: JobPlace) {
  return sql`timestamptz 'epoch' + ${micros}::bigint * interval '1 microsecond'`;
}
