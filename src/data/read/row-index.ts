// Where rows begin in a text file of one row per line or record: a sparse index, built as far as somebody asked and kept while the file stays what it is.
//   R1. Row n of the index is row n of the reader: blank lines are none, a broken row is one.

import { textBytes } from "./file-bytes.js";
import { createCsvScanner, lineEndOf, type CsvScanner } from "./csv-scanner.js";

export interface RowPlace {
  /** 0-based. */
  readonly row: number;
  /** Byte of the file at which it begins; 0: at the beginning, byte order mark and header included. */
  readonly offset: number;
}

export interface RowIndex {
  /** A known place at or before `row`, as near as the index is fine. */
  placeBefore(row: number): Promise<RowPlace>;
  /** The header's bytes with its line end (csv, tsv); empty for JSON Lines. Known once a place after the first was given. */
  readonly header: Buffer;
}

/** Bytes between two places. */
const STEP_BYTES = 1_048_576;
const LF = 10;

export function createRowIndex(path: string, delimiter: "," | "\t" | null): RowIndex {
  const places: RowPlace[] = [{ row: 0, offset: 0 }];
  let header: Buffer = Buffer.alloc(0);
  let building: Promise<void> = Promise.resolve();
  let complete = false;

  const extend = async (row: number): Promise<void> => {
    const last = places.at(-1)!;
    if (complete || last.row > row) return;
    for await (const place of delimiter === null ? linePlaces(path, last) : recordPlaces(path, delimiter, last, header, (bytes) => { header = bytes; })) {
      places.push(place);
      if (place.row > row) return;
    }
    complete = true;
  };
  return {
    get header() { return header; },
    async placeBefore(row) {
      const done = building.then(() => extend(row));
      building = done.catch(() => { complete = true; }); // what was found stays true; the reader will say what is wrong with the file
      await building;
      let [low, high] = [0, places.length - 1];
      while (low < high) {
        const middle = (low + high + 1) >> 1;
        if (places[middle]!.row <= row) low = middle;
        else high = middle - 1;
      }
      return places[low]!;
    },
  };
}

/** Places in JSON Lines. */
async function* linePlaces(path: string, start: RowPlace): AsyncGenerator<RowPlace, void> {
  let { row, offset: last, offset: before } = start;
  let blank = true;
  for await (const piece of walkable(path, start.offset, (skipped) => { before += skipped; })) {
    let from = 0;
    for (let end = piece.indexOf(LF); end !== -1; end = piece.indexOf(LF, from)) {
      if (!blank || holdsText(piece, from, end)) row++;
      blank = true;
      from = end + 1;
      if (before + from - last >= STEP_BYTES) yield { row, offset: (last = before + from) };
    }
    blank &&= !holdsText(piece, from, piece.length);
    before += piece.length;
  }
}

/** Places in CSV and TSV, after the header. */
async function* recordPlaces(path: string, delimiter: "," | "\t", start: RowPlace, header: Buffer, tell: (header: Buffer) => void): AsyncGenerator<RowPlace, void> {
  let scanner: CsvScanner | null = start.offset === 0 ? null : createCsvScanner(delimiter, header.at(-1)!);
  let { offset: last, offset: before, offset: recordStart } = start;
  let row = start.offset === 0 ? -1 : start.row;
  let head: Buffer = Buffer.alloc(0);
  for await (const read of walkable(path, start.offset, (skipped) => { before = recordStart += skipped; })) {
    const piece = scanner === null && head.length > 0 ? Buffer.concat([head, read]) : read;
    const lineEnd = scanner === null ? lineEndOf(piece) : LF;
    if (lineEnd === null) {
      head = piece;
      continue;
    }
    scanner ??= createCsvScanner(delimiter, lineEnd);
    const found: RowPlace[] = [];
    scanner.scan(piece, (index) => {
      const length = before + index - recordStart;
      const blank = length === 0 || (length === 1 && index > 0 && piece[index - 1] === 13);
      if (!blank) {
        if (row === -1) tell(Buffer.from(piece.subarray(0, index + 1)));
        row++;
      }
      recordStart = before + index + 1;
      if (row >= 0 && recordStart - last >= STEP_BYTES) found.push({ row, offset: (last = recordStart) });
    });
    before += piece.length;
    yield* found;
  }
}

/** The pieces of the file from `offset` on; `tell` hears how many bytes of a byte order mark were left out. */
async function* walkable(path: string, offset: number, tell: (skipped: number) => void): AsyncGenerator<Buffer, void> {
  let consumed = 0;
  let first = true;
  for await (const piece of textBytes(path, { gzip: false, start: offset, onBytes: (bytes) => { consumed = bytes; } })) {
    if (first) tell(consumed - piece.length);
    first = false;
    yield piece;
  }
}

function holdsText(piece: Buffer, from: number, to: number): boolean {
  for (let index = from; index < to; index++) if (!isBlank(piece[index]!)) return true;
  return false;
}

/** White space of JSON: a line of anything else is a row, be it a broken one. */
function isBlank(byte: number): boolean {
  return byte === 32 || byte === 9 || byte === 13;
}
