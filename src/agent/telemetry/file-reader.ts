// Reads what a growing file has beyond an offset.

import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs";

/** Up to `limit` bytes from `offset`; null when there is no such regular file. `size` is the file's size now. */
export function readFrom(file: string, offset: number, limit: number): { readonly bytes: Buffer; readonly size: number } | null {
  let handle: number;
  try {
    handle = openSync(file, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch {
    return null; // not there yet, or replaced by a link: never followed
  }
  try {
    const stat = fstatSync(handle);
    if (!stat.isFile()) return null;
    const bytes = Buffer.alloc(Math.max(0, Math.min(limit, stat.size - offset)));
    const length = bytes.length === 0 ? 0 : readSync(handle, bytes, 0, bytes.length, offset);
    return { bytes: bytes.subarray(0, length), size: stat.size };
  } finally {
    closeSync(handle);
  }
}
