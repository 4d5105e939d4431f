// What stops the reading of a file for good, in words that name the file.

import { UnreadableFileError } from "./records.js";
import { BrokenContentError } from "./refusals.js";

const FILE_SYSTEM: Readonly<Record<string, string>> = {
  ENOENT: "there is no such file: it was moved or removed",
  ENOTDIR: "there is no such file: it was moved or removed",
  EACCES: "this account may not read the file: give it the right on the host",
  EPERM: "this account may not read the file: give it the right on the host",
  EISDIR: "this is a folder: name its files, for instance with a glob",
  EIO: "the disk gives a read error",
  ESTALE: "the network file system lost the file: mount it again",
};

/** An UnreadableFileError where the file is to blame; anything else (an abort, a bug) stays what it is. */
export function asUnreadable(error: unknown, path: string, lastLine: number | null): unknown {
  if (error instanceof BrokenContentError) return new UnreadableFileError(path, error.line ?? lastLine, error.message);
  const code = (error as NodeJS.ErrnoException | null)?.code;
  const why = code !== undefined && Object.hasOwn(FILE_SYSTEM, code) ? FILE_SYSTEM[code]! : null;
  return why === null ? error : new UnreadableFileError(path, lastLine, why);
}
