// A file that is hashed while it is written and on disk when it is finished. It lies in a work folder until it is published (work-folder.ts).

import { createHash } from "node:crypto";
import { open } from "node:fs/promises";

export interface FileDigest {
  /** sha256 of the bytes, lower-case hex. */
  readonly sha256: string;
  readonly sizeBytes: number;
}

export interface DurableFile {
  readonly path: string;
  /** One at a time, in order; the bytes may be reused once it is fulfilled. */
  write(bytes: Uint8Array): Promise<void>;
  /** Syncs and closes. */
  finish(): Promise<FileDigest>;
  /** Closes without a sync, after a failure; tolerates being called after `finish`. */
  abandon(): Promise<void>;
}

/** Refuses a path that exists (EEXIST): nobody else writes into a work folder. */
export async function createDurableFile(path: string): Promise<DurableFile> {
  const handle = await open(path, "wx", 0o644);
  const hash = createHash("sha256");
  let sizeBytes = 0;
  let closed = false;

  async function write(bytes: Uint8Array): Promise<void> {
    hash.update(bytes);
    for (let from = 0; from < bytes.length; ) {
      const { bytesWritten } = await handle.write(bytes, from, bytes.length - from);
      from += bytesWritten;
    }
    sizeBytes += bytes.length;
  }

  async function abandon(): Promise<void> {
    if (closed) return;
    closed = true;
    await handle.close();
  }

  async function finish(): Promise<FileDigest> {
    await handle.sync();
    await abandon();
    return { sha256: hash.digest("hex"), sizeBytes };
  }

  return { path, write, finish, abandon };
}
