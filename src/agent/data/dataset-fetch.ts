// Data sets of the registry as files of this host: where they lie already, or fetched from the control plane into <agent dir>/datasets/<sha256>.<format>.
//   F1. A file counts as the data set only after its size and hash were found right, each time it is used.
//   F2. A fetched file appears whole: written under a temporary name that says whose it is, hashed on the way, synced, renamed.
//   F3. A call that may pass is repeated; the lease of the attempt bounds how long.

import { createHash } from "node:crypto";
import { createWriteStream } from "node:fs";
import { mkdir, open, readdir, rename, rm, stat, utimes } from "node:fs/promises";
import { isAbsolute, join } from "node:path";
import { Transform, type Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { DATA_FORMATS } from "../../domain/data/preprocess-params.js";
import type { DatasetId } from "../../domain/ids.js";
import { hashFile } from "../../data/read/file-hash.js";
import type { DataRoots } from "../../data/read/data-roots.js";
import type { ResolvedDataset } from "../../protocol/messages.js";
import { backoff } from "../backoff.js";
import { CallFailedError, CallRefusedError } from "../control-plane-client.js";
import { InputRefusedError } from "./input-refused.js";
import type { WorkProgress } from "./work-progress.js";

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 15_000;
/** Transfers of one data set that broke off before it is given up. */
const TRANSFERS = 6;

/** The registry, as an agent reaches it. Calls reject with CallRefusedError or CallFailedError. */
export interface DatasetSource {
  resolve(ref: string, signal: AbortSignal): Promise<ResolvedDataset>;
  content(id: DatasetId, signal: AbortSignal): Promise<Readable>;
}

export interface DatasetFetchOptions {
  readonly registry: DatasetSource;
  readonly roots: DataRoots;
  readonly datasetsRoot: string;
  /** Part of temporary names (F2). */
  readonly owner: string;
  readonly signal: AbortSignal;
  readonly progress: WorkProgress;
  /** Says something in the attempt's log. */
  say(text: string): void;
}

/** What a reference stands for. Throws InputRefusedError, CallFailedError, or an AbortError. */
export async function resolveDataset(ref: string, options: Pick<DatasetFetchOptions, "registry" | "signal" | "say">): Promise<ResolvedDataset> {
  const found = await patiently(() => options.registry.resolve(ref, options.signal), options, (error) => options.say(`${error.message}; asking for ${ref} again`));
  if (!/^[0-9a-f]{64}$/.test(found.contentHash) || !DATA_FORMATS.includes(found.format)) throw new InputRefusedError(`The control plane describes ${ref} in a way that this agent does not understand.`, "Bring agent and control plane to the same version.");
  return found;
}

/** The path of a file with the data set's content. Throws InputRefusedError, CallFailedError, what the file system throws, or an AbortError. */
export async function fileOfDataset(dataset: ResolvedDataset, options: DatasetFetchOptions): Promise<string> {
  const name = `${dataset.name}@${dataset.version}`;
  const own = join(options.datasetsRoot, `${dataset.contentHash}.${dataset.format}`);
  for (const path of [...(await placesOf(dataset, options.roots)), own]) {
    if (!(await isThis(path, dataset, options))) continue;
    if (path === own) await utimes(own, new Date(), new Date()).catch(() => undefined); // housekeeping goes by this
    options.say(`${name} is here: ${path}`);
    return path;
  }
  if (!dataset.downloadable) {
    throw new InputRefusedError(
      `The content of data set ${name} is not on this agent${dataset.path === null ? "" : ` (${dataset.path} is gone, has changed, or lies outside its data directories)`}, and the control plane does not have it.`,
      "Run the stage on the agent that has the file (resources.labels), put the file into this agent's data directories, or upload it: trainyard data add <file>.",
    );
  }
  options.say(`fetching ${name} (${dataset.sizeBytes} bytes) from the control plane`);
  await transfer(dataset, own, options);
  return own;
}

/** Where the file may lie already, as far as this agent may read there. */
async function placesOf({ path, elsewhere = [] }: ResolvedDataset, roots: DataRoots): Promise<string[]> {
  const told = [...new Set(path === null ? elsewhere : [path, ...elsewhere])];
  const found = await Promise.all(told.filter((place) => isAbsolute(place)).map((place) => roots.locate(place).catch(() => null)));
  return found.filter((place) => place !== null);
}

/** F1. */
async function isThis(path: string, dataset: ResolvedDataset, { signal, progress }: DatasetFetchOptions): Promise<boolean> {
  const size = await stat(path).then((found) => (found.isFile() ? found.size : null), () => null);
  if (size !== dataset.sizeBytes) return false;
  const { sha256 } = await hashFile(path, { signal, onBytes: progress.counter(size) });
  return sha256 === dataset.contentHash;
}

async function transfer(dataset: ResolvedDataset, path: string, options: DatasetFetchOptions): Promise<void> {
  const aside = `${path}.${options.owner}.part`;
  await mkdir(options.datasetsRoot, { recursive: true, mode: 0o700 });
  const count = options.progress.counter(dataset.sizeBytes);
  let transfers = 0;
  try {
    const sha256 = await patiently(() => {
      transfers++;
      return receive(dataset, aside, count, options);
    }, options, (error) => {
      if (transfers >= TRANSFERS) throw error;
      options.say(`${error.message}; fetching it again`);
    });
    if (sha256 !== dataset.contentHash) throw new InputRefusedError(`The control plane sent other bytes for data set ${dataset.name}@${dataset.version} than were registered (sha256 ${sha256}, registered ${dataset.contentHash}).`, "The file behind it was changed on the control plane's host. Register it anew, or restore it.");
    await rename(aside, path);
  } finally {
    await rm(aside, { force: true });
  }
}

/** Writes the content to `aside`; resolves with its hash when it is on disk. */
async function receive(dataset: ResolvedDataset, aside: string, count: (bytes: number) => void, { registry, signal }: DatasetFetchOptions): Promise<string> {
  const content = await registry.content(dataset.datasetId, signal);
  const hash = createHash("sha256");
  let size = 0;
  const watched = new Transform({
    transform(chunk: Buffer, _, done) {
      size += chunk.length;
      if (size > dataset.sizeBytes) return done(new InputRefusedError(`The control plane sends more bytes for data set ${dataset.name}@${dataset.version} than were registered.`, "The file behind it was changed on the control plane's host. Register it anew, or restore it."));
      hash.update(chunk);
      count(size);
      done(null, chunk);
    },
  });
  try {
    await pipeline(content, watched, createWriteStream(aside, { mode: 0o600 }), { signal });
  } catch (error) {
    if (signal.aborted || error instanceof InputRefusedError || isLocal(error)) throw error;
    throw new CallFailedError(`the transfer of data set ${dataset.name}@${dataset.version} broke off after ${size} of ${dataset.sizeBytes} bytes (${(error as Error).message})`, error);
  }
  if (size < dataset.sizeBytes) throw new CallFailedError(`the transfer of data set ${dataset.name}@${dataset.version} ended after ${size} of ${dataset.sizeBytes} bytes`);
  const file = await open(aside, "r+");
  await file.sync().finally(() => file.close());
  return hash.digest("hex");
}

/** Errors of this host's own disk carry a system call on a path. */
function isLocal(error: unknown): boolean {
  return typeof (error as NodeJS.ErrnoException).path === "string" || (error as NodeJS.ErrnoException).syscall === "write" && /^(ENOSPC|EDQUOT|EIO|EROFS)$/.test((error as NodeJS.ErrnoException).code ?? "");
}

/** F3. `failed` hears of each failure that is repeated, and may end it by throwing. */
async function patiently<T>(act: () => Promise<T>, { signal }: { readonly signal: AbortSignal }, failed: (error: Error) => void): Promise<T> {
  const waits = backoff(FIRST_WAIT_MS, LONGEST_WAIT_MS);
  for (;;) {
    try {
      return await act();
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof CallRefusedError && !error.retryable) throw new InputRefusedError(error.message, error.code === "NOT_FOUND" ? "List what is registered: trainyard data ls." : null);
      if (!(error instanceof CallRefusedError || error instanceof CallFailedError)) throw error;
      failed(error);
      await waits.wait(signal);
      signal.throwIfAborted();
    }
  }
}

/** Removes fetched files that nothing used for `keepDays`, and what a killed agent left of transfers. 0 keeps all. Resolves with what was removed. */
export async function removeOldDatasets(options: { datasetsRoot: string; keepDays: number; now: number }): Promise<string[]> {
  const { datasetsRoot, keepDays, now } = options;
  const removed: string[] = [];
  for (const name of await readdir(datasetsRoot).catch(() => [] as string[])) {
    if (!/^[0-9a-f]{64}\./.test(name)) continue;
    const keepMs = name.endsWith(".part") ? 86_400_000 : keepDays === 0 ? Number.POSITIVE_INFINITY : keepDays * 86_400_000;
    const path = join(datasetsRoot, name);
    const found = await stat(path).catch(() => null);
    if (found === null || now - found.mtimeMs < keepMs) continue;
    await rm(path, { force: true });
    removed.push(path);
  }
  return removed;
}
