// The data files of a train stage: found where it runs, or brought there, and looked at as far as their ends tell (rows, columns) without reading the rows.
//   D1. A path is the place's own when there is such a file there, and is used as it is. What lies here is brought only from the data directories and from what stages
//       of this machine's agents left: whoever writes a specification sends no other file of this machine elsewhere.

import { realpathSync, statSync } from "node:fs";
import { isAbsolute, resolve } from "node:path";
import { createDataRoots } from "../../data/read/data-roots.js";
import { tasksOf } from "../../data/read/inspect.js";
import { openParquet } from "../../data/read/parquet-file.js";
import type { ParquetColumn } from "../../data/read/parquet-columns.js";
import { UnreadableFileError } from "../../data/read/records.js";
import type { DataTask } from "../../domain/data/preprocess-params.js";
import { isId } from "../../domain/ids.js";
import { ALGORITHM_FACTS } from "../../domain/training/algorithms.js";
import { filesOf, type TrainParams } from "../../domain/training/train-params.js";
import type { DataFacts } from "../../verl/preflight.js";
import type { AttemptHost } from "../attempt/attempt-host.js";
import { isBelow } from "../attempt/attempt-directory.js";
import { failureOf } from "../attempt/preprocess-failures.js";
import { failed, NeverStarted } from "../attempt/program-role.js";
import { fileOfDataset, resolveDataset } from "../data/dataset-fetch.js";
import { createWorkProgress } from "../data/work-progress.js";
import type { Place } from "../place/place.js";
import { describeThere } from "./parquet-there.js";

export interface RunData {
  /** Absolute paths, the place's own. */
  readonly trainFiles: readonly string[];
  readonly valFiles: readonly string[];
  readonly facts: DataFacts;
}

export interface PlacedFile {
  /** The place's own path. */
  readonly there: string;
  /** The same file on this machine; null: it is only there. */
  readonly here: string | null;
}

export interface FileOptions { readonly place: Place; readonly signal: AbortSignal; say(text: string): void }
export interface FindOptions extends FileOptions {
  /** Words that start an interpreter there. */
  readonly python: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  readonly owner: string;
}

/** Throws NeverStarted naming the file. */
export async function findData(params: TrainParams, host: AttemptHost, options: FindOptions): Promise<RunData> {
  const trainFiles = await placesOf(filesOf(params.trainFiles), "params.trainFiles", host, options);
  const valFiles = await placesOf(filesOf(params.valFiles), "params.valFiles", host, options);
  const train = await Promise.all(trainFiles.map((file) => look(file, params, options)));
  const validation = await Promise.all(valFiles.map((file) => look(file, params, options)));
  const needed = ALGORITHM_FACTS[params.algorithm].data;
  for (const [index, file] of [...train, ...validation].entries()) {
    if (file.tasks !== null && !file.tasks.includes(needed)) {
      const { here, there } = [...trainFiles, ...valFiles][index]!;
      throw new NeverStarted(failed("INVALID_INPUT", `${here ?? there} does not have the columns that ${params.algorithm} needs; it has ${file.columns.join(", ")}.`, `Prepare it with a preprocess stage and task: ${needed}.`));
    }
  }
  const paths = (files: readonly PlacedFile[]) => files.map(({ there }) => there);
  return { trainFiles: paths(trainFiles), valFiles: paths(valFiles), facts: { trainRows: rowsOf(train), valRows: valFiles.length === 0 ? null : rowsOf(validation), tasks: null, dataSources: null } };
}

/** One further file that the run needs, found like data, as the place's own path. Throws NeverStarted naming it. */
export async function findFile(file: string, field: string, host: AttemptHost, options: FileOptions): Promise<string> {
  return (await placeOf(file, field, host, options)).there;
}

async function placesOf(given: readonly string[], field: string, host: AttemptHost, options: FindOptions): Promise<PlacedFile[]> {
  const places: PlacedFile[] = [];
  for (const file of given) places.push(file.startsWith("dataset:") || isId("dst", file) ? await brought(await fetched(file, host, options), options) : await placeOf(file, field, host, options));
  return places;
}

async function fetched(ref: string, host: AttemptHost, options: FindOptions): Promise<string> {
  const roots = createDataRoots([...host.dataDirectories, host.attemptsRoot, ...host.neighbours()]);
  try {
    const dataset = await resolveDataset(ref, { registry: host.registry, ...options });
    return await fileOfDataset(dataset, { registry: host.registry, roots, datasetsRoot: host.datasetsRoot, progress: createWorkProgress(), ...options });
  } catch (error) {
    options.signal.throwIfAborted();
    throw new NeverStarted(failureOf(error, []));
  }
}

