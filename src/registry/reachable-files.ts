// Which file of a data set this process can read: inside its folders, and with exactly the content of the version.
//   R1. A path that somebody reported proves nothing: size and sha256 must fit before a row of the file is shown.
//   R2. A file is hashed once: as long as neither its inode nor its times nor its size change, it keeps the verdict.

import { stat } from "node:fs/promises";
import { PathRefusedError, type DataRoots } from "../data/read/data-roots.js";
import { CONTROL_PLANE, type DatasetFile, type DatasetRow } from "../db/datasets.js";
import type { DataThread } from "./data-thread.js";

/** What tells that a file was not changed; times in milliseconds. */
export interface FileStamp { readonly sizeBytes: number; readonly changedMs: number; readonly inode: number }

export type Reach = { readonly path: string; readonly why?: undefined } | { readonly path: null; /** In words. */ readonly why: string };

export interface ReachableFiles {
  /** The first of the files that has the content. Waits up to `patienceMs` for a file that has to be hashed first. */
  find(dataset: DatasetRow, files: readonly DatasetFile[], patienceMs: number): Promise<Reach>;
  /** The first of the files that is inside the folders and has the size: for those who check the content themselves. */
  findBySize(dataset: DatasetRow, files: readonly DatasetFile[]): Promise<string | null>;
  /** Notes a verdict that was reached elsewhere. */
  know(path: string, stamp: FileStamp, contentHash: string): void;
}

const KNOWN_FILES = 2_000;

/** Null when there is no plain file. */
export async function stampOf(path: string): Promise<FileStamp | null> {
  const found = await stat(path).catch(() => null);
  return found === null || !found.isFile() ? null : { sizeBytes: found.size, changedMs: found.ctimeMs, inode: found.ino };
}

export function sameStamp(a: FileStamp, b: FileStamp): boolean {
  return a.sizeBytes === b.sizeBytes && a.changedMs === b.changedMs && a.inode === b.inode;
}

export function createReachableFiles(options: { readonly roots: DataRoots; readonly thread: Pick<DataThread, "hash"> }): ReachableFiles {
  const { roots, thread } = options;
  const known = new Map<string, { stamp: FileStamp; contentHash: string }>();
  const hashing = new Map<string, Promise<string>>();

  function know(path: string, stamp: FileStamp, contentHash: string): void {
    known.delete(path);
    if (known.size >= KNOWN_FILES) known.delete(known.keys().next().value!);
    known.set(path, { stamp, contentHash });
  }

  async function look(dataset: DatasetRow, file: DatasetFile): Promise<{ path: string; stamp: FileStamp } | string> {
    const who = file.agentId === CONTROL_PLANE ? "the control plane" : (file.agentName ?? "an agent that is gone");
    let path: string;
    try {
      path = await roots.locate(file.path);
    } catch (error) {
      if (!(error instanceof PathRefusedError)) throw error;
      return file.agentId === CONTROL_PLANE ? `${file.path} is gone from the data directories of the control plane` : `${file.path} lies on ${who}, out of the control plane's reach`;
    }
    const stamp = await stampOf(path);
    if (stamp === null) return `${file.path} is gone`;
    return stamp.sizeBytes === dataset.sizeBytes ? { path, stamp } : `${file.path} has another size now (${stamp.sizeBytes} bytes instead of ${dataset.sizeBytes})`;
  }

  /** The hash of the file as it stands, read once for all who ask meanwhile. */
  function hashOf(path: string, stamp: FileStamp): Promise<string> {
    const key = JSON.stringify([path, stamp]);
    const begun = hashing.get(key) ?? thread.hash(path).then(async ({ sha256 }) => {
      const after = await stampOf(path);
      if (after !== null && sameStamp(after, stamp)) know(path, stamp, sha256); // R2
      return sha256;
    }).finally(() => hashing.delete(key));
    hashing.set(key, begun);
    return begun;
  }

  async function hasContent(dataset: DatasetRow, file: DatasetFile, path: string, stamp: FileStamp, patienceMs: number): Promise<true | string> {
    const verdict = known.get(path);
    if (verdict !== undefined && sameStamp(verdict.stamp, stamp)) return verdict.contentHash === dataset.contentHash || `${file.path} has other content now`;
    if (file.agentId === CONTROL_PLANE && file.changedMs === stamp.changedMs) return true;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<null>((resolve) => { timer = setTimeout(() => resolve(null), patienceMs); });
    try {
      const hash = hashOf(path, stamp);
      hash.catch(() => undefined); // may come after our patience
      const found = await Promise.race([hash, late]);
      if (found === null) return `${file.path} is still being compared with the registered content: ask again in a moment`;
      return found === dataset.contentHash || `${file.path} has other content now`;
    } catch (error) {
      return `${file.path} cannot be read: ${(error as Error).message}`;
    } finally {
      clearTimeout(timer);
    }
  }

  return {
    know,
    async find(dataset, files, patienceMs) {
      const why: string[] = [];
      for (const file of files) {
        const found = await look(dataset, file);
        const verdict = typeof found === "string" ? found : await hasContent(dataset, file, found.path, found.stamp, patienceMs);
        if (typeof found !== "string" && verdict === true) return { path: found.path };
        if (typeof verdict === "string") why.push(verdict);
      }
      return { path: null, why: [...new Set(why)].slice(0, 5).join("; ") };
    },
    async findBySize(dataset, files) {
      for (const file of files) {
        const found = await look(dataset, file);
        if (typeof found !== "string") return found.path;
      }
      return null;
    },
  };
}
