// Data sets as rows: immutable versions, where they lie, who made and who read them.
//   D1. A version is its name and its content: registering the same again answers the same row, whoever does it and however often.
//   D2. Versions of a name are numbered 1, 2, 3 … without gaps, under the lock of the name's row; several names are locked in their order.
//   D3. Rows never change but for who made them first, which is filled in once, and for the places where they lie.

import { sql } from "kysely";
import { datasetIdOf, type DatasetColumn, type DatasetFacts, type DatasetRef, type DatasetStatistics } from "../domain/data/dataset.js";
import type { DataFormat, DataTask } from "../domain/data/preprocess-params.js";
import type { AgentId, AttemptId, DatasetId, PipelineId, StageId } from "../domain/ids.js";
import type { Json } from "../domain/pipeline/state.js";
import type { Db } from "./database.js";

/** A version without its statistics and its sample, which are loaded when asked for. */
export interface DatasetRow {
  readonly id: DatasetId;
  readonly name: string;
  readonly version: number;
  readonly contentHash: string;
  readonly format: DataFormat;
  readonly rows: number;
  /** Rows among them that cannot be read. */
  readonly unreadableRows: number;
  readonly sizeBytes: number;
  readonly columns: readonly DatasetColumn[];
  readonly tasks: readonly DataTask[];
  readonly madeByStage: StageId | null;
  readonly createdBy: string;
  readonly createdAt: Date;
}

/** The control plane's own disk, where an agent's id could stand. */
export const CONTROL_PLANE = "";

export interface DatasetFile {
  readonly datasetId: DatasetId;
  readonly agentId: AgentId | typeof CONTROL_PLANE;
  /** Name of the agent; null for the control plane, and for an agent that is not known any more. */
  readonly agentName: string | null;
  readonly path: string;
  /** When the control plane last knew the file to have this content: the time of its last change of status then (ctime), in milliseconds. Null: it never read it. */
  readonly changedMs: number | null;
  readonly seenAt: Date;
}

export interface NewVersion {
  readonly name: string;
  readonly facts: DatasetFacts & { readonly unreadableRows?: number };
  readonly file: { readonly agentId: AgentId | typeof CONTROL_PLANE; readonly path: string; readonly changedMs: number | null };
  readonly madeBy: { readonly pipelineId: PipelineId; readonly stageId: StageId; readonly attemptId: AttemptId } | null;
  /** Name of the token; null: whoever submitted the pipeline of `madeBy`. */
  readonly by: string | null;
}

/** The sample is for a glance: rows beyond this much JSON are left out, in characters. */
const SAMPLE_CHARACTERS = 65_536;
const SAMPLE_ROWS = 20;

/** Stores versions and where they lie. Runs in the caller's transaction (READ COMMITTED), which holds the names' locks to its end; once per transaction. Returns the ids in the order given. */
export async function registerVersions(db: Db, versions: readonly NewVersion[], now: Date): Promise<DatasetId[]> {
  const ids = versions.map((version) => datasetIdOf(version.name, version.facts.contentHash));
  const names = [...new Set(versions.map((version) => version.name))].sort(byBytes); // D2
  const { rows: counters } = await sql<{ name: string; versions: number }>`
    insert into dataset_names as n (name, versions) select k, 0 from unnest(${names}::text[]) k on conflict (name) do update set versions = n.versions returning name, versions`.execute(db);
  const counts = new Map(counters.map((row) => [row.name, row.versions]));
  const { rows: known } = await sql<{ id: DatasetId }>`select id from datasets where id = any(${ids}::text[])`.execute(db);
  const seen = new Set(known.map((row) => row.id));
  const fresh: { id: DatasetId; number: number; version: NewVersion }[] = [];
  for (const [index, version] of versions.entries()) {
    const id = ids[index]!;
    if (seen.has(id)) continue; // D1
    seen.add(id);
    const number = counts.get(version.name)! + 1;
    counts.set(version.name, number);
    fresh.push({ id, number, version });
  }
  if (fresh.length > 0) await insertVersions(db, fresh, now);
  await nameMakers(db, versions, ids);
  await noteFiles(db, versions, ids, now);
  return ids;
}

