// Loaders: however many objects of one kind an operation touches, each kind of row is asked for once.
//   L1. They live as long as one operation, so what they remember is never older than the request.

import DataLoader from "dataloader";
import { sql, type ReferenceExpression, type Selectable } from "kysely";
import { knownHosts } from "../actors/preflight/training-preflight.js";
import type { KnownHost } from "../actors/preflight/stage-preflight.js";
import { listAnomalies, readAnomalies, type AnomalyRow } from "../db/anomalies.js";
import { readDeployments, type HostDeploymentRow } from "../access/host-deployments.js";
import { readSshHosts, type SshHostRow } from "../access/ssh-hosts.js";
import type { Db } from "../db/database.js";
import { findDataset, readDatasets, readFiles, readMade, readRead, readReaders, readStatistics, type DatasetFile, type DatasetRow } from "../db/datasets.js";
import { listCheckpoints, readCheckpoints, readScores, type CheckpointRow } from "../db/telemetry/checkpoints.js";
import { listEvaluations, readEvaluations, readEvaluationSets, type EvaluationRow } from "../db/telemetry/evaluations.js";
import { readMetricNamesOf, readMetricsOf, type MetricSeries, type MetricsQuery } from "../db/telemetry/metrics.js";
import { listSampleSets, readSamplePages, readSamplesByKey, type SamplePage, type SampleRow, type SampleSet } from "../db/telemetry/samples.js";
import { readProgress, type StageProgress } from "../db/telemetry/progress.js";
import type { Database } from "../db/tables.js";
import { newestDeliveries, type DeliveryRow } from "../db/webhooks.js";
import { readJobs, readSimulated, type TrainingJobRow } from "../db/training-jobs.js";
import { parseDatasetRef, type DatasetStatistics } from "../domain/data/dataset.js";
import type { AgentId, AnomalyId, AttemptId, CheckpointId, DatasetId, EvaluationId, PipelineId, SshHostId, StageId, WebhookId } from "../domain/ids.js";
import { SIMULATED_OUTPUT, simulatedStages } from "../domain/pipeline/simulated.js";
import type { PipelineSpec } from "../domain/pipeline/spec.js";
import type { Json } from "../domain/pipeline/state.js";

/** A pipeline without its specification, which may be large and is loaded when asked for. */
export type PipelineRow = Omit<Selectable<Database["pipelines"]>, "spec">;
export type StageRow = Selectable<Database["stages"]>;
export type AttemptRow = Selectable<Database["attempts"]>;
export type DiagnosisRow = Selectable<Database["diagnoses"]>;
/** An agent as stored, with the database's clock at the moment of reading: silence is measured against that. */
export type AgentRow = Selectable<Database["agents"]> & { readonly now: Date };
export interface GpuHold { readonly gpuIndex: number; readonly attemptId: AttemptId }
export interface QueueLoad { readonly queue: string; readonly running: number }

export const PIPELINE_COLUMNS = [
  "id", "name", "status", "labels", "seq", "stage_count", "cancelling", "forked_from", "error", "created_by", "created_at", "started_at", "finished_at",
] as const satisfies readonly (keyof PipelineRow)[];

/** Deliveries of one webhook that are shown. */
const MOST_DELIVERIES = 20;

export type Loaders = ReturnType<typeof createLoaders>;

