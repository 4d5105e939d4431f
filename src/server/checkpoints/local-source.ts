// The files of a checkpoint on this machine's disk (K1, K2 in checkpoint-source.ts).
//   L1. A file is opened without following links, and is where its path says after all links in it were resolved.

import { createHash } from "node:crypto";
import { constants } from "node:fs";
import { lstat, open, readdir, realpath, type FileHandle } from "node:fs/promises";
import { basename, dirname, join, sep } from "node:path";
import { ConflictError, NotFoundError } from "../../domain/errors.js";
import { partsOf, versionOf, type CheckpointSource, type SourceFile, type SourceListing } from "./checkpoint-source.js";

const PIECE = 256 * 1024;

/** `root`: real path of the checkpoint, a folder or one file. */
export function localSource(root: string): CheckpointSource {
  const opened = async <T>(path: string, use: (file: FileHandle, found: SourceFile) => Promise<T>): Promise<T> => {
    const parts = partsOf(path);
    const isFile = (await lstat(root).catch(() => null))?.isFile() === true;
    const place = join(isFile ? dirname(root) : root, ...parts);
    const missing = (): NotFoundError => new NotFoundError("file of the checkpoint", path);
    if (isFile && path !== basename(root)) throw missing();
    const file = await open(place, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK).catch(() => { throw missing(); });
    try {
      const stat = await file.stat();
      if (!stat.isFile() || (await realpath(place).catch(() => null)) !== place) throw missing(); // L1
      return await use(file, { path, sizeBytes: stat.size, version: versionOf(stat.size, stat.mtimeMs) });
    } finally {
      await file.close();
    }
  };
  const pieces = async (file: FileHandle, from: number, to: number, sink: (bytes: Buffer) => Promise<void> | void, signal: AbortSignal): Promise<void> => {
    const buffer = Buffer.allocUnsafeSlow(PIECE);
    for (let at = from; at < to;) {
      signal.throwIfAborted();
      const { bytesRead } = await file.read(buffer, 0, Math.min(PIECE, to - at), at);
      if (bytesRead === 0) throw new ConflictError("FILE_CHANGED", "The file became shorter while it was read. Fetch it when whoever writes it has finished.");
      await sink(buffer.subarray(0, bytesRead));
      at += bytesRead;
    }
  };
  return {
    list: () => list(root),
    stat: (path) => opened(path, async (_file, found) => found),
    read: (path, from, to, sink, signal) => opened(path, (file) => pieces(file, from, to, sink, signal)),
    digest: (path, progressed, signal) => opened(path, async (file, { sizeBytes }) => {
      const hash = createHash("sha256");
      let done = 0;
      await pieces(file, 0, sizeBytes, (bytes) => {
        hash.update(bytes);
        progressed(done += bytes.length);
      }, signal);
      return hash.digest("hex");
    }),
  };
}

async function list(root: string): Promise<SourceListing> {
  const found = { files: [] as SourceFile[], folders: [] as string[], skipped: [] as { path: string; kind: string }[] };
  const top = await lstat(root);
  if (top.isFile()) return { ...found, files: [{ path: basename(root), sizeBytes: top.size, version: versionOf(top.size, top.mtimeMs) }] };
  for (const entry of await readdir(root, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    const below = path.slice(root.length + 1).split(sep).join("/");
    if (entry.isDirectory()) found.folders.push(below);
    else if (!entry.isFile()) found.skipped.push({ path: below, kind: entry.isSymbolicLink() ? "link" : "other" });
    else {
      const stat = await lstat(path).catch(() => null);
      if (stat !== null) found.files.push({ path: below, sizeBytes: stat.size, version: versionOf(stat.size, stat.mtimeMs) });
    }
  }
  found.folders.sort();
  found.files.sort((a, b) => (a.path < b.path ? -1 : 1));
  return found;
}