async function insertVersions(db: Db, fresh: readonly { id: DatasetId; number: number; version: NewVersion }[], now: Date): Promise<void> {
  const pipelines = [...new Set(fresh.flatMap(({ version }) => (version.by === null && version.madeBy !== null ? [version.madeBy.pipelineId] : [])))];
  const submitters = new Map(pipelines.length === 0 ? [] : (await db.selectFrom("pipelines").select(["id", "created_by"]).where("id", "in", pipelines).execute()).map((row) => [row.id, row.created_by]));
  await db.insertInto("datasets").values(fresh.map(({ id, number, version: { name, facts, madeBy, by } }) => ({
    id, name, version: number, content_hash: facts.contentHash, format: facts.format, rows: facts.rows, unreadable_rows: facts.unreadableRows ?? 0, size_bytes: facts.sizeBytes,
    columns: JSON.stringify(facts.columns), statistics: facts.statistics === null ? null : JSON.stringify(facts.statistics), sample: JSON.stringify(bounded(facts.sample)), tasks: [...facts.tasks],
    made_by_pipeline: madeBy?.pipelineId ?? null, made_by_stage: madeBy?.stageId ?? null, made_by_attempt: madeBy?.attemptId ?? null,
    created_by: by ?? (madeBy === null ? undefined : submitters.get(madeBy.pipelineId)) ?? "unknown", created_at: now,
  }))).execute();
  const newest = new Map(fresh.map(({ number, version }) => [version.name, number]));
  await sql`update dataset_names n set versions = k.versions from unnest(${[...newest.keys()]}::text[], ${[...newest.values()]}::int[]) k (name, versions) where n.name = k.name`.execute(db);
}

/** D3. Which stage made what a user had registered before. */
async function nameMakers(db: Db, versions: readonly NewVersion[], ids: readonly DatasetId[]): Promise<void> {
  const made = versions.flatMap(({ madeBy }, index) => (madeBy === null ? [] : [{ id: ids[index]!, ...madeBy }]));
  if (made.length === 0) return;
  await sql`
    update datasets d set made_by_pipeline = k.pipeline_id, made_by_stage = k.stage_id, made_by_attempt = k.attempt_id
      from unnest(${made.map((m) => m.id)}::text[], ${made.map((m) => m.pipelineId)}::text[], ${made.map((m) => m.stageId)}::text[], ${made.map((m) => m.attemptId)}::text[]) k (id, pipeline_id, stage_id, attempt_id)
     where d.id = k.id and d.made_by_attempt is null`.execute(db);
}

async function noteFiles(db: Db, versions: readonly NewVersion[], ids: readonly DatasetId[], now: Date): Promise<void> {
  const unique = [...new Map(versions.map((version, index) => [JSON.stringify([ids[index], version.file.agentId, version.file.path]), { id: ids[index]!, version }])).values()];
  await sql`
    insert into dataset_files as f (dataset_id, agent_id, path, stage_id, attempt_id, changed_ms, seen_at)
    select *, ${now}::timestamptz from unnest(${unique.map((u) => u.id)}::text[], ${unique.map((u) => u.version.file.agentId)}::text[], ${unique.map((u) => u.version.file.path)}::text[],
      ${unique.map((u) => u.version.madeBy?.stageId ?? null)}::text[], ${unique.map((u) => u.version.madeBy?.attemptId ?? null)}::text[], ${unique.map((u) => u.version.file.changedMs)}::double precision[])
    on conflict (dataset_id, agent_id, md5(path)) do update
      set stage_id = coalesce(excluded.stage_id, f.stage_id), attempt_id = coalesce(excluded.attempt_id, f.attempt_id), changed_ms = excluded.changed_ms, seen_at = excluded.seen_at`.execute(db);
}

function bounded(sample: readonly Json[]): Json[] {
  const kept: Json[] = [];
  let characters = 2;
  for (const row of sample.slice(0, SAMPLE_ROWS)) {
    characters += JSON.stringify(row).length + 1;
    if (characters > SAMPLE_CHARACTERS) break;
    kept.push(row);
  }
  return kept;
}

/** As the C collation compares. */
function byBytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

// ── reading ─────────────────────────────────────────────────────────────────────────────────────────

/** The columns of a DatasetRow. */
export function selectDatasets(db: Db) {
  return db.selectFrom("datasets").select([
    "id", "name", "version", "content_hash as contentHash", "format", "rows", "unreadable_rows as unreadableRows", "size_bytes as sizeBytes", "columns", "tasks", "made_by_stage as madeByStage", "created_by as createdBy", "created_at as createdAt",
  ]);
}

/** Data sets by their ids; unknown ones are missing. */
export function readDatasets(db: Db, ids: readonly DatasetId[]): Promise<DatasetRow[]> {
  return selectDatasets(db).where(sql<boolean>`id = any(${ids}::text[])`).execute();
}