/** Every loader of one operation. */
export function createLoaders({ db }: { readonly db: Db }) {
  return {
    pipeline: one<PipelineId, PipelineRow>((ids) => db.selectFrom("pipelines").select(PIPELINE_COLUMNS).where(anyOf("id", ids)).execute(), (row) => row.id),
    spec: one<PipelineId, { id: PipelineId; spec: PipelineSpec }>((ids) => db.selectFrom("pipelines").select(["id", "spec"]).where(anyOf("id", ids)).execute(), (row) => row.id),
    stage: one<StageId, StageRow>((ids) => db.selectFrom("stages").selectAll().where(anyOf("id", ids)).execute(), (row) => row.id),
    stagesOf: many<PipelineId, StageRow>(
      (ids) => db.selectFrom("stages").selectAll().where(anyOf("pipeline_id", ids)).orderBy("pipeline_id").orderBy("position").execute(), (row) => row.pipeline_id),
    stageCounts: many<PipelineId, { pipeline_id: PipelineId; status: StageRow["status"]; count: number }>(
      (ids) => db.selectFrom("stages").select((eb) => ["pipeline_id", "status", eb.fn.countAll<number>().as("count")]).where(anyOf("pipeline_id", ids)).groupBy(["pipeline_id", "status"]).execute(),
      (row) => row.pipeline_id),
    attempt: one<AttemptId, AttemptRow>((ids) => db.selectFrom("attempts").selectAll().where(anyOf("id", ids)).execute(), (row) => row.id),
    attemptsOf: many<StageId, AttemptRow>((ids) => db.selectFrom("attempts").selectAll().where(anyOf("stage_id", ids)).orderBy("stage_id").orderBy("number").execute(), (row) => row.stage_id),
    leaseOf: one<AttemptId, { attempt_id: AttemptId; renewed: Date }>(
      (ids) => db.selectFrom("assignments").select((eb) => ["attempt_id", eb.fn.max("lease_renewed_at").as("renewed")]).where(anyOf("attempt_id", ids)).groupBy("attempt_id").execute(),
      (row) => row.attempt_id),
    diagnosisOf: one<AttemptId, DiagnosisRow>((ids) => db.selectFrom("diagnoses").selectAll().where(anyOf("attempt_id", ids)).execute(), (row) => row.attempt_id),
    agent: one<AgentId, AgentRow>((ids) => selectAgents(db).where(anyOf("id", ids)).execute(), (row) => row.id),
    sshHost: one<SshHostId, SshHostRow>((ids) => readSshHosts(db, ids), (row) => row.id),
    sshAgent: one<string, AgentRow>(
      (names) => selectAgents(db).where(anyOf("name", names)).where((eb) => eb.or([eb("run_mode", "=", "SSH"), eb.exists(eb.selectFrom("ssh_hosts as h").select("h.id").whereRef("h.name", "=", "agents.name").where("h.served_by", "=", "agent"))])).execute(),
      (row) => row.name),
    deployment: one<SshHostId, HostDeploymentRow>((ids) => readDeployments(db, ids), (row) => row.host_id),
    runningOn: many<AgentId, AttemptRow & { on: AgentId }>(
      (ids) => db.selectFrom("assignments").innerJoin("attempts", "attempts.id", "assignments.attempt_id").selectAll("attempts").select("assignments.agent_id as on")
        .where(anyOf("assignments.agent_id", ids)).orderBy("attempts.offered_at").orderBy("attempts.id").execute(),
      (row) => row.on),
    loadOf: many<AgentId, QueueLoad & { agentId: AgentId }>(
      (ids) => db.selectFrom("assignments").innerJoin("attempts", "attempts.id", "assignments.attempt_id").innerJoin("stages", "stages.id", "attempts.stage_id")
        .select((eb) => ["assignments.agent_id as agentId", "stages.queue as queue", eb.fn.countAll<number>().as("running")])
        .where(anyOf("assignments.agent_id", ids)).groupBy(["assignments.agent_id", "stages.queue"]).execute(),
      (row) => row.agentId),
    gpuHoldsOf: many<AgentId, GpuHold & { agentId: AgentId }>(
      (ids) => db.selectFrom("gpu_holds").select(["agent_id as agentId", "gpu_index as gpuIndex", "attempt_id as attemptId"]).where(anyOf("agent_id", ids)).execute(), (row) => row.agentId),
    checkpoint: one<CheckpointId, CheckpointRow>((ids) => readCheckpoints(db, ids), (row) => row.id),
    evaluation: one<EvaluationId, EvaluationRow>((ids) => readEvaluations(db, ids), (row) => row.id),
    /** Scores of a checkpoint's evaluations, the newest of each name. */
    scoresOf: new DataLoader<CheckpointId, Readonly<Record<string, Json>>>(async (ids) => {
      const found = await readScores(db, ids);
      return ids.map((id) => found.get(id) ?? {});
    }),
    checkpointsOf: many<StageId, CheckpointRow>((ids) => listCheckpoints(db, ids), (row) => row.stageId),
    evaluationsOf: many<StageId, EvaluationRow>((ids) => listEvaluations(db, ids), (row) => row.stageId),
    metricNamesOf: new DataLoader<StageId, readonly string[]>(async (ids) => {
      const found = await readMetricNamesOf(db, ids);
      return ids.map((id) => found.get(id) ?? []);
    }),
    /** Series of many stages, by what is asked of them: usually all are asked the same. */
    metricsOf: new DataLoader<MetricsQuery, readonly MetricSeries[], string>(async (queries) => {
      const byQuestion = new Map<string, { query: Omit<MetricsQuery, "stageId">; stageIds: StageId[] }>();
      for (const { stageId, ...query } of queries) {
        const group = byQuestion.get(JSON.stringify(query));
        if (group === undefined) byQuestion.set(JSON.stringify(query), { query, stageIds: [stageId] });
        else group.stageIds.push(stageId);
      }
      const found = new Map(await Promise.all([...byQuestion].map(async ([key, { query, stageIds }]) => [key, await readMetricsOf(db, stageIds, query)] as const)));
      return queries.map(({ stageId, ...query }) => found.get(JSON.stringify(query))!.get(stageId) ?? []);
    }, { cacheKeyFn: (query) => JSON.stringify(query) }),
    /** Training jobs by their stages; null for a stage that is no training. */
    jobOf: one<StageId, TrainingJobRow>((ids) => readJobs(db, ids), (row) => row.stageId),
    /** Names of a pipeline's stages whose results are made up. */
    simulatedStagesOf: new DataLoader<PipelineId, ReadonlySet<string>>(async (ids) => {
      const [specs, rows] = await Promise.all([
        db.selectFrom("pipelines").select(["id", "spec"]).where(anyOf("id", ids)).execute(),
        db.selectFrom("stages").select(["pipeline_id", "name"]).where(anyOf("pipeline_id", ids)).where("status", "=", "COMPLETED").where(sql<boolean>`phase -> 'outputs' -> ${SIMULATED_OUTPUT} = 'true'::jsonb`).execute(),
      ]);
      const marked = new Set(rows.map((row) => `${row.pipeline_id} ${row.name}`));
      const found = new Map(specs.map(({ id, spec }) => [id, simulatedStages(spec.stages, (name) => marked.has(`${id} ${name}`))]));
      return ids.map((id) => found.get(id) ?? new Set());
    }),
    /** Whether a pipeline has a stage that runs a stand-in, or evaluated what one left. */
    simulatedIn: new DataLoader<PipelineId, boolean>(async (ids) => {
      const found = await readSimulated(db, ids);
      return ids.map((id) => found.has(id));
    }),
    anomaly: one<AnomalyId, AnomalyRow>((ids) => readAnomalies(db, ids), (row) => row.id),
    anomaliesOf: many<StageId, AnomalyRow>((ids) => listAnomalies(db, ids), (row) => row.stageId),
    samplePage: new DataLoader<SamplePage, readonly SampleRow[], string>((pages) => readSamplePages(db, pages), { cacheKeyFn: (page) => JSON.stringify(page) }),
    sampleByKey: new DataLoader<{ set: SampleSet; key: string }, SampleRow | null, string>(async (wanted) => {
      const rows = new Map((await readSamplesByKey(db, wanted)).map((row) => [`${row.set.id} ${row.key}`, row]));
      return wanted.map(({ set, key }) => rows.get(`${set.id} ${key}`) ?? null);
    }, { cacheKeyFn: ({ set, key }) => `${set.id} ${key}` }),
    evaluationSet: one<AttemptId, SampleSet & { attemptId: AttemptId }>((ids) => readEvaluationSets(db, ids), (set) => set.attemptId),
    sampleSetsOf: many<StageId, SampleSet>((ids) => listSampleSets(db, ids), (set) => set.stageId),
    /** Hosts that agents told of; asked for once. */
    hosts: new DataLoader<"all", readonly KnownHost[]>(async (keys) => {
      const hosts = await knownHosts(db);
      return keys.map(() => hosts);
    }),
    dataset: one<DatasetId, DatasetRow>((ids) => readDatasets(db, ids), (row) => row.id),
    /** By what somebody wrote (parseDatasetRef), the newest version made until then where none is named. */
    datasetByRef: new DataLoader<{ ref: string; at: Date }, DatasetRow | null, string>(
      (keys) => Promise.all(keys.map(async ({ ref, at }) => {
        const parsed = parseDatasetRef(ref);
        return parsed === null ? null : findDataset(db, parsed, at);
      })), { cacheKeyFn: ({ ref, at }) => `${at.getTime()} ${ref}`, maxBatchSize: 20 }),
    statisticsOf: one<DatasetId, { id: DatasetId; statistics: DatasetStatistics | null }>((ids) => readStatistics(db, ids), (row) => row.id),
    filesOf: many<DatasetId, DatasetFile>((ids) => readFiles(db, ids), (row) => row.datasetId),
    readersOf: many<string, { contentHash: string; stageId: StageId }>((hashes) => readReaders(db, hashes), (row) => row.contentHash),
    datasetsMade: many<StageId, DatasetRow & { stageId: StageId }>((ids) => readMade(db, ids), (row) => row.stageId),
    datasetsRead: many<StageId, DatasetRow & { stageId: StageId }>((ids) => readRead(db, ids), (row) => row.stageId),
    deliveriesOf: many<WebhookId, DeliveryRow>((ids) => newestDeliveries(db, ids, MOST_DELIVERIES), (row) => row.webhook_id),
    progressOf: new DataLoader<StageId, StageProgress | null>(async (ids) => {
      const found = await readProgress(db, ids);
      return ids.map((id) => found.get(id) ?? null);
    }),
  };
}

