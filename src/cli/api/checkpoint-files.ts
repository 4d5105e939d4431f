// The files of a checkpoint, from the server to a folder here.
//   F1. A file has its final name only when it is whole, synced, and has the sha256 that the server found; until then it is `.<name>.<8 hex digits>.partial` beside it.
//   F2. Those digits stand for checkpoint, path and version: a part of another file, or of what the file was before, is never gone on from.
//   F3. A part that is here is hashed and gone on from by a range. A whole file that is here is compared, and fetched again only when it differs.
//   F4. What the server calls its files leads never out of the folder.

import { createHash, type Hash } from "node:crypto";
import { constants } from "node:fs";
import { lstat, mkdir, open, rename, type FileHandle } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { Cli } from "../cli.js";
import { CliError, EXIT } from "../exit-codes.js";
import { BrokenOffError, dataRequest, DataRefusal, overBreaks } from "./data-request.js";

export interface ListedFile { readonly path: string; readonly sizeBytes: number; readonly version: string }
export interface CheckpointListing {
  readonly id: string; readonly host: string; readonly path: string; readonly step: number;
  readonly files: readonly ListedFile[]; readonly folders: readonly string[]; readonly skipped: readonly { readonly path: string; readonly kind: string }[];
}

/** Files at once. */
const AT_ONCE = 3;
/** A line on which nothing comes for so long is taken for broken, in milliseconds. */
const SILENT_MS = 60_000;

const pathOf = (id: string, what = ""): string => `/data/v1/checkpoints/${encodeURIComponent(id)}${what}`;

/** Throws CliError. */
export async function listCheckpointFiles(cli: Cli, id: string): Promise<CheckpointListing> {
  const listing = (await (await dataRequest(cli, pathOf(id))).json()) as CheckpointListing;
  for (const path of [...listing.folders, ...listing.files.map((file) => file.path)]) { // F4
    if (path.split("/").some((part) => part === "" || part === "." || part === ".." || part.includes("\0"))) throw new CliError(EXIT.failure, `The server names a file ${JSON.stringify(path)}, which would lie outside the folder.`, { hint: "Nothing was fetched. Look at the checkpoint on its host." });
  }
  return listing;
}

/** Fetches everything into `folder`. `moved` is told the bytes of all files that are here. Throws CliError; what came stays for the next call. */
export async function fetchCheckpointFiles(cli: Cli, listing: CheckpointListing, folder: string, moved: (bytes: number) => void): Promise<{ readonly fetchedBytes: number }> {
  await onDisk(folder, () => mkdir(folder, { recursive: true }));
  for (const path of [...listing.folders].sort()) await onDisk(join(folder, path), () => mkdir(join(folder, path), { recursive: true }));
  const ending = new AbortController();
  const here = new Map<string, number>();
  let [sum, fetchedBytes, next] = [0, 0, 0];
  const worker = async (): Promise<void> => {
    for (;;) {
      const file = listing.files[next++];
      if (file === undefined) return;
      await fetchFile(cli, listing.id, file, join(folder, ...file.path.split("/")), ending.signal, (bytes) => {
        sum += bytes - (here.get(file.path) ?? 0);
        here.set(file.path, bytes);
        moved(sum);
      }, (bytes) => { fetchedBytes += bytes; });
    }
  };
  try {
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
  } catch (error) {
    ending.abort(error);
    throw error;
  }
  return { fetchedBytes };
}

async function fetchFile(cli: Cli, id: string, file: ListedFile, local: string, signal: AbortSignal, have: (bytes: number) => void, came: (bytes: number) => void): Promise<void> {
  const there = overBreaks(signal, () => digestThere(cli, id, file, signal));
  there.catch(() => undefined); // awaited below
  if (await isHere(local, file.sizeBytes, there)) return have(file.sizeBytes); // F3
  const identity = createHash("sha256").update(JSON.stringify([id, file.path, file.version])).digest("hex").slice(0, 8);
  const partial = join(dirname(local), `.${basename(local)}.${identity}.partial`); // F2
  const handle = await onDisk(partial, () => open(partial, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o666));
  try {
    for (let corrupt = 0; ;) {
      const hash = createHash("sha256");
      let at = await hashPart(handle, hash, file.sizeBytes);
      have(at);
      await overBreaks(signal, async (moved) => {
        if (at < file.sizeBytes) {
          await receive(cli, id, file, at, signal, async (bytes) => {
            await onDisk(partial, () => writeAll(handle, bytes, at));
            hash.update(bytes);
            at += bytes.length;
            moved();
            came(bytes.length);
            have(at);
          });
        }
      });
      if (hash.digest("hex") === (await there)) break;
      await onDisk(partial, () => handle.truncate(0));
      if (++corrupt > 1) throw new CliError(EXIT.failure, `${file.path} arrived twice with another content than it has on its host.`, { hint: "Check disk and memory of both machines; nothing of it was kept." });
    }
    await onDisk(local, async () => {
      await handle.truncate(file.sizeBytes);
      await handle.sync();
      await rename(partial, local); // F1
    });
  } finally {
    await handle.close();
  }
}

