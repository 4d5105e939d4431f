// How a row that cannot be read is reported, and how a file is.

import { SNIPPET_CHARACTERS, type RefusedRecord, type RejectReason } from "./records.js";

/** Bytes of a row that are kept to show its beginning: enough for SNIPPET_CHARACTERS of any script. */
export const SNIPPET_BYTES = SNIPPET_CHARACTERS * 4;

/** Something about the file as a whole, found by a reader that does not know its name; readRecords makes an UnreadableFileError of it. */
export class BrokenContentError extends Error {
  /** Where, when that is not simply after the last row. */
  readonly line: number | null;
  constructor(why: string, line: number | null = null) {
    super(why);
    this.name = "BrokenContentError";
    this.line = line;
  }
}

export function refused(line: number, reason: RejectReason, message: string, text: string): RefusedRecord {
  return { line, refusal: { reason, message: printable(message), snippet: snippetOf(text) } };
}

/** As `refused`, for a row that is known by its first bytes only. */
export function refusedBytes(line: number, reason: RejectReason, message: string, start: Uint8Array): RefusedRecord {
  return refused(line, reason, message, decodeLossy(start.subarray(0, SNIPPET_BYTES)));
}

export function rowTooLong(line: number, maxRowBytes: number, start: Uint8Array): RefusedRecord {
  return refusedBytes(line, "ROW_TOO_LONG", `the row is longer than ${maxRowBytes} bytes (maxRowBytes)`, start);
}

/** The beginning of `text`: well formed, without NUL, and a copy (a slice would keep the whole piece of the file alive). */
export function snippetOf(text: string): string {
  const start = printable(text.slice(0, SNIPPET_CHARACTERS + 1));
  return start.length <= SNIPPET_CHARACTERS ? start : `${start.slice(0, SNIPPET_CHARACTERS - 1).toWellFormed()}…`;
}

function printable(text: string): string {
  return Buffer.from(text.toWellFormed().replaceAll("\0", "\uFFFD")).toString();
}

function decodeLossy(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString();
}
