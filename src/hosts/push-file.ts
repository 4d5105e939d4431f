// Brings one file into the store on a host, under its sha256.
//   P1. <working directory>/store/<sha256>/<name> is whole whenever it is visible: it is written as <sha256>.partial beside the folder, its digest is compared on the host, then it is renamed.
//   P2. What is there already is not sent: a file that is held is named, one under another name is linked. One that was touched since it arrived is hashed again, and replaced when it differs.
//   P3. A part that is there is compared before it is gone on from. It stays after a cut and after an abort, and goes when the file can never become whole.
//   P4. One writer of a hash at a time, on the host (a lock) as well as in this process; the others wait and find it there.

import type { FileHandle } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { commonBeginning, localDigest, remoteDigest } from "./digests.js";
import { inWords } from "./over-cuts.js";
import type { RemoteHelper } from "./remote-helper.js";
import { SftpFailure, withRemoteFile } from "./sftp-files.js";
import { SshError } from "./ssh-error.js";
import type { TransferLines } from "./transfer-lines.js";
import { LocalDiskError } from "./transfer-thread.js";

/** Interval of looking whether another writer has finished, in milliseconds. */
const LOOK_MS = 500;
/** The digest on the host follows what has arrived by steps of this length, in bytes. */
const CHASE = 32 * 1024 * 1024;

export interface PushJob {
  readonly path: string;
  readonly file: FileHandle;
  readonly sizeBytes: number;
  readonly sha256: string;
  /** What programs on the host see. */
  readonly name: string;
  readonly signal: AbortSignal | undefined;
  readonly progress: (phase: "checking" | "sending" | "verifying", doneBytes: number) => void;
  /** Bytes that arrived and need not be sent again. */
  readonly sent: (bytes: number) => void;
}

/** Resolves with the file's path on the host. Throws SshError and what overCuts understands. */
export async function pushOnce(lines: TransferLines, helper: RemoteHelper, job: PushJob): Promise<string> {
  const { store } = helper;
  const folder = `${helper.facts.directory}/store/${job.sha256}`;
  const partial = `${folder}.partial`;
  for (let corrupt = 0; ;) {
    const before = await heldWhole(helper, folder, job);
    if (before !== null) return before;
    const claim = await store.claim(partial).catch((error: unknown) => {
      const known = inWords(lines.name, error);
      throw known instanceof SshError && known.code === "SSH_TRANSFER_FAILED" ? new SshError("SSH_DIRECTORY_REFUSED", lines.name, `${(error as Error).message}. Give the user the right to it, or name another working directory.`, { cause: error }) : known;
    });
    if (!claim.claimed) { // P4
      await delay(LOOK_MS, undefined, job.signal === undefined ? {} : { signal: job.signal });
      continue;
    }
    let drop = claim.size === 0;
    try {
      const meanwhile = await heldWhole(helper, folder, job);
      if (meanwhile !== null) {
        drop = true;
        return meanwhile;
      }
      const found = await write(lines, helper, partial, claim, job, () => { drop = false; });
      drop = true;
      if (found === job.sha256) { // P1
        await store.keep(partial, `${folder}/${job.name}`, job.sizeBytes);
        return `${folder}/${job.name}`;
      }
      const here = await localDigest(job.file, { signal: job.signal });
      if (here !== job.sha256) throw new SshError("SSH_LOCAL_FILE", lines.name, `${job.path} on this machine has the sha256 ${here} where ${job.sha256} was expected: it changed. Nothing of it was left on the host.`);
      if (++corrupt > 1) throw new SshError("SSH_FILE_CORRUPT", lines.name, `${job.path} arrived twice with another content than it was sent with (sha256 ${found ?? "of less than the whole"} instead of ${job.sha256}). Check disk and memory of the host. Nothing of it was left there.`);
    } catch (error) {
      drop ||= error instanceof SshError && ["SSH_DISK_FULL", "SSH_DIRECTORY_REFUSED", "SSH_LOCAL_FILE"].includes(error.code);
      throw error;
    } finally {
      await store.unclaim(partial, drop).catch(() => undefined); // P3; the end of a helper is the end of its claims
    }
  }
}

/** P2. */
async function heldWhole({ store }: RemoteHelper, folder: string, { name, sizeBytes, sha256, signal, progress }: PushJob): Promise<string | null> {
  const { path, whole } = await store.held(folder, name, sizeBytes);
  if (path === null || whole) return path;
  if (await remoteDigest(store, path, { progressed: (bytes) => progress("verifying", bytes), signal }).advance(sizeBytes, true) === sha256) return path;
  await store.discard(folder);
  return null;
}

/** Writes what is missing of the partial file. Resolves with the digest that the whole has on the host. */
async function write(lines: TransferLines, helper: RemoteHelper, partial: string, claim: { readonly size: number; readonly free: number }, job: PushJob, kept: () => void): Promise<string | null> {
  const { file, sizeBytes, signal, progress } = job;
  if (sizeBytes > claim.size + claim.free) {
    throw new SshError("SSH_DISK_FULL", lines.name, `${job.path} needs ${sizeBytes - claim.size} bytes more, and the disk of ${partial} has ${claim.free} left. Free space, or name a working directory on a larger disk.`);
  }
  const common = await commonBeginning(file, helper.store, partial, Math.min(claim.size, sizeBytes), (bytes) => progress("checking", bytes), signal); // P3
  const digest = remoteDigest(helper.store, partial, { begun: common.begun, progressed: (bytes) => { if (arrived === sizeBytes) progress("verifying", bytes); }, signal });
  let arrived = common.bytes;
  const chase: { running: Promise<unknown> | null } = { running: null };
  progress("sending", arrived);
  try {
    if (arrived < sizeBytes) {
      await withRemoteFile(lines, { path: partial, bytes: sizeBytes - arrived, mode: "r+", signal }, async (remote) => {
        for await (const to of remote.push(file.fd, arrived, sizeBytes, () => localFile(lines.name, `${job.path} on this machine became shorter while it was sent. Send it when whoever writes it has finished`))) {
          kept();
          job.sent(to - arrived);
          arrived = to;
          progress("sending", arrived);
          if (chase.running === null && arrived - digest.at() >= CHASE) chase.running = digest.advance(arrived).catch(() => undefined).finally(() => { chase.running = null; });
        }
      });
    }
  } catch (error) {
    if (error instanceof LocalDiskError) throw localFile(lines.name, `${job.path} on this machine cannot be read: ${error.message}`, error);
    if (error instanceof SftpFailure) {
      await helper.store.probe(partial).catch((cause: unknown) => { throw inWords(lines.name, cause); });
      throw new SshError("SSH_TRANSFER_FAILED", lines.name, `its SFTP server stopped taking ${job.path} (${error.message}), and a try to write there met nothing wrong. Look at quotas and the log of sshd.`, { cause: error });
    }
    throw error;
  }
  await chase.running;
  return digest.advance(sizeBytes, true);
}

function localFile(name: string, what: string, cause?: unknown): SshError {
  return new SshError("SSH_LOCAL_FILE", name, `${what}. Nothing of it was left on the host.`, { cause });
}
