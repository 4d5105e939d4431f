// Where the files of one checkpoint are read from: this machine's disk, or a host over SSH.
//   K1. Nothing outside the checkpoint is read: a path is a list of plain names below it, and none of them may be a link.
//   K2. A version (size and time) names what a file held; whoever goes on with a part of it says which one it was.

import { InvalidInputError } from "../../domain/errors.js";

export interface SourceFile {
  /** Below the checkpoint, with slashes. The checkpoint's own name when it is one file. */
  readonly path: string;
  readonly sizeBytes: number;
  /** K2. */
  readonly version: string;
}

export interface SourceListing {
  readonly files: readonly SourceFile[];
  /** Folders, those first that others lie in. */
  readonly folders: readonly string[];
  /** Links and special files: neither followed nor read. */
  readonly skipped: readonly { readonly path: string; readonly kind: string }[];
}

/** Throws TrainyardError: what stands in the way, in words for users. */
export interface CheckpointSource {
  list(signal: AbortSignal): Promise<SourceListing>;
  stat(path: string, signal: AbortSignal): Promise<SourceFile>;
  /** Hands the bytes of a range to `sink`, one piece after the other; a piece holds until `sink` has resolved. */
  read(path: string, from: number, to: number, sink: (bytes: Buffer) => Promise<void>, signal: AbortSignal): Promise<void>;
  /** sha256 in hex. */
  digest(path: string, progressed: (bytes: number) => void, signal: AbortSignal): Promise<string>;
}

/** The names of a path below a checkpoint (K1). Throws InvalidInputError. */
export function partsOf(path: string): readonly string[] {
  const parts = path.split("/");
  if (path.length > 4_096 || parts.length > 64 || parts.some((part) => part === "" || part === "." || part === ".." || part.includes("\0"))) {
    const message = "path names a file below the checkpoint, as the listing does: without . and .. and without a slash at its beginning.";
    throw new InvalidInputError(message, [{ path: "path", severity: "ERROR", code: "INVALID_FIELD", message, hint: null }]);
  }
  return parts;
}

export function versionOf(sizeBytes: number, changedMs: number): string {
  return `${sizeBytes}-${changedMs}`;
}
