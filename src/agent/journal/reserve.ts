// Room kept for bad times: a file of zeros that is given up when the disk is full, so that the end of an attempt can still be recorded.

import { closeSync, openSync, rmSync, statSync, writeSync } from "node:fs";

/** Room kept, in bytes. */
export const RESERVE_BYTES = 16 * 1024 * 1024;

export interface Reserve {
  /** Whether the room is kept at this moment. */
  isKept(): boolean;
  /** Gives the room to whoever writes next. */
  release(): void;
  /** Tries to take the room back; false while the disk is too full. */
  keep(): boolean;
}

/** The reserve at `file`; takes the room at once if it can. */
export function openReserve(file: string, bytes = RESERVE_BYTES): Reserve {
  let kept = statSync(file, { throwIfNoEntry: false })?.size === bytes;
  const keep = (): boolean => {
    if (kept) return true;
    try {
      const block = Buffer.alloc(1024 * 1024);
      const handle = openSync(file, "w", 0o600);
      try {
        for (let written = 0; written < bytes;) written += writeSync(handle, block, 0, Math.min(block.length, bytes - written));
      } finally {
        closeSync(handle);
      }
      kept = true;
    } catch {
      rmSync(file, { force: true });
    }
    return kept;
  };
  keep();
  return {
    isKept: () => kept,
    release() {
      rmSync(file, { force: true });
      kept = false;
    },
    keep,
  };
}
