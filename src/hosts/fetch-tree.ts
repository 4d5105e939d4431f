// Brings a whole folder home from a host.
//   T1. A file is visible under its name only when it is whole and has the sha256 that it has on the host; until then it is `.<name>.<8 hex digits>.partial` beside it.
//   T2. Those digits stand for host, path, size and time of what is fetched: parts of two different files are never mixed, however many fetch into one folder.
//   T3. A part that is here is compared before it is gone on from. A file that is here whole is compared and not fetched again.
//   T4. Links and special files are neither followed nor fetched, but named. What the host calls its files leads never out of the local folder.

import { createHash } from "node:crypto";
import { constants } from "node:fs";
import { lstat, mkdir, open, readdir, rename, rm, type FileHandle } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { commonBeginning, localDigest, remoteDigest } from "./digests.js";
import type { RemoteHelper, RemoteStat } from "./remote-helper.js";
import { withRemoteFile } from "./sftp-files.js";
import { SshError } from "./ssh-error.js";
import { threadDigest } from "./thread-digest.js";
import type { TransferLines } from "./transfer-lines.js";
import { LocalDiskError } from "./transfer-thread.js";

/** The digests follow what has come by steps of this length, in bytes. */
const CHASE = 32 * 1024 * 1024;
/** What is still to come from here on is worth a thread of its own for its digest, in bytes. */
const LARGE = 64 * 1024 * 1024;
/** The helper names so many entries of one folder at most. */
const ENTRIES = 100_000;
const DEPTH = 64;
/** A part that nobody has written to for so long is nobody's, in milliseconds. */
const FORGOTTEN_MS = 86_400_000;

export interface RemoteEntry {
  /** Parts below the folder. */
  readonly parts: readonly string[];
  readonly stat: RemoteStat;
}

export interface FetchedFile {
  /** Below the folder, with slashes. */
  readonly path: string;
  readonly sizeBytes: number;
  readonly sha256: string;
  /** What passed the line; 0 when it was here. */
  readonly fetchedBytes: number;
}

/** Everything below a folder on the host, folders before what is in them (T4). Throws SshError and what overCuts understands. */
export async function listTree(helper: RemoteHelper, name: string, folder: string): Promise<readonly RemoteEntry[]> {
  const [root] = await helper.stat([folder]);
  if (root?.kind !== "folder") throw new SshError("SSH_FILE_MISSING", name, `there is no folder ${folder}${root == null ? "" : ` (it is a ${root.kind})`}. It may have been tidied up; look at the host.`);
  const found: RemoteEntry[] = [];
  const walk = async (path: string, parts: readonly string[]): Promise<void> => {
    if (parts.length > DEPTH) throw new SshError("SSH_TRANSFER_FAILED", name, `${path} lies more than ${DEPTH} folders deep. Fetch a folder further down.`);
    const entries = await helper.list(path);
    if (entries.length >= ENTRIES) throw new SshError("SSH_TRANSFER_FAILED", name, `${path} has ${ENTRIES} entries or more. Pack them into an archive there.`);
    for (const { name: entry, ...stat } of entries) {
      if (entry === "" || entry === "." || entry === ".." || /[/\0]/.test(entry) || !entry.isWellFormed()) throw new SshError("SSH_TRANSFER_FAILED", name, `${path} has an entry ${JSON.stringify(entry)}, which is no name of UTF-8. Rename it there.`); // T4
      if (stat.kind === "gone") continue;
      found.push({ parts: [...parts, entry], stat });
      if (stat.kind === "folder") await walk(`${path}/${entry}`, [...parts, entry]);
    }
  };
  await walk(folder, []);
  return found;
}

export interface FetchJob {
  /** Absolute, on the host. */
  readonly remote: string;
  /** Absolute, here; its folder exists. */
  readonly local: string;
  readonly signal: AbortSignal | undefined;
  readonly progress: (phase: "checking" | "fetching" | "verifying", doneBytes: number) => void;
  /** Bytes that came and need not come again. */
  readonly came: (bytes: number) => void;
}

/** Fetches one regular file. Resolves with its size and sha256. Throws SshError and what overCuts understands. */
export async function fetchOnce(lines: TransferLines, helper: RemoteHelper, job: FetchJob): Promise<{ readonly sizeBytes: number; readonly sha256: string }> {
  const { remote, local } = job;
  const stat = await regular(helper, lines.name, remote);
  const here = await lstat(local).catch(() => null);
  if (here?.isFile() === true && here.size === stat.size) { // T3
    const sha256 = await sameAs(helper, job, stat.size);
    if (sha256 !== null) return { sizeBytes: stat.size, sha256 };
  }
  const partial = partialOf(lines.name, job, stat);
  for (let corrupt = 0; ;) {
    const file = await onDisk(lines.name, partial, () => open(partial, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600));
    try {
      const { sha256, there } = await receive(lines, helper, file, partial, job, stat.size);
      const after = await regular(helper, lines.name, remote);
      if (after.size !== stat.size || after.changedMs !== stat.changedMs) throw new SshError("SSH_FILE_CHANGED", lines.name, `${remote} changed while it was fetched. Fetch it when whoever writes it has finished.`);
      if (sha256 === there) {
        await onDisk(lines.name, partial, async () => {
          await file.truncate(stat.size);
          await file.sync();
          await rename(partial, local);
          await removeOthers(local);
        });
        return { sizeBytes: stat.size, sha256 };
      }
      await file.truncate(0);
      if (++corrupt > 1) {
        await rm(partial, { force: true });
        throw new SshError("SSH_FILE_CORRUPT", lines.name, `${remote} arrived twice with another content than it has there (sha256 ${sha256} instead of ${there ?? "that of the whole"}). Check disk and memory of both machines.`);
      }
    } catch (error) {
      if (error instanceof SshError && error.code === "SSH_LOCAL_FILE") await rm(partial, { force: true }).catch(() => undefined);
      throw error;
    } finally {
      await file.close();
    }
  }
}

