// Compares the rows of two data files, whatever their formats.
//   V1. Memory is flat: prints of the smaller file are held, at most ROWS_AT_ONCE of them at a time. With more rows both files are read several times, each time for
//       another part of all prints. Nothing else grows with the files.
//   V2. Rows are equal when their canonical JSON is; a row that occurs twice is two rows. Rows that cannot be read are left out on both sides.

import type { DatasetColumn } from "../domain/data/dataset.js";
import { columnChanges, type DatasetDiff, type DiffRow, type LengthShift } from "../domain/data/dataset-diff.js";
import type { DataFormat } from "../domain/data/preprocess-params.js";
import type { Json } from "../domain/pipeline/state.js";
import { createContentFigures } from "./read/content-figures.js";
import { formatFor, KNOWN_ENDINGS } from "./read/format.js";
import { readRecords } from "./read/read-records.js";
import { UnreadableFileError } from "./read/records.js";
import { rowFingerprint } from "./rows/canonical-json.js";
import { createCategoryCounts, type Side } from "./rows/category-counts.js";
import { createFingerprintCounts } from "./rows/fingerprint-counts.js";

export interface DiffedFile {
  readonly path: string;
  readonly format: DataFormat;
  /** Rows of the file, as they were counted when it was inspected. */
  readonly rows: number;
  readonly columns: readonly DatasetColumn[];
}

export interface DiffOptions {
  readonly signal?: AbortSignal | undefined;
  /** V1. Default 6,000,000, which take 180 MB. */
  readonly rowsAtOnce?: number;
}

const ROWS_AT_ONCE = 6_000_000;
/** As inspectFile reads rows. */
const MAX_ROW_BYTES = 64 * 1_048_576;
const EXAMPLES = 5;
const EXAMPLE_CHARACTERS = 8_192;

/** Throws UnreadableFileError, also for a file with more rows than it should have, and the signal's reason. */
export async function diffFiles(from: DiffedFile, to: DiffedFile, options: DiffOptions = {}): Promise<DatasetDiff> {
  const figures = { from: createContentFigures(), to: createContentFigures() };
  const categories = createCategoryCounts();
  const only = { from: 0, to: 0 };
  const examples: Record<Side, DiffRow[]> = { from: [], to: [] };
  const seen = { from: 0, to: 0 };
  let same = 0;
  const [held, scanned]: readonly [Side, Side] = from.rows <= to.rows ? ["from", "to"] : ["to", "from"];
  const files = { from, to };
  const passes = Math.max(1, Math.ceil(files[held].rows / (options.rowsAtOnce ?? ROWS_AT_ONCE)));

  /** Readable rows of this pass with their prints; the first pass also measures them. `take` answers false to stop. */
  const read = async (side: Side, pass: number, measured: boolean, take: (print: Uint8Array, row: number, value: Json) => boolean): Promise<void> => {
    let row = -1;
    for await (const batch of rowsOf(files[side], options.signal)) {
      for (const { value } of batch) {
        row++;
        if (value === undefined) continue;
        if (measured) {
          seen[side]++;
          figures[side].add(value);
          categories.add(side, value);
        }
        const print = rowFingerprint(value as Json);
        if (partOf(print, passes) === pass && !take(print, row, value as Json)) return;
      }
    }
  };

  for (let pass = 0; pass < passes; pass++) {
    const prints = createFingerprintCounts(Math.ceil(files[held].rows / passes * (passes === 1 ? 1 : 1.1)) + (passes === 1 ? 0 : 1_000));
    let left = 0;
    await read(held, pass, pass === 0, (print) => {
      try {
        prints.add(print);
      } catch (error) {
        throw error instanceof RangeError ? new UnreadableFileError(files[held].path, null, `it holds more than the ${files[held].rows} rows that it should have`) : error;
      }
      left++;
      return true;
    });
    await read(scanned, pass, pass === 0, (print, row, value) => {
      if (prints.take(print)) {
        same++;
        left--;
      } else {
        only[scanned]++;
        keep(examples[scanned], row, value);
      }
      return true;
    });
    only[held] += left;
    const wanted = Math.min(left, EXAMPLES - examples[held].length);
    let found = 0;
    if (wanted > 0) await read(held, pass, false, (print, row, value) => {
      if (prints.take(print)) {
        found++;
        keep(examples[held], row, value);
      }
      return found < wanted;
    });
  }
  const inOrder = (rows: readonly DiffRow[]): DiffRow[] => [...rows].sort((a, b) => a.row - b.row);
  return {
    sameContent: false, rowsSame: same, rowsAdded: only.to, rowsRemoved: only.from, columns: columnChanges(from.columns, to.columns),
    lengths: lengthShifts(figures.from.result(seen.from), figures.to.result(seen.to)), categories: categories.result(), added: inOrder(examples.to), removed: inOrder(examples.from),
  };
}

function rowsOf(file: DiffedFile, signal: AbortSignal | undefined): ReturnType<typeof readRecords> {
  const form = formatFor(file.path, file.format);
  if (form === null) throw new UnreadableFileError(file.path, null, `the ending tells no format: rename the file (${KNOWN_ENDINGS})`);
  return readRecords(file.path, { ...form, maxRowBytes: MAX_ROW_BYTES, signal });
}

/** V1. Which pass a print belongs to; by other bits than those that the table uses. */
function partOf(print: Uint8Array, passes: number): number {
  return passes === 1 ? 0 : (print[12]! + print[13]! * 256 + print[14]! * 65_536) % passes;
}

function lengthShifts(from: ReturnType<ReturnType<typeof createContentFigures>["result"]>, to: typeof from): LengthShift[] {
  const names = [...new Set([...Object.keys(from?.characters ?? {}), ...Object.keys(to?.characters ?? {})])].sort();
  const both = (kind: LengthShift["kind"], name: string | null, before: LengthShift["from"], after: LengthShift["to"]): LengthShift[] => (before === null && after === null ? [] : [{ kind, name, from: before, to: after }]);
  return [
    ...names.flatMap((name) => both("CHARACTERS", name, from?.characters[name] ?? null, to?.characters[name] ?? null)),
    ...both("TURNS", null, from?.turns ?? null, to?.turns ?? null),
    ...both("TOKENS", null, from?.tokens?.distribution ?? null, to?.tokens?.distribution ?? null),
  ];
}

/** Keeps a copy, so that nothing of the file's buffers stays alive. */
function keep(rows: DiffRow[], row: number, value: Json): void {
  if (rows.length >= EXAMPLES) return;
  const cut = (most: number, items: number) => JSON.stringify(value, (_name, part: unknown) => (typeof part === "string" && part.length > most ? `${part.slice(0, most).toWellFormed()}…` : Array.isArray(part) ? part.slice(0, items) : part));
  const text = [[1_000, 50], [200, 10]].map(([most, items]) => cut(most!, items!)).find((shorter) => shorter.length <= EXAMPLE_CHARACTERS);
  rows.push({ row, value: (text === undefined ? { "(text)": `${cut(200, 10).slice(0, 2_000).toWellFormed()}…` } : JSON.parse(text)) as Json });
}
