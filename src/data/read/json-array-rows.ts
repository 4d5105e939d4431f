// One JSON array of rows, read element by element. The scanner only finds where elements begin and end; what they are is judged as for JSON Lines.
//   A1. An element longer than maxRowBytes is never held: its beginning is kept for the report, the rest runs past.
//   A2. A broken element is refused alone where its end can be found; an array that stops early, or is none, refuses the file.

import { createHeldRow } from "./held-row.js";
import type { RecordBatch, RefusedRecord, SourceRecord } from "./records.js";
import { rowOfBytes } from "./jsonl-rows.js";
import { BrokenContentError, refused, rowTooLong } from "./refusals.js";

const LF = 10;
const QUOTE = 34;
const COMMA = 44;
const OPEN_LIST = 91;
const BACKSLASH = 92;
const CLOSE_LIST = 93;
const OPEN_OBJECT = 123;
const CLOSE_OBJECT = 125;

/** Where the scanner stands: before the array, between elements, in one, or after the array. */
type Place = "before" | "between" | "element" | "after";

/** The elements of the array in `pieces`, which are not empty and hold no byte order mark. Throws BrokenContentError. */
export async function* jsonArrayRows(pieces: AsyncIterable<Buffer>, maxRowBytes: number): AsyncGenerator<RecordBatch, void> {
  let place: Place = "before";
  let line = 1;
  let depth = 0; // inside the element
  let inString = false;
  let escaped = false;
  let comma = 0; // line of the comma that an element must follow; 0: none is open
  let elementLine = 0;
  const held = createHeldRow(maxRowBytes); // an element that began in an earlier piece

  for await (const piece of pieces) {
    const rows: (SourceRecord | RefusedRecord)[] = [];
    const elementEnds = (end: Buffer) => {
      held.add(end);
      const row = held.tooLong ? rowTooLong(elementLine, maxRowBytes, held.take()) : rowOfBytes(held.take(), elementLine, maxRowBytes);
      if (row !== null) rows.push(row);
      place = "between";
    };
    let from = 0; // where the element began in this piece
    for (let index = 0; index < piece.length; index++) {
      const byte = piece[index]!;
      if (byte === LF) line++;
      if (inString) {
        if (escaped) escaped = false;
        else if (byte === BACKSLASH) escaped = true;
        else if (byte === QUOTE) inString = false;
        continue;
      }
      if (place === "element") {
        if (byte === QUOTE) inString = true;
        else if (byte === OPEN_OBJECT || byte === OPEN_LIST) depth++;
        else if (depth > 0) {
          if (byte === CLOSE_OBJECT || byte === CLOSE_LIST) depth--;
        } else if (byte === COMMA || byte === CLOSE_LIST) {
          elementEnds(piece.subarray(from, index));
          if (byte === CLOSE_LIST) place = "after";
          else comma = line;
        }
        continue;
      }
      if (byte === 32 || byte === 9 || byte === LF || byte === 13) continue;
      if (place === "before") {
        if (byte !== OPEN_LIST) throw new BrokenContentError(notAnArray(byte));
        place = "between";
      } else if (place === "after") throw new BrokenContentError("something follows the end of the array: a JSON file holds one array; if every line is a value of its own, name the file .jsonl or set format: jsonl", line);
      else if (byte === CLOSE_LIST || byte === COMMA) {
        if (comma > 0 || byte === COMMA) rows.push(refused(line, "INVALID_JSON", "a comma with no element before or after it", ","));
        comma = 0;
        if (byte === CLOSE_LIST) place = "after";
        else comma = line;
      } else {
        place = "element";
        elementLine = line;
        comma = 0;
        depth = byte === OPEN_OBJECT || byte === OPEN_LIST ? 1 : 0;
        inString = byte === QUOTE;
        escaped = false;
        from = index;
      }
    }
    if ((place as Place) === "element") held.add(piece.subarray(from));
    if (rows.length > 0) yield rows;
  }
  if (place === "before") throw new BrokenContentError("the file is empty: an array without rows is []");
  if (place !== "after") throw new BrokenContentError(inString ? `the array stops inside a string of the element that begins on line ${elementLine}: the file is truncated, or a quotation mark is missing` : "the array stops early, its ] is missing: the file is truncated");
}

function notAnArray(byte: number): string {
  if (byte === OPEN_OBJECT) return "the file holds an object, not an array of rows: if every line is an object of its own, name the file .jsonl or set format: jsonl; if the rows stand under a key, save that list alone";
  return "the file does not begin with [, as an array of rows does: name it by its true format, or set format";
}
