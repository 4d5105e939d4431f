// The preflight of a specification's train stages: gathers what this control plane knows of their data and of its agents, and judges each stage on it.
//   T1. Facts come from the specification, the registry and the agents' own reports; what none of them tells is unknown and judged by nobody here.
//   T2. Stages that say the same are judged once, and a run has a bound: what is beyond it is judged by the agent before the launch.

import { sql } from "kysely";
import type { Db } from "../../db/database.js";
import { findDataset, readDatasets, readStatistics } from "../../db/datasets.js";
import { parseDatasetRef } from "../../domain/data/dataset.js";
import type { DataTask } from "../../domain/data/preprocess-params.js";
import { MAX_PROBLEMS, type Problem } from "../../domain/errors.js";
import { isId, type DatasetId } from "../../domain/ids.js";
import { MissingOutputError, resolveReferences } from "../../domain/pipeline/references.js";
import type { PipelineSpec, StageSpec } from "../../domain/pipeline/spec.js";
import type { Outputs } from "../../domain/pipeline/state.js";
import type { GpuReport } from "../../protocol/messages.js";
import type { DataFacts } from "../../verl/preflight.js";
import { stageProblems, type KnownHost } from "./stage-preflight.js";

/** Different train stages judged in one specification. */
const JUDGED = 200;
/** Files of one stage that are looked up. */
const FILES = 50;

/** Outputs of stages that are there already, in a fork; null: none. */
export type KnownOutputs = (stage: string) => Outputs | null;

/** Problems of the train stages that are to run (default: all), each at its JSON path. Errors mean that verl itself would refuse, or train something else than was asked for. */
export async function trainingProblems(db: Db, spec: PipelineSpec, outputsOf: KnownOutputs = () => null, isToRun: (index: number) => boolean = () => true): Promise<Problem[]> {
  const stages = spec.stages.flatMap((stage, index) => (stage.kind === "train" && isToRun(index) ? [{ stage, index }] : []));
  if (stages.length === 0) return [];
  const hosts = await knownHosts(db);
  const judged = new Map<string, Problem[]>();
  const problems: Problem[] = [];
  for (const { stage, index } of stages) {
    const key = JSON.stringify([stage.params, stage.resources]);
    let found = judged.get(key);
    if (found === undefined) {
      if (judged.size >= JUDGED) break; // T2
      judged.set(key, (found = stageProblems(stage, { data: await dataFacts(db, spec, stage, outputsOf), hosts }, "")));
    }
    problems.push(...found.map((problem) => ({ ...problem, path: `stages[${index}].params${problem.path}` })));
    if (problems.length >= MAX_PROBLEMS) break;
  }
  return problems.slice(0, MAX_PROBLEMS);
}

/** What agents told of their hosts, the closed ones too: they come back. */
export async function knownHosts(db: Db): Promise<KnownHost[]> {
  const rows = await db.selectFrom("agents").select(["labels", "gpus", "versions"]).execute();
  return rows.map(({ labels, gpus, versions }) => ({ labels, gpus: gpus.map(({ model, memoryTotalMiB }: GpuReport) => ({ model, memoryTotalMiB })), cpus: wholeNumber(versions["hostCpus"]) }));
}

function wholeNumber(text: string | null | undefined): number | null {
  const number = Number(text ?? NaN);
  return Number.isSafeInteger(number) && number > 0 ? number : null;
}

// ── data ────────────────────────────────────────────────────────────────────────────────────────────

interface FileFacts { readonly rows: number | null; readonly tasks: readonly DataTask[] | null; readonly dataSources: readonly string[] | null }
const UNKNOWN: FileFacts = { rows: null, tasks: null, dataSources: null };