async function regular(helper: RemoteHelper, name: string, path: string): Promise<RemoteStat> {
  const [stat] = await helper.stat([path]);
  if (stat?.kind !== "file") throw new SshError("SSH_FILE_MISSING", name, `${path} is no regular file${stat == null ? ": there is nothing" : ` but a ${stat.kind}`}. It may have been tidied up; look at the host.`);
  return stat;
}

/** The sha256 of a file that is here already, when the one on the host has the same. */
async function sameAs(helper: RemoteHelper, { remote, local, signal, progress }: FetchJob, size: number): Promise<string | null> {
  const file = await open(local, constants.O_RDONLY | constants.O_NOFOLLOW).catch(() => null);
  if (file === null) return null;
  try {
    const common = await commonBeginning(file, helper.store, remote, size, (bytes) => progress("verifying", bytes), signal);
    return common.bytes === size ? common.hash.digest("hex") : null;
  } finally {
    await file.close();
  }
}

/** Fetches what is missing while the host hashes it. Pieces are written as they come: waiting for each before the next one would cost a good part of the time; the comparison of T3 finds the holes of a cut. What is
 *  hashed here is read back from the file. */
async function receive(lines: TransferLines, helper: RemoteHelper, file: FileHandle, partial: string, { remote, signal, progress, came }: FetchJob, size: number): Promise<{ readonly sha256: string; readonly there: string | null }> {
  const begun = await onDisk(lines.name, partial, () => file.stat());
  const common = await commonBeginning(file, helper.store, remote, Math.min(begun.size, size), (bytes) => progress("checking", bytes), signal); // T3
  const beside = size - common.bytes >= LARGE ? threadDigest(file.fd) : null;
  let arrived = common.bytes;
  const digest = remoteDigest(helper.store, remote, { begun: common.begun, progressed: (bytes) => { if (arrived === size) progress("verifying", bytes); }, signal });
  const chase: { running: Promise<unknown> | null } = { running: null };
  progress("fetching", arrived);
  try {
    if (arrived < size) {
      await withRemoteFile(lines, { path: remote, bytes: size - arrived, mode: "r", signal }, async (source) => {
        for await (const to of source.fetch(file.fd, arrived, size)) {
          came(to - arrived);
          arrived = to;
          progress("fetching", arrived);
          if (chase.running !== null || arrived - digest.at() < CHASE) continue;
          beside?.advance(arrived);
          chase.running = digest.advance(arrived).catch(() => undefined).finally(() => { chase.running = null; });
        }
      }).catch((error: unknown) => { throw error instanceof LocalDiskError ? unwritten(lines.name, partial, error) : error; });
    }
    await chase.running;
    const here = beside === null ? localDigest(file, { begun: common.hash, from: common.bytes, to: size, signal }) : beside.end(size);
    const [sha256, there] = await Promise.all([onDisk(lines.name, partial, () => here), digest.advance(size, true)]);
    return { sha256, there };
  } finally {
    await beside?.close();
  }
}

/** T2. */
function partialOf(name: string, { remote, local }: FetchJob, { size, changedMs }: RemoteStat): string {
  const identity = createHash("sha256").update(JSON.stringify([name, remote, size, changedMs])).digest("hex").slice(0, 8);
  return join(dirname(local), `.${basename(local)}.${identity}.partial`);
}

/** Parts of what this file was before on the host; not what somebody may be fetching now. */
async function removeOthers(local: string): Promise<void> {
  const begin = `.${basename(local)}.`;
  for (const entry of await readdir(dirname(local))) {
    if (!entry.startsWith(begin) || !/^[0-9a-f]{8}\.partial$/.test(entry.slice(begin.length))) continue;
    const path = join(dirname(local), entry);
    if (Date.now() - ((await lstat(path).catch(() => null))?.mtimeMs ?? Date.now()) > FORGOTTEN_MS) await rm(path, { force: true });
  }
}

export async function makeFolder(name: string, path: string): Promise<void> {
  await onDisk(name, path, () => mkdir(path, { recursive: true, mode: 0o700 }));
}

async function onDisk<T>(name: string, path: string, work: () => Promise<T>): Promise<T> {
  return work().catch((error: unknown) => { throw unwritten(name, path, error); });
}

function unwritten(name: string, path: string, error: unknown): SshError {
  return new SshError("SSH_LOCAL_FILE", name, `${path} on this machine cannot be written: ${(error as Error).message}. Free space or correct the permissions.`, { cause: error });
}