/** Agents with the database's clock. */
export function selectAgents(db: Db) {
  return db.selectFrom("agents").selectAll().select((eb) => eb.fn<Date>("now").as("now"));
}

/** `column = any(ids)`: one parameter however many ids. */
function anyOf(column: string, ids: readonly string[]) {
  return sql<boolean>`${sql.ref(column as ReferenceExpression<Database, keyof Database> & string)} = any(${ids})`;
}

function one<K extends string, Row>(read: (ids: readonly K[]) => Promise<readonly Row[]>, keyOf: (row: Row) => K): DataLoader<K, Row | null> {
  return new DataLoader<K, Row | null>(async (ids) => {
    const rows = new Map((await read(ids)).map((row) => [keyOf(row), row]));
    return ids.map((id) => rows.get(id) ?? null);
  });
}

function many<K extends string, Row>(read: (ids: readonly K[]) => Promise<readonly Row[]>, keyOf: (row: Row) => K): DataLoader<K, readonly Row[]> {
  return new DataLoader<K, readonly Row[]>(async (ids) => {
    const groups = new Map<K, Row[]>(ids.map((id) => [id, []]));
    for (const row of await read(ids)) groups.get(keyOf(row))?.push(row);
    return ids.map((id) => groups.get(id) ?? []);
  });
}
