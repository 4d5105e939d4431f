// The files that a preprocess stage reads: paths and globs inside the data directories and this agent's attempts, and data sets of the registry.
//   I1. What is given to the reader is a real path that was judged; what people and manifests see is a name without this host in it.

import { stat } from "node:fs/promises";
import { basename } from "node:path";
import type { InputFile as ReadableFile } from "../../data/intake.js";
import type { PreprocessInput, PreprocessParams } from "../../domain/data/preprocess-params.js";
import { inputsOf } from "../../domain/data/preprocess-params.js";
import { isId } from "../../domain/ids.js";
import { formatFor, KNOWN_ENDINGS } from "../../data/read/format.js";
import { fileOfDataset, resolveDataset, type DatasetFetchOptions } from "./dataset-fetch.js";
import { InputRefusedError } from "./input-refused.js";

/** I1: its path is absolute and real; `spec` is one object for all files of a glob. */
export interface InputFile extends ReadableFile {
  readonly sizeBytes: number;
}

export interface GatherOptions extends DatasetFetchOptions {
  /** Absolute and real: below it are outputs of stages. */
  readonly attemptsRoot: string;
}

/** Every file of every input, in the order of the params. Throws PathRefusedError, InputRefusedError, CallFailedError, what the file system throws, or an AbortError. */
export async function gatherInputs(params: PreprocessParams, options: GatherOptions): Promise<readonly InputFile[]> {
  const files: InputFile[] = [];
  for (const spec of inputsOf(params)) {
    options.signal.throwIfAborted();
    if (isReference(spec.path)) files.push(await datasetFile(spec, options));
    else for (const path of await options.roots.expand(spec.path)) files.push(await plainFile(path, spec, options));
  }
  const twice = files.find((file, index) => files.findIndex((other) => other.path === file.path) < index);
  if (twice !== undefined) options.say(`${twice.name} is named by more than one input; its rows are taken as often`);
  return files;
}

function isReference(path: string): boolean {
  return path.startsWith("dataset:") || isId("dst", path);
}

async function plainFile(path: string, spec: PreprocessInput, options: GatherOptions): Promise<InputFile> {
  const found = await stat(path);
  if (!found.isFile()) throw new InputRefusedError(`${path} is no regular file.`, "Name a file, or a glob such as folder/*.jsonl.");
  const known = formatFor(path, spec.format);
  if (known === null) throw new InputRefusedError(`The ending of ${basename(path)} does not say how it is written.`, `Give format: jsonl, json, csv, tsv or parquet. Endings that do: ${KNOWN_ENDINGS}.`);
  return { path, name: nameOf(path, options), spec, ...known, sizeBytes: found.size };
}

async function datasetFile(spec: PreprocessInput, options: GatherOptions): Promise<InputFile> {
  const dataset = await resolveDataset(spec.path, options);
  const path = await fileOfDataset(dataset, options);
  const format = spec.format ?? dataset.format;
  return { path, name: `${dataset.name}@${dataset.version}`, spec, format, gzip: format !== "parquet" && dataset.gzip === true, sizeBytes: dataset.sizeBytes };
}

/** `<stage>/<file>` for what another stage left (its pipeline and try say nothing about the data), otherwise the path below its data directory. */
function nameOf(path: string, { attemptsRoot, roots }: GatherOptions): string {
  if (!path.startsWith(`${attemptsRoot}/`)) return roots.relativeName(path);
  const [, stage = "", , , ...rest] = path.slice(attemptsRoot.length + 1).split("/"); // pipeline, stage, number, output, …
  return rest.length === 0 ? roots.relativeName(path) : `${stage}/${rest.join("/")}`;
}
