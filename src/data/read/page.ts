// A page of any data file, for people to look at.

import { open, stat } from "node:fs/promises";
import type { DataFormat } from "../../domain/data/preprocess-params.js";
import type { Json } from "../../domain/pipeline/state.js";
import { csvRows } from "./csv-rows.js";
import { textBytes } from "./file-bytes.js";
import { jsonlRows } from "./jsonl-rows.js";
import { openParquet } from "./parquet-file.js";
import { readRecords } from "./read-records.js";
import type { RecordBatch } from "./records.js";
import { createRowIndex, type RowIndex } from "./row-index.js";
import { asUnreadable } from "./unreadable.js";

/** Longest row that is shown. */
const MAX_ROW_BYTES = 4 * 1_048_576;
/** Files whose index is kept. */
const MAX_INDEXES = 100;

export interface PageReader {
  /** Rows `from` (0-based) to `from + count`; fewer at the end. A row that cannot be read stands as {"(unreadable)": why, "(text)": its beginning}.
   *  Parquet is read by row group and page, JSON Lines, CSV and TSV by an index that grows with what was asked; a JSON array or a gzipped file is read from its
   *  beginning. Throws UnreadableFileError. */
  read(path: string, format: DataFormat, page: { from: number; count: number }): Promise<Json[]>;
}

/** Keeps the indexes of the files that were looked at; one is dropped when its file changed. */
export function createPageReader(): PageReader {
  const indexes = new Map<string, { version: string; index: RowIndex }>();
  const indexOf = async (path: string, format: DataFormat): Promise<RowIndex> => {
    const { mtimeMs, size, ino } = await stat(path);
    const key = `${format} ${path}`;
    const version = `${ino} ${mtimeMs} ${size}`;
    const known = indexes.get(key);
    const entry = known?.version === version ? known : { version, index: createRowIndex(path, format === "jsonl" ? null : format === "csv" ? "," : "\t") };
    indexes.delete(key);
    indexes.set(key, entry);
    if (indexes.size > MAX_INDEXES) indexes.delete(indexes.keys().next().value!);
    return entry.index;
  };
  return {
    async read(path, format, { from, count }) {
      if (format === "parquet") return await parquetPage(path, from, count);
      try {
        if (format === "json" || await isGzip(path)) return await taken(readRecords(path, { format, gzip: false, maxRowBytes: MAX_ROW_BYTES }), from, count);
        const index = await indexOf(path, format);
        const { row, offset } = await index.placeBefore(from);
        const bytes = textBytes(path, { gzip: false, start: offset });
        const rows = format === "jsonl" ? jsonlRows(bytes, MAX_ROW_BYTES) : csvRows(offset === 0 ? bytes : after(index.header, bytes), format === "csv" ? "," : "\t", MAX_ROW_BYTES);
        return await taken(rows, from - row, count);
      } catch (error) {
        throw asUnreadable(error, path, null);
      }
    },
  };
}

const shared = createPageReader();

/** As PageReader.read, with indexes that the whole process shares. */
export function readPage(path: string, format: DataFormat, page: { from: number; count: number }): Promise<Json[]> {
  return shared.read(path, format, page);
}

async function parquetPage(path: string, from: number, count: number): Promise<Json[]> {
  const file = await openParquet(path);
  try {
    return await file.read({ from, to: from + count }) as Json[];
  } finally {
    await file.close();
  }
}

async function isGzip(path: string): Promise<boolean> {
  const file = await open(path, "r");
  try {
    const head = Buffer.alloc(2);
    await file.read(head, 0, 2, 0);
    return head[0] === 0x1f && head[1] === 0x8b;
  } finally {
    await file.close();
  }
}

async function* after(head: Buffer, pieces: AsyncIterable<Buffer>): AsyncGenerator<Buffer, void> {
  yield head;
  yield* pieces;
}

async function taken(batches: AsyncIterable<RecordBatch>, skip: number, count: number): Promise<Json[]> {
  const page: Json[] = [];
  let seen = 0;
  if (count <= 0) return page;
  for await (const batch of batches) {
    for (const record of batch.slice(Math.max(0, skip - seen))) {
      page.push(record.refusal === undefined ? record.value as Json : { "(unreadable)": `${record.refusal.reason}: ${record.refusal.message}`, "(text)": record.refusal.snippet });
      if (page.length === count) return page;
    }
    seen += batch.length;
  }
  return page;
}