/** Whether the file is here already, whole and equal. */
async function isHere(local: string, sizeBytes: number, there: Promise<string>): Promise<boolean> {
  const found = await lstat(local).catch(() => null);
  if (found?.isFile() !== true || found.size !== sizeBytes) return false;
  const handle = await onDisk(local, () => open(local, constants.O_RDONLY | constants.O_NOFOLLOW));
  try {
    const hash = createHash("sha256");
    await hashPart(handle, hash, sizeBytes);
    return hash.digest("hex") === (await there);
  } finally {
    await handle.close();
  }
}

/** Hashes what there is, up to `limit`; returns how much that is. */
async function hashPart(handle: FileHandle, hash: Hash, limit: number): Promise<number> {
  const buffer = Buffer.allocUnsafeSlow(1 << 20);
  for (let at = 0; ;) {
    const { bytesRead } = await handle.read(buffer, 0, Math.min(buffer.length, limit - at), at);
    if (bytesRead === 0) return at;
    hash.update(buffer.subarray(0, bytesRead));
    at += bytesRead;
  }
}

/** Hands over the bytes of a file from `from` on. Throws BrokenOffError when they end early. */
async function receive(cli: Cli, id: string, file: ListedFile, from: number, signal: AbortSignal, take: (bytes: Uint8Array) => Promise<void>): Promise<void> {
  const response = await requestOf(cli, id, file, "/file", { "if-match": `"${file.version}"`, ...(from === 0 ? {} : { range: `bytes=${from}-` }) }, signal);
  if (response.status !== (from === 0 ? 200 : 206)) throw new CliError(EXIT.failure, `The server answers ${response.status} where ${file.path} should go on.`, { hint: "A proxy in between may not let ranges through." });
  let left = file.sizeBytes - from;
  for await (const bytes of bodyOf(response, file.path)) {
    left -= bytes.length;
    if (left < 0) throw new CliError(EXIT.failure, `The server sends more of ${file.path} than it announced.`, { hint: "A proxy in between may change what passes." });
    await take(bytes);
  }
  if (left > 0) throw new BrokenOffError(EXIT.failure, `The connection broke while ${file.path} came.`);
}

/** sha256 of a file where it lies. */
async function digestThere(cli: Cli, id: string, file: ListedFile, signal: AbortSignal): Promise<string> {
  let text = "";
  for await (const bytes of bodyOf(await requestOf(cli, id, file, "/sha256", {}, signal), file.path)) {
    text += Buffer.from(bytes).toString("utf8");
    text = text.slice(text.lastIndexOf("\n", text.length - 2) + 1); // the last line
  }
  const last = text.endsWith("\n") ? (JSON.parse(text) as { sha256?: string; version?: string; error?: { code: string; message: string; retryable: boolean } }) : {};
  if (last.error !== undefined) throw new DataRefusal(EXIT.failure, last.error.code, last.error.message, last.error.retryable);
  if (last.sha256 === undefined) throw new BrokenOffError(EXIT.failure, `The connection broke while ${file.path} was hashed on its host.`);
  if (last.version !== file.version) throw changed(file.path);
  return last.sha256;
}

async function requestOf(cli: Cli, id: string, file: ListedFile, what: string, headers: Readonly<Record<string, string>>, signal: AbortSignal): Promise<Response> {
  return dataRequest(cli, pathOf(id, what), { path: file.path }, headers, signal).catch((error: unknown) => {
    throw error instanceof DataRefusal && (error.code === "FILE_CHANGED" || error.code === "SSH_FILE_CHANGED") ? changed(file.path) : error;
  });
}

function changed(path: string): CliError {
  return new CliError(EXIT.failure, `${path} changed on its host while it was fetched.`, { hint: "Fetch again when whoever writes it has finished." });
}

async function* bodyOf(response: Response, what: string): AsyncGenerator<Uint8Array, void> {
  const reader = (response.body as ReadableStream<Uint8Array>).getReader();
  try {
    for (;;) {
      let timer: NodeJS.Timeout | undefined;
      const step = await Promise.race([reader.read(), new Promise<never>((_, reject) => { timer = setTimeout(() => reject(new Error("nothing came")), SILENT_MS); })])
        .catch((error: unknown) => { throw new BrokenOffError(EXIT.failure, `The connection broke while ${what} came.`, { cause: error }); }).finally(() => clearTimeout(timer));
      if (step.done) return;
      yield step.value;
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}

async function writeAll(handle: FileHandle, bytes: Uint8Array, offset: number): Promise<void> {
  for (let done = 0; done < bytes.length;) done += (await handle.write(bytes, done, bytes.length - done, offset + done)).bytesWritten;
}

async function onDisk<T>(path: string, work: () => Promise<T>): Promise<T> {
  return work().catch((error: unknown) => {
    throw new CliError(EXIT.failure, `${path} cannot be written: ${(error as Error).message}.`, { hint: "Free space, correct the permissions, or name another folder with --to. What has come stays, and the same command goes on from there.", cause: error });
  });
}
