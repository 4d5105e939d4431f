// JSON Lines: one value per line, ended by LF or CRLF; blank lines are no rows but count as lines.
//   L1. A line longer than maxRowBytes is never held: its beginning is kept for the report, the rest runs past.
//   L2. A piece of the file is decoded as a whole and cut as text; line by line only where its bytes are not all UTF-8.

import { isAscii, isUtf8 } from "node:buffer";
import { createHeldRow } from "./held-row.js";
import { jsonRow } from "./json-row.js";
import type { RecordBatch, RefusedRecord, SourceRecord } from "./records.js";
import { refusedBytes, rowTooLong, SNIPPET_BYTES } from "./refusals.js";

const LF = 10;
const CR = 13;

/** The rows of `pieces`, which are not empty and hold no byte order mark at the start. */
export async function* jsonlRows(pieces: AsyncIterable<Buffer>, maxRowBytes: number): AsyncGenerator<RecordBatch, void> {
  let line = 1;
  const begun = createHeldRow(maxRowBytes + 1); // the line that the next piece goes on with; a CR may still be taken off
  const finish = (): (SourceRecord | RefusedRecord)[] => {
    const row = begun.tooLong ? rowTooLong(line, maxRowBytes, begun.take()) : rowOfBytes(begun.take(), line, maxRowBytes);
    line++;
    return row === null ? [] : [row];
  };

  for await (const piece of pieces) {
    const last = piece.lastIndexOf(LF);
    if (last === -1) {
      begun.add(piece);
      continue;
    }
    let from = 0;
    const rows: (SourceRecord | RefusedRecord)[] = [];
    if (begun.bytes > 0) {
      const first = piece.indexOf(LF);
      begun.add(piece.subarray(0, first));
      rows.push(...finish());
      from = first + 1;
    }
    if (from <= last) line = wholeLines(piece.subarray(from, last + 1), line, maxRowBytes, rows);
    if (last + 1 < piece.length) begun.add(piece.subarray(last + 1));
    if (rows.length > 0) yield rows;
  }
  if (begun.bytes > 0) {
    const rows = finish();
    if (rows.length > 0) yield rows;
  }
}

/** Adds the rows of `bytes`, which ends with LF, and gives the number of the line after it. */
function wholeLines(bytes: Buffer, firstLine: number, maxRowBytes: number, rows: (SourceRecord | RefusedRecord)[]): number {
  let line = firstLine;
  const ascii = isAscii(bytes);
  if (!ascii && !isUtf8(bytes)) {
    for (let from = 0; from < bytes.length; line++) {
      const end = bytes.indexOf(LF, from);
      const row = rowOfBytes(bytes.subarray(from, end), line, maxRowBytes);
      if (row !== null) rows.push(row);
      from = end + 1;
    }
    return line;
  }
  const text = ascii ? bytes.toString("latin1") : bytes.toString();
  for (let from = 0; from < text.length; line++) {
    const end = text.indexOf("\n", from);
    const stop = text.charCodeAt(end - 1) === CR ? end - 1 : end;
    if (stop > from) {
      const one = text.slice(from, stop);
      const row = isLonger(one, ascii, maxRowBytes) ? rowTooLong(line, maxRowBytes, Buffer.from(one.slice(0, SNIPPET_BYTES))) : jsonRow(one, line);
      if (row !== null) rows.push(row);
    }
    from = end + 1;
  }
  return line;
}

/** A character is one to three bytes (half a pair: two). */
function isLonger(text: string, ascii: boolean, maxRowBytes: number): boolean {
  if (text.length > maxRowBytes) return true;
  return !ascii && text.length * 3 > maxRowBytes && Buffer.byteLength(text) > maxRowBytes;
}

/** The row in `bytes`, a line without its LF; null when it is blank. */
export function rowOfBytes(bytes: Buffer, line: number, maxRowBytes: number): SourceRecord | RefusedRecord | null {
  const content = bytes.length > 0 && bytes[bytes.length - 1] === CR ? bytes.subarray(0, -1) : bytes;
  if (content.length > maxRowBytes) return rowTooLong(line, maxRowBytes, content);
  if (!isUtf8(content)) return refusedBytes(line, "INVALID_UTF8", `byte ${firstInvalid(content) + 1} of the row begins no UTF-8 character: save the file as UTF-8`, content);
  return jsonRow(content.toString(), line);
}

/** Offset at which the first sequence begins that is not UTF-8. */
function firstInvalid(bytes: Buffer): number {
  let valid = 0;
  let invalid = bytes.length;
  while (invalid - valid > 1) {
    const middle = (valid + invalid) >> 1;
    if (isUtf8(bytes.subarray(0, backToStart(bytes, middle)))) valid = middle;
    else invalid = middle;
  }
  return backToStart(bytes, valid);
}

/** The end of the last whole character before `end`. */
function backToStart(bytes: Buffer, end: number): number {
  let start = end;
  while (start > 0 && start > end - 3 && start < bytes.length && (bytes[start]! & 0xc0) === 0x80) start--;
  return start;
}
