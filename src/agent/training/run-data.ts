// The data files of a train stage on this host: found, and looked at as far as their ends tell (rows, columns) without reading the rows.

import { statSync } from "node:fs";
import { isAbsolute, resolve } from "node:path";
import { createDataRoots } from "../../data/read/data-roots.js";
import { tasksOf } from "../../data/read/inspect.js";
import { openParquet } from "../../data/read/parquet-file.js";
import { UnreadableFileError } from "../../data/read/records.js";
import type { DataTask } from "../../domain/data/preprocess-params.js";
import { isId } from "../../domain/ids.js";
import { ALGORITHM_FACTS } from "../../domain/training/algorithms.js";
import { filesOf, type TrainParams } from "../../domain/training/train-params.js";
import type { DataFacts } from "../../verl/preflight.js";
import type { AttemptHost } from "../attempt/attempt-host.js";
import { failureOf } from "../attempt/preprocess-failures.js";
import { failed, NeverStarted } from "../attempt/program-role.js";
import { fileOfDataset, resolveDataset } from "../data/dataset-fetch.js";
import { createWorkProgress } from "../data/work-progress.js";

export interface RunData {
  /** Absolute paths. */
  readonly trainFiles: readonly string[];
  readonly valFiles: readonly string[];
  readonly facts: DataFacts;
}

export interface FindOptions { readonly owner: string; readonly signal: AbortSignal; say(text: string): void }

/** Throws NeverStarted naming the file. */
export async function findData(params: TrainParams, host: AttemptHost, options: FindOptions): Promise<RunData> {
  const trainFiles = await placesOf(filesOf(params.trainFiles), "params.trainFiles", host, options);
  const valFiles = await placesOf(filesOf(params.valFiles), "params.valFiles", host, options);
  const train = await Promise.all(trainFiles.map((file) => look(file, params)));
  const validation = await Promise.all(valFiles.map((file) => look(file, params)));
  const needed = ALGORITHM_FACTS[params.algorithm].data;
  for (const [index, file] of [...train, ...validation].entries()) {
    if (file.tasks !== null && !file.tasks.includes(needed)) {
      throw new NeverStarted(failed("INVALID_INPUT", `${[...trainFiles, ...valFiles][index]} does not have the columns that ${params.algorithm} needs; it has ${file.columns.join(", ")}.`, `Prepare it with a preprocess stage and task: ${needed}.`));
    }
  }
  return { trainFiles, valFiles, facts: { trainRows: rowsOf(train), valRows: valFiles.length === 0 ? null : rowsOf(validation), tasks: null, dataSources: null } };
}

async function placesOf(given: readonly string[], field: string, host: AttemptHost, options: FindOptions): Promise<string[]> {
  const places: string[] = [];
  for (const file of given) places.push(file.startsWith("dataset:") || isId("dst", file) ? await fetched(file, host, options) : placeOf(file, field, host));
  return places;
}

async function fetched(ref: string, host: AttemptHost, options: FindOptions): Promise<string> {
  const roots = createDataRoots([...host.dataDirectories, host.attemptsRoot]);
  try {
    const dataset = await resolveDataset(ref, { registry: host.registry, ...options });
    return await fileOfDataset(dataset, { registry: host.registry, roots, datasetsRoot: host.datasetsRoot, progress: createWorkProgress(), ...options });
  } catch (error) {
    options.signal.throwIfAborted();
    throw new NeverStarted(failureOf(error, []));
  }
}

/** A relative path begins in the data directories. */
function placeOf(file: string, field: string, host: AttemptHost): string {
  const candidates = isAbsolute(file) ? [file] : host.dataDirectories.map((folder) => resolve(folder, file));
  const found = candidates.find((candidate) => statSync(candidate, { throwIfNoEntry: false })?.isFile() === true);
  if (found !== undefined) return found;
  throw new NeverStarted(failed("FILE_NOT_FOUND", `${field}: there is no file ${file} on this host${isAbsolute(file) ? "" : ` in its data directories (${host.dataDirectories.join(", ") || "none are configured"})`}.`,
    "Files of an earlier stage are only on the host that ran it: run both on one host (resources.labels), on a shared file system, or name a registered data set (dataset:<name>)."));
}

interface FileLook { readonly rows: number | null; readonly tasks: readonly DataTask[] | null; readonly columns: readonly string[] }

/** Only Parquet tells of itself; RL also reads JSON lines, which verl judges. */
async function look(path: string, { algorithm, overrides }: TrainParams): Promise<FileLook> {
  if (!path.endsWith(".parquet")) {
    if (ALGORITHM_FACTS[algorithm].trainer === "verl-rl" && /\.jsonl?$/.test(path)) return { rows: null, tasks: null, columns: [] };
    throw new NeverStarted(failed("INVALID_INPUT", `${path}: ${algorithm} is trained on Parquet files.`, "Make one with a preprocess stage."));
  }
  try {
    const file = await openParquet(path);
    try {
      const columns = file.columns.map(({ name, type }) => ({ name, type, nullCount: 0 }));
      // Own column names, or a data set class of one's own, are verl's business.
      const usual = !Object.keys(overrides).some((key) => /^data\.(?:\w+_key|custom_cls\..+)$/.test(key));
      return { rows: file.rows, tasks: usual ? tasksOf(columns) : null, columns: columns.map(({ name }) => name) };
    } finally {
      await file.close();
    }
  } catch (error) {
    if (error instanceof UnreadableFileError) throw new NeverStarted(failureOf(error, []));
    throw error;
  }
}

function rowsOf(files: readonly FileLook[]): number | null {
  return files.some(({ rows }) => rows === null) ? null : files.reduce((sum, { rows }) => sum + rows!, 0);
}