/** What a reference stands for; null when there is no such version. Without a version: the newest, or the newest made by `at`. */
export async function findDataset(db: Db, ref: DatasetRef, at?: Date): Promise<DatasetRow | null> {
  let query = selectDatasets(db);
  if ("id" in ref) query = query.where("id", "=", ref.id);
  else {
    query = query.where("name", "=", ref.name).orderBy("version", "desc").limit(1);
    if (ref.version !== null) query = query.where("version", "=", ref.version);
    else if (at !== undefined) query = query.where("created_at", "<=", at);
  }
  return (await query.executeTakeFirst()) ?? null;
}

/** The newest versions of a name, newest first. */
export function listVersions(db: Db, name: string, limit: number): Promise<DatasetRow[]> {
  return selectDatasets(db).where("name", "=", name).orderBy("version", "desc").limit(limit).execute();
}

/** Names, the newest first, at most `limit`. */
export async function datasetNames(db: Db, limit: number): Promise<string[]> {
  return (await db.selectFrom("datasets").select("name").where("version", "=", 1).orderBy("created_at", "desc").limit(limit).execute()).map((row) => row.name);
}

/** First rows, by data set. */
export function readSamples(db: Db, ids: readonly DatasetId[]): Promise<{ id: DatasetId; sample: Json[] }[]> {
  return db.selectFrom("datasets").select(["id", "sample"]).where(sql<boolean>`id = any(${ids}::text[])`).execute();
}

/** Statistics, by data set; null where none were gathered. */
export function readStatistics(db: Db, ids: readonly DatasetId[]): Promise<{ id: DatasetId; statistics: DatasetStatistics | null }[]> {
  return db.selectFrom("datasets").select(["id", "statistics"]).where(sql<boolean>`id = any(${ids}::text[])`).execute();
}

/** Where data sets lie: the control plane's own files first, then the newest report. */
export async function readFiles(db: Db, ids: readonly DatasetId[]): Promise<DatasetFile[]> {
  const { rows } = await sql<DatasetFile>`
    select f.dataset_id as "datasetId", f.agent_id as "agentId", a.name as "agentName", f.path, f.changed_ms as "changedMs", f.seen_at as "seenAt"
      from dataset_files f left join agents a on a.id = f.agent_id where f.dataset_id = any(${ids}::text[]) order by f.dataset_id, f.agent_id <> '', f.seen_at desc, f.path`.execute(db);
  return rows;
}

/** Stages that read these contents, in the order of their first reading, each once per content. */
export async function readReaders(db: Db, contentHashes: readonly string[]): Promise<{ contentHash: string; stageId: StageId }[]> {
  const { rows } = await sql<{ contentHash: string; stageId: StageId }>`
    select content_hash as "contentHash", stage_id as "stageId" from dataset_reads where content_hash = any(${contentHashes}::text[]) group by content_hash, stage_id order by content_hash, min(read_at), stage_id`.execute(db);
  return rows;
}

/** Data sets whose files attempts of these stages reported, made anew or found unchanged. */
export async function readMade(db: Db, stageIds: readonly StageId[]): Promise<(DatasetRow & { stageId: StageId })[]> {
  const { rows } = await sql<{ id: DatasetId; stageId: StageId }>`
    select dataset_id as id, stage_id as "stageId" from dataset_files where stage_id = any(${stageIds}::text[]) union select id, made_by_stage from datasets where made_by_stage = any(${stageIds}::text[])`.execute(db);
  return joined(db, rows);
}

/** Registered data sets whose content attempts of these stages read. */
export async function readRead(db: Db, stageIds: readonly StageId[]): Promise<(DatasetRow & { stageId: StageId })[]> {
  const { rows } = await sql<{ id: DatasetId; stageId: StageId }>`
    select distinct d.id, r.stage_id as "stageId" from dataset_reads r join datasets d on d.content_hash = r.content_hash where r.stage_id = any(${stageIds}::text[])`.execute(db);
  return joined(db, rows);
}

async function joined(db: Db, pairs: readonly { id: DatasetId; stageId: StageId }[]): Promise<(DatasetRow & { stageId: StageId })[]> {
  const rows = new Map((await readDatasets(db, [...new Set(pairs.map((pair) => pair.id))])).map((row) => [row.id, row]));
  return pairs.map(({ id, stageId }) => ({ ...rows.get(id)!, stageId })).sort((a, b) => byBytes(a.name, b.name) || a.version - b.version);
}
