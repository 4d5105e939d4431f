// CSV and TSV: a header line, then one record per row. csv-scanner.ts finds where records end, csv-fields.ts takes them apart.
//   C1. A record longer than maxRowBytes is never held: its beginning is kept for the report, the rest runs past.
//   C2. A broken record is refused alone, with the line on which it begins; reading goes on after its end. Only a mark that is never closed refuses the file:
//       nothing tells where the rows after it begin, and they must not be lost in one refusal.
//   C3. Lines are counted as an editor shows them, those inside quoted fields too. LF and CRLF may alternate; CR alone counts where the header ends with it.

import { isUtf8 } from "node:buffer";
import { fieldsOf } from "./csv-fields.js";
import { createCsvScanner, lineEndOf, type CsvScanner } from "./csv-scanner.js";
import { createHeldRow } from "./held-row.js";
import { faultInKey } from "./json-row.js";
import type { RecordBatch, RefusedRecord, SourceRecord } from "./records.js";
import { BrokenContentError, refused, refusedBytes, rowTooLong } from "./refusals.js";

const LF = 10;
const CR = 13;

/** The rows of `pieces`, which are not empty and hold no byte order mark. Throws BrokenContentError. */
export async function* csvRows(pieces: AsyncIterable<Buffer>, delimiter: "," | "\t", maxRowBytes: number): AsyncGenerator<RecordBatch, void> {
  const held = createHeldRow(maxRowBytes + 1); // a CR may still be taken off
  let scanner: CsvScanner | null = null;
  let recordLine = 1;
  let columns: readonly string[] | null = null;

  const rowEnds = (part: Buffer, rows: (SourceRecord | RefusedRecord)[]) => {
    held.add(part);
    const tooLong = held.tooLong;
    const bytes = withoutCr(held.take());
    if (bytes.length === 0) return;
    if (columns === null) columns = headerOf(bytes, tooLong, delimiter, recordLine);
    else rows.push(tooLong || bytes.length > maxRowBytes ? rowTooLong(recordLine, maxRowBytes, bytes) : rowOf(bytes, columns, delimiter, recordLine));
  };

  for await (const { piece, lineEnd } of withLineEnd(pieces, maxRowBytes)) {
    scanner ??= createCsvScanner(delimiter, lineEnd);
    const { scan } = scanner;
    const rows: (SourceRecord | RefusedRecord)[] = [];
    let from = 0;
    scan(piece, (index) => {
      rowEnds(piece.subarray(from, index), rows);
      from = index + 1;
      recordLine = scanner!.line;
    });
    if (from < piece.length) held.add(piece.subarray(from));
    if (rows.length > 0) yield rows;
  }
  if (scanner?.quoted === true && scanner.line > recordLine) throw new BrokenContentError(`the quotation mark that is open since the row of line ${recordLine} is never closed, so nothing tells the rows after it apart: close it there`, recordLine);
  const rows: (SourceRecord | RefusedRecord)[] = [];
  if (held.bytes > 0) rowEnds(Buffer.alloc(0), rows);
  if (rows.length > 0) yield rows;
  if ((columns as readonly string[] | null) === null) throw new BrokenContentError("the file is empty: the first line names the columns");
}

/** The pieces again, the first ones joined until the end of the header has shown how lines end. */
async function* withLineEnd(pieces: AsyncIterable<Buffer>, maxRowBytes: number): AsyncGenerator<{ piece: Buffer; lineEnd: number }, void> {
  let head: Buffer = Buffer.alloc(0);
  let lineEnd: number | null = null;
  for await (const piece of pieces) {
    if (lineEnd !== null) {
      yield { piece, lineEnd };
      continue;
    }
    head = head.length === 0 ? piece : Buffer.concat([head, piece]);
    const found = lineEndOf(head);
    if (found === null && head.length <= maxRowBytes) continue;
    lineEnd = found ?? LF;
    yield { piece: head, lineEnd };
  }
  if (lineEnd === null && head.length > 0) yield { piece: head, lineEnd: head.length > 1 && head.at(-1) === CR ? CR : LF };
}

function headerOf(bytes: Buffer, tooLong: boolean, delimiter: string, line: number): readonly string[] {
  const broken = (why: string) => new BrokenContentError(`the header cannot be read: ${why}`, line);
  if (tooLong) throw broken("it is longer than maxRowBytes");
  if (!isUtf8(bytes)) throw broken("it is not UTF-8: save the file as UTF-8");
  const fields = fieldsOf(bytes.toString(), delimiter);
  if (typeof fields === "string") throw broken(fields);
  // pandas writes its index, and spreadsheets write spare columns, without a name
  const names = fields.map((name, index) => (name.trim() === "" ? `column_${index + 1}` : name));
  for (const [index, name] of names.entries()) {
    if (names.indexOf(name) !== index) throw broken(`column ${JSON.stringify(name)} stands there twice: rename one`);
    const fault = faultInKey(name, true);
    if (fault !== null) throw broken(`${fault.message}: rename the column`);
  }
  return names;
}

function rowOf(bytes: Buffer, columns: readonly string[], delimiter: string, line: number): SourceRecord | RefusedRecord {
  if (!isUtf8(bytes)) return refusedBytes(line, "INVALID_UTF8", "the row is not UTF-8: save the file as UTF-8", bytes);
  const text = bytes.toString();
  if (text.includes("\0")) return refused(line, "NUL_CHARACTER", "a NUL character", text);
  const fields = fieldsOf(text, delimiter);
  if (typeof fields === "string") return refused(line, "INVALID_CSV", fields, text);
  if (fields.length !== columns.length) return refused(line, "INVALID_CSV", `the row has ${fields.length} field${fields.length === 1 ? "" : "s"}, the header ${columns.length}`, text);
  const value: Record<string, string> = {};
  for (let index = 0; index < columns.length; index++) value[columns[index]!] = fields[index]!;
  return { line, value };
}

function withoutCr(bytes: Buffer): Buffer {
  return bytes.length > 0 && bytes[bytes.length - 1] === CR ? bytes.subarray(0, -1) : bytes;
}
