// Files to and from a host: pushed into a store by content hash, fetched as whole folders. One of it for each link; whoever closes the link closes it before.
//   F1. It lives through cuts by itself (over-cuts.ts): what has arrived is compared and gone on from, on either side.
//   F2. Of several pushes of one hash at once one sends; the others wait and find it there.
//   F3. Of several fetches into one file at once in this process one fetches.
//   F4. What a store holds goes when nobody used or asked for it for some days (`use`, `sweep`; S5 of helper-store.ts).

import { setMaxListeners } from "node:events";
import { open, type FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { localDigest } from "./digests.js";
import { fetchOnce, listTree, makeFolder, type FetchedFile } from "./fetch-tree.js";
import type { HostLink } from "./host-link.js";
import { inWords, overCuts } from "./over-cuts.js";
import { pushOnce } from "./push-file.js";
import { createSlots, type Slots } from "./slots.js";
import { SshError } from "./ssh-error.js";
import { openTransferLines, type TransferLines } from "./transfer-lines.js";

/** How a transfer goes on. Bytes of this file; what was there before counts as done. */
export interface TransferProgress {
  /** The path on this machine. */
  readonly path: string;
  readonly phase: "hashing" | "checking" | "sending" | "fetching" | "verifying";
  readonly doneBytes: number;
  readonly totalBytes: number;
}

export interface TransferOptions {
  readonly signal?: AbortSignal;
  readonly progress?: (progress: TransferProgress) => void;
}

export interface LocalFile {
  /** Absolute, on this machine. */
  readonly path: string;
  /** What programs on the host see: one part of a path. The last part of `path` by default. */
  readonly name?: string;
  /** Hex, when it is known; otherwise the file is read once more. */
  readonly sha256?: string;
}

export interface PushedFile {
  /** Absolute, on the host: <working directory>/store/<sha256>/<name>. Read-only. */
  readonly path: string;
  readonly sha256: string;
  readonly sizeBytes: number;
  /** What passed the line; 0 when the host had it. */
  readonly sentBytes: number;
}

export interface FetchedTree {
  readonly files: readonly FetchedFile[];
  /** Links and special files, which were left there; below the folder, with slashes. */
  readonly skipped: readonly { readonly path: string; readonly kind: string }[];
}

export interface FileSync {
  readonly lines: TransferLines;
  /** Resolves when the file is whole and verified on the host. Waits for a host that is away until the signal aborts. A part that was sent stays for the next push. Throws SshError, or the signal's reason. */
  push(file: LocalFile, options?: TransferOptions): Promise<PushedFile>;
  /** Several at once, in their order. The first error ends the others. */
  pushAll(files: readonly LocalFile[], options?: TransferOptions): Promise<readonly PushedFile[]>;
  /** Brings a folder home with everything below it. Folders and files that are here and not there stay. Several files at once; the first error ends the others. `progress` counts the bytes of all files. Throws as `push` does. */
  fetchTree(remoteFolder: string, localFolder: string, options?: TransferOptions): Promise<FetchedTree>;
  /** F4. Notes on the host that an attempt uses pushed files; names those of the hashes that are not there any more. Waits as `push` does. Throws SshError, or the signal's reason. */
  use(attemptId: string, hashes: readonly string[], signal?: AbortSignal): Promise<readonly string[]>;
  /** F4. `heldBy`: ids of attempts that go on. Names what went. Throws SshError. */
  sweep(olderThanDays: number, heldBy: readonly string[]): Promise<readonly string[]>;
  /** Ends what is under way. May be called twice. */
  close(): void;
}

const AT_ONCE = 4;
const DAY_SECONDS = 86_400;

export function openFileSync(link: HostLink): FileSync {
  const lines = openTransferLines(link);
  const turns = new Map<string, { readonly slots: Slots; users: number }>();

  /** F2. */
  const inTurn = async <T>(hash: string, signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> => {
    const turn = turns.get(hash) ?? { slots: createSlots(1), users: 0 };
    turns.set(hash, turn);
    turn.users++;
    let release: (() => void) | undefined;
    try {
      release = await turn.slots.take(signal);
      return await work();
    } finally {
      release?.();
      if (--turn.users === 0) turns.delete(hash);
    }
  };

  const push = async (local: LocalFile, { signal, progress }: TransferOptions = {}): Promise<PushedFile> => {
    const { path, name = path.slice(path.lastIndexOf("/") + 1) } = local;
    if (name === "" || name === "." || name === ".." || /[/\0]/.test(name) || Buffer.byteLength(name) > 255) throw new SshError("SSH_LOCAL_FILE", link.name, `${JSON.stringify(name)} is no name for a file on it.`);
    const { file, sizeBytes } = await openHere(link.name, path);
    const say = (phase: TransferProgress["phase"], doneBytes: number): void => progress?.({ path, phase, doneBytes, totalBytes: sizeBytes });
    let sentBytes = 0;
    try {
      const sha256 = local.sha256 ?? (await localDigest(file, { progressed: (bytes) => say("hashing", bytes), signal }));
      const there = await inTurn(sha256, signal, () => overCuts(link, signal, (helper, moved) => pushOnce(lines, helper, {
        path, file, sizeBytes, sha256, name, signal, progress: say,
        sent: (bytes) => {
          sentBytes += bytes;
          moved();
        },
      })));
      return { path: there, sha256, sizeBytes, sentBytes };
    } finally {
      await file.close();
    }
  };

  return {
    lines, push,
    pushAll: (files, options = {}) => severalAtOnce(files, options.signal, (file, signal) => push(file, { ...options, signal })),
    async fetchTree(remoteFolder, localFolder, { signal: outer, progress } = {}) {
      const entries = await overCuts(link, outer, (helper) => listTree(helper, link.name, remoteFolder));
      await makeFolder(link.name, localFolder);
      for (const { parts, stat } of entries) if (stat.kind === "folder") await makeFolder(link.name, join(localFolder, ...parts));
      const found = entries.filter(({ stat }) => stat.kind === "file");
      const totalBytes = found.reduce((sum, { stat }) => sum + stat.size, 0);
      const done = new Map<string, number>();
      let doneBytes = 0;
      const files = await severalAtOnce(found, outer, async ({ parts }, signal): Promise<FetchedFile> => {
        const [remote, local, path] = [[remoteFolder, ...parts].join("/"), join(localFolder, ...parts), parts.join("/")];
        let fetchedBytes = 0;
        const fetched = await inTurn(local, signal, () => overCuts(link, signal, (helper, moved) => fetchOnce(lines, helper, {
          remote, local, signal,
          progress: (phase, bytes) => {
            if (phase === "fetching") {
              doneBytes += bytes - (done.get(path) ?? 0);
              done.set(path, bytes);
            }
            progress?.({ path: local, phase, doneBytes, totalBytes });
          },
          came: (bytes) => {
            fetchedBytes += bytes;
            moved();
          },
        })));
        doneBytes += fetched.sizeBytes - (done.get(path) ?? 0);
        done.set(path, fetched.sizeBytes);
        progress?.({ path: local, phase: "fetching", doneBytes, totalBytes });
        return { path, ...fetched, fetchedBytes };
      });
      return { files, skipped: entries.filter(({ stat }) => stat.kind !== "file" && stat.kind !== "folder").map(({ parts, stat }) => ({ path: parts.join("/"), kind: stat.kind })) };
    },
    use: (attemptId, hashes, signal) => overCuts(link, signal, ({ store, facts }) => store.use(`${facts.directory}/store`, attemptId, hashes)),
    async sweep(olderThanDays, heldBy) {
      const helper = await link.helper();
      return helper.store.sweep(`${helper.facts.directory}/store`, olderThanDays * DAY_SECONDS, heldBy).catch((error: unknown) => { throw inWords(link.name, error); });
    },
    close: () => lines.close(),
  };
}

/** AT_ONCE at a time, in their order; the first error ends the others. */
async function severalAtOnce<T, R>(items: readonly T[], outer: AbortSignal | undefined, work: (item: T, signal: AbortSignal) => Promise<R>): Promise<R[]> {
  const slots = createSlots(AT_ONCE);
  const ending = new AbortController();
  const signal = outer === undefined ? ending.signal : AbortSignal.any([ending.signal, outer]);
  setMaxListeners(0, signal); // each that waits listens
  try {
    return await Promise.all(items.map(async (item) => {
      const release = await slots.take(signal);
      try {
        return await work(item, signal);
      } finally {
        release();
      }
    }));
  } catch (error) {
    ending.abort(error);
    throw error;
  }
}

async function openHere(name: string, path: string): Promise<{ readonly file: FileHandle; readonly sizeBytes: number }> {
  const refused = (reason: string, cause?: unknown): SshError => new SshError("SSH_LOCAL_FILE", name, `${path} on this machine cannot be sent to it: ${reason}.`, { cause });
  const file = await open(path, "r").catch((error: unknown) => { throw refused((error as Error).message, error); });
  const stat = await file.stat();
  if (stat.isFile()) return { file, sizeBytes: stat.size };
  await file.close();
  throw refused("it is no regular file");
}
