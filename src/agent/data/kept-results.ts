// What earlier preprocess attempts on this agent made, by what it was made from: <agent dir>/datasets/results/<sizes>/<content>.json, one note a result.
//   K1. A note is only a hint. A result is used when every file of it, once linked into the new attempt, has the hash that was noted.
//   K2. Notes lie in folders by params and input sizes: where there is none, nothing needs to be hashed before the work begins.
//   K3. Files are hard links to those of the earlier attempt (copies across devices): the directory of either may go without the other's.

import { constants } from "node:fs";
import { copyFile, link, mkdir, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { basename, join, relative } from "node:path";
import type { PreprocessParams } from "../../domain/data/preprocess-params.js";
import { cacheKeyOf, manifestParams, PREPROCESS_VERSION } from "../../data/manifest.js";
import type { PreprocessResult } from "../../data/preprocess.js";
import { hashFile } from "../../data/read/file-hash.js";
import { isBelow } from "../attempt/attempt-directory.js";
import type { InputFile } from "./input-files.js";
import type { WorkProgress } from "./work-progress.js";

/** From whom a result is. */
export interface ResultOrigin { readonly attemptId: string; readonly pipelineId: string; readonly stage: string }

interface KeptFile { readonly name: string; readonly sha256: string; readonly sizeBytes: number }

interface Note extends ResultOrigin {
  /** Output directory of that attempt, below the attempts' root. */
  readonly output: string;
  readonly datasetName: string;
  /** Everything in that directory that belongs to the result. */
  readonly files: readonly KeptFile[];
  readonly result: PreprocessResult;
}

export interface KeptResultsOptions {
  readonly datasetsRoot: string;
  readonly attemptsRoot: string;
  readonly signal: AbortSignal;
}

export interface Asked {
  readonly params: PreprocessParams;
  readonly inputs: readonly InputFile[];
  /** Its content matters as that of the inputs does. */
  readonly tokenizer: string | null;
  readonly datasetName: string;
  /** Of the new attempt; empty. */
  readonly outputDir: string;
}

/** The result of an earlier attempt as files of this one, or null when there is none that can be used. Throws what the file system throws on our own directory, or an AbortError. */
export async function reuseResult(asked: Asked, options: KeptResultsOptions & { readonly progress: WorkProgress }): Promise<{ readonly result: PreprocessResult; readonly from: ResultOrigin } | null> {
  const folder = join(options.datasetsRoot, "results", await keyBySizes(asked));
  if ((await readdir(folder).catch(() => [])).length === 0) return null; // K2
  const hashes: string[] = [];
  for (const { path, sizeBytes } of asked.inputs) hashes.push((await hashFile(path, { signal: options.signal, onBytes: options.progress.counter(sizeBytes) })).sha256);
  const file = join(folder, `${await keyByContent(asked, hashes)}.json`);
  const note = await readNote(file);
  if (note === null) return null;
  if (!(await linkAll(note, asked, options))) {
    await rm(file, { force: true });
    return null;
  }
  const at = (path: string) => join(asked.outputDir, basename(path));
  const { result } = note;
  return {
    from: { attemptId: note.attemptId, pipelineId: note.pipelineId, stage: note.stage },
    result: {
      ...result,
      files: result.files.map((made) => ({ ...made, path: at(made.path), datasetName: made.datasetName.startsWith(note.datasetName) ? asked.datasetName + made.datasetName.slice(note.datasetName.length) : made.datasetName })),
      read: asked.inputs.map(({ path, sizeBytes }, index) => ({ path, contentHash: hashes[index]!, sizeBytes })),
      manifestFile: at(result.manifestFile), rejectsFile: at(result.rejectsFile),
    },
  };
}

/** Notes a result for those who come later. */
export async function keepResult(result: PreprocessResult, asked: Asked, origin: ResultOrigin, options: KeptResultsOptions): Promise<void> {
  const hashOf = new Map(result.read.map(({ path, contentHash }) => [path, contentHash]));
  const hashes = asked.inputs.map(({ path }) => hashOf.get(path));
  if (hashes.includes(undefined)) return; // not all of it was read: nothing can be said about the rest
  const files: KeptFile[] = result.files.map(({ path, facts }) => ({ name: basename(path), sha256: facts.contentHash, sizeBytes: facts.sizeBytes }));
  for (const path of [result.rejectsFile, result.manifestFile]) files.push({ name: basename(path), ...(await hashFile(path, { signal: options.signal })) });
  const note: Note = { ...origin, output: relative(options.attemptsRoot, asked.outputDir), datasetName: asked.datasetName, files, result };
  const folder = join(options.datasetsRoot, "results", await keyBySizes(asked));
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const file = join(folder, `${await keyByContent(asked, hashes as string[])}.json`);
  const aside = `${file}.${origin.attemptId}.new`;
  await writeFile(aside, JSON.stringify(note), { mode: 0o600, flush: true });
  await rename(aside, file);
}

/** Removes notes whose files are gone. */
export async function removeStaleNotes(options: Pick<KeptResultsOptions, "datasetsRoot" | "attemptsRoot">): Promise<void> {
  const root = join(options.datasetsRoot, "results");
  for (const folder of await readdir(root).catch(() => [] as string[])) {
    for (const name of await readdir(join(root, folder)).catch(() => [] as string[])) {
      const note = await readNote(join(root, folder, name));
      const stands = note !== null && (await Promise.all(note.files.map((file) => stat(join(options.attemptsRoot, note.output, file.name)).then(() => true, () => false)))).every(Boolean);
      if (!stands) await rm(join(root, folder, name), { force: true });
    }
  }
}

async function keyBySizes(asked: Asked): Promise<string> {
  return keyOf(asked, asked.inputs.map(({ sizeBytes }) => `${sizeBytes} bytes`));
}

async function keyByContent(asked: Asked, hashes: readonly string[]): Promise<string> {
  return keyOf(asked, hashes);
}

/** Everything that the files of a result tell goes in: names too, and the params as the manifest has them. Where an input lies does not. */
async function keyOf({ params, inputs, tokenizer }: Asked, contents: readonly string[]): Promise<string> {
  const parts = inputs.map(({ name, format, gzip }, index) => `${name} ${format} ${gzip} ${contents[index]}`);
  if (tokenizer !== null) parts.push(`tokenizer ${(await hashFile(tokenizer)).sha256}`);
  return cacheKeyOf(manifestParams(params) as unknown as PreprocessParams, [...parts, `dataset ${params.dataset ?? ""}`], PREPROCESS_VERSION);
}

async function readNote(file: string): Promise<Note | null> {
  try {
    return JSON.parse(await readFile(file, "utf8")) as Note;
  } catch {
    return null; // none, or of a form that is no longer written
  }
}

/** K1. False when some file is gone or has changed; then nothing of it is left. */
async function linkAll(note: Note, { outputDir }: Asked, { attemptsRoot, signal, progress }: KeptResultsOptions & { readonly progress: WorkProgress }): Promise<boolean> {
  const source = join(attemptsRoot, note.output);
  if (!isBelow(attemptsRoot, source)) return false;
  const made: string[] = [];
  try {
    for (const { name, sha256, sizeBytes } of note.files) {
      const target = join(outputDir, basename(name));
      if ((await stat(join(source, name)).catch(() => null))?.size !== sizeBytes) break;
      await linkOrCopy(join(source, name), target);
      made.push(target);
      if ((await hashFile(target, { signal, onBytes: progress.counter(sizeBytes) })).sha256 !== sha256) break;
      if (made.length === note.files.length) {
        return true;
      }
    }
  } catch (error) {
    await removeAll(made);
    throw error;
  }
  await removeAll(made);
  return false;
}

async function removeAll(paths: readonly string[]): Promise<void> {
  for (const path of paths) await rm(path, { force: true });
}

/** K3. */
async function linkOrCopy(source: string, target: string): Promise<void> {
  try {
    await link(source, target);
  } catch (error) {
    if (!/^(EXDEV|EPERM|EMLINK|ENOTSUP|EOPNOTSUPP)$/.test((error as NodeJS.ErrnoException).code ?? "")) throw error;
    const aside = `${target}.part`;
    try {
      await copyFile(source, aside, constants.COPYFILE_FICLONE);
      await rename(aside, target);
    } finally {
      await rm(aside, { force: true });
    }
  }
}
