// A log file of bounded size: when it is full it is moved aside as <file>.1, and the one that was there goes.

import { closeSync, fstatSync, openSync, renameSync, writeSync } from "node:fs";

/** Appends whole lines; for pino. A disk that is full loses lines, never the process. */
export function openRotatingFile(file: string, limitBytes: number): { write(line: string): void } {
  let handle = openSync(file, "a", 0o600);
  let size = fstatSync(handle).size;
  return {
    write(line) {
      try {
        if (size >= limitBytes) {
          renameSync(file, `${file}.1`);
          const next = openSync(file, "a", 0o600);
          closeSync(handle);
          handle = next;
          size = 0;
        }
        size += writeSync(handle, line);
      } catch {
        // full or gone: what the agent does matters more than what it says
      }
    },
  };
}