/** A file of this machine, at the place. */
async function brought(here: string, { place, signal, say }: FileOptions): Promise<PlacedFile> {
  try {
    return { here, there: (await place.push([here], { signal, say }))[0]! };
  } catch (error) {
    signal.throwIfAborted();
    throw new NeverStarted(failureOf(error, []));
  }
}

/** A relative path begins in the data directories. */
async function placeOf(file: string, field: string, host: AttemptHost, options: FileOptions): Promise<PlacedFile> {
  const { place } = options;
  const candidates = isAbsolute(file) ? [file] : host.dataDirectories.map((folder) => resolve(folder, file));
  const here = candidates.find((candidate) => statSync(candidate, { throwIfNoEntry: false })?.isFile() === true);
  const isHere = host.place === host.home;
  const real = here === undefined ? null : realpathSync(here);
  const below = (folders: readonly string[]) => real !== null && folders.some((folder) => isBelow(realOf(folder), real)); // D1
  if (isHere) {
    if (here !== undefined && (host.guest === undefined || below([host.attemptsRoot, ...host.neighbours(), ...host.dataDirectories]))) return { here, there: here };
  } else {
    if (below([host.attemptsRoot, ...host.neighbours()])) return brought(real!, options);
    const kind = isAbsolute(file) ? (await place.stat([file]))[0]?.kind : undefined;
    if (kind === "file" || kind === "link") return { here: null, there: file };
    if (below(host.dataDirectories)) return brought(real!, options);
  }
  const folders = `its data directories (${host.dataDirectories.join(", ") || "none are configured"})`;
  throw new NeverStarted(failed("FILE_NOT_FOUND", `${field}: there is no file ${file} ${host.guest === undefined ? `on ${place.name}` : "beside the agent, where a rehearsal runs"}${isAbsolute(file) && isHere ? "" : isHere ? ` in ${folders}` : `, nor in the data directories of its agent (${host.dataDirectories.join(", ") || "none are configured"})`}.`,
    "Files of an earlier stage are only on the host that ran it: run both on one host (resources.labels), on a shared file system, or name a registered data set (dataset:<name>)."));
}

function realOf(folder: string): string {
  try {
    return realpathSync(folder);
  } catch {
    return folder;
  }
}

interface FileLook { readonly rows: number | null; readonly tasks: readonly DataTask[] | null; readonly columns: readonly string[] }

/** Only Parquet tells of itself; RL also reads JSON lines, which verl judges. */
async function look({ here, there }: PlacedFile, { algorithm, overrides }: TrainParams, options: FindOptions): Promise<FileLook> {
  const path = here ?? there;
  if (!path.endsWith(".parquet")) {
    if (ALGORITHM_FACTS[algorithm].trainer === "verl-rl" && /\.jsonl?$/.test(path)) return { rows: null, tasks: null, columns: [] };
    throw new NeverStarted(failed("INVALID_INPUT", `${path}: ${algorithm} is trained on Parquet files.`, "Make one with a preprocess stage."));
  }
  try {
    const file = here === null ? await describeThere(there, options) : await describeHere(here);
    if (file === null) return { rows: null, tasks: null, columns: [] };
    const columns = file.columns.map(({ name, type }) => ({ name, type, nullCount: 0 }));
    // Own column names, or a data set class of one's own, are verl's business.
    const usual = !Object.keys(overrides).some((key) => /^data\.(?:\w+_key|custom_cls\..+)$/.test(key));
    return { rows: file.rows, tasks: usual ? tasksOf(columns) : null, columns: columns.map(({ name }) => name) };
  } catch (error) {
    if (error instanceof UnreadableFileError) throw new NeverStarted(failureOf(error, []));
    throw error;
  }
}

async function describeHere(path: string): Promise<{ readonly rows: number; readonly columns: readonly ParquetColumn[] }> {
  const file = await openParquet(path);
  try {
    return { rows: file.rows, columns: file.columns };
  } finally {
    await file.close();
  }
}

function rowsOf(files: readonly FileLook[]): number | null {
  return files.some(({ rows }) => rows === null) ? null : files.reduce((sum, { rows }) => sum + rows!, 0);
}