async function dataFacts(db: Db, spec: PipelineSpec, stage: StageSpec, outputsOf: KnownOutputs): Promise<DataFacts> {
  const train = await Promise.all(filesIn(stage.params["trainFiles"]).map((file) => fileFacts(db, spec, file, outputsOf)));
  const validation = await Promise.all(filesIn(stage.params["valFiles"]).map((file) => fileFacts(db, spec, file, outputsOf)));
  const tasks = train.flatMap((file) => (file.tasks === null ? [] : [file.tasks]));
  const sources = train.flatMap((file) => file.dataSources ?? []);
  return {
    trainRows: rowsOf(train), valRows: rowsOf(validation),
    // One file that cannot serve is enough, whatever the others are; the same for a source that nobody scores.
    tasks: tasks.length === 0 ? null : tasks.reduce((common, some) => common.filter((task) => some.includes(task))),
    dataSources: sources.length === 0 ? null : [...new Set(sources)],
  };
}

function filesIn(value: unknown): string[] {
  const list = Array.isArray(value) ? value : [value];
  return list.length > FILES ? [] : list.filter((file): file is string => typeof file === "string");
}

function rowsOf(files: readonly FileFacts[]): number | null {
  return files.length === 0 || files.some((file) => file.rows === null) ? null : files.reduce((sum, file) => sum + file.rows!, 0);
}

async function fileFacts(db: Db, spec: PipelineSpec, text: string, outputsOf: KnownOutputs): Promise<FileFacts> {
  const file = resolved(text, outputsOf);
  if (file === null) return madeFacts(spec, text);
  const id = await datasetAt(db, file);
  const row = id === null ? undefined : (await readDatasets(db, [id]))[0];
  if (row === undefined) return UNKNOWN;
  const counted = (await readStatistics(db, [row.id]))[0]?.statistics?.categories["data_source"];
  return { rows: row.rows, tasks: row.tasks, dataSources: counted === undefined ? null : Object.keys(counted).filter((name) => name !== "…" && name !== "") };
}

/** The text with its references filled in; null where an output is not there yet. */
function resolved(text: string, outputsOf: KnownOutputs): string | null {
  try {
    const value = resolveReferences(text, outputsOf);
    return typeof value === "string" ? value : null;
  } catch (error) {
    if (error instanceof MissingOutputError) return null;
    throw error;
  }
}

/** By a reference to a data set, or by a path at which just one content is registered. */
async function datasetAt(db: Db, file: string): Promise<DatasetId | null> {
  if (file.startsWith("dataset:") || isId("dst", file)) {
    const ref = parseDatasetRef(file);
    return ref === null ? null : ((await findDataset(db, ref))?.id ?? null);
  }
  const { rows } = await sql<{ id: DatasetId; hash: string }>`
    select distinct d.id, d.content_hash as hash from dataset_files f join datasets d on d.id = f.dataset_id where md5(f.path) = md5(${file}) and f.path = ${file} limit 10`.execute(db);
  return new Set(rows.map((row) => row.hash)).size === 1 ? rows[0]!.id : null;
}

/** What a preprocess stage of the same specification says of the file that it will make. */
function madeFacts(spec: PipelineSpec, text: string): FileFacts {
  const name = /^\$\{stages\.(.+?)\.outputs\./.exec(text)?.[1];
  const maker = spec.stages.find((stage) => stage.name === name);
  const task = maker?.kind === "preprocess" ? maker.params["task"] : undefined;
  if (maker === undefined || (task !== "sft" && task !== "rl" && task !== "preference")) return UNKNOWN;
  return { rows: null, tasks: [task], dataSources: task === "rl" ? sourcesOf(maker.params) : null };
}

/** Null where the rows themselves say it. */
function sourcesOf(params: Readonly<Record<string, unknown>>): string[] | null {
  const inputs = Array.isArray(params["input"]) ? params["input"] : [params["input"]];
  const found = inputs.map((input: unknown) => {
    const own = (typeof input === "object" && input !== null ? input : {}) as { dataSource?: unknown; columns?: { dataSource?: unknown } };
    if (own.columns?.dataSource !== undefined || (params["columns"] as { dataSource?: unknown } | undefined)?.dataSource !== undefined) return null;
    const source = own.dataSource ?? params["dataSource"];
    return typeof source === "string" && !source.includes("${") ? source : null;
  });
  return found.some((source) => source === null) ? null : [...new Set(found as string[])];
}
