// Whole lines of a file that grows.
//   G1. `next` stands behind the last whole line: who goes on from there has every line once.

import { readFrom } from "../telemetry/file-reader.js";

/** Bytes read at once. */
const STEP_BYTES = 512 * 1024;
/** A longer line is passed over, in bytes. */
const LONGEST = 8 * 1024 * 1024;

const LF = 10;

export interface LinesRead {
  readonly lines: readonly string[];
  /** G1. */
  readonly next: number;
  /** Whether more may lie behind `next` already. */
  readonly more: boolean;
}

/** Lines from `offset` on. `ended`: nothing more is written, so that a rest without a line end is a line too. No lines when there is no such file yet. */
export function readLines(file: string, offset: number, ended: boolean): LinesRead {
  for (let want = STEP_BYTES; ; want *= 4) {
    const read = readFrom(file, offset, want);
    if (read === null || read.bytes.length === 0) return { lines: [], next: offset, more: false };
    const { bytes, size } = read;
    const atEnd = offset + bytes.length >= size;
    const end = bytes.lastIndexOf(LF) + 1;
    if (atEnd && ended) return { lines: linesOf(bytes), next: offset + bytes.length, more: false };
    if (end > 0) return { lines: linesOf(bytes.subarray(0, end)), next: offset + end, more: !atEnd };
    if (atEnd) return { lines: [], next: offset, more: false };
    if (bytes.length >= LONGEST) return { lines: [], next: offset + bytes.length, more: true };
  }
}

function linesOf(bytes: Buffer): string[] {
  const lines = bytes.toString("utf8").split("\n");
  if (lines.at(-1) === "") lines.pop();
  return lines;
}
