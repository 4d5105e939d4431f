// Any data file as rows, whatever its format.

import type { DataFormat } from "../../domain/data/preprocess-params.js";
import { csvRows } from "./csv-rows.js";
import { textBytes, type ByteOptions } from "./file-bytes.js";
import { jsonArrayRows } from "./json-array-rows.js";
import { jsonlRows } from "./jsonl-rows.js";
import { parquetRows } from "./parquet-rows.js";
import type { RecordBatch } from "./records.js";
import { asUnreadable } from "./unreadable.js";

export interface ReadOptions {
  readonly format: DataFormat;
  readonly gzip: boolean;
  /** A longer row is refused as ROW_TOO_LONG (text formats). */
  readonly maxRowBytes: number;
  readonly signal?: AbortSignal | undefined;
  /** Bytes taken from disk so far. */
  readonly onBytes?: ((consumedOnDisk: number) => void) | undefined;
  /** The file's raw bytes in order, so that the caller can hash while reading; valid during the call. Not called for Parquet, which is not read in order: use hashFile. */
  readonly onContent?: ((chunk: Uint8Array) => void) | undefined;
}

/** Rows and refused rows in the order of the file. Throws UnreadableFileError, and the signal's reason. */
export async function* readRecords(path: string, options: ReadOptions): AsyncGenerator<RecordBatch, void> {
  let last: number | null = null;
  try {
    for await (const batch of rowsOf(path, options)) {
      last = batch.at(-1)?.line ?? last;
      yield batch;
    }
  } catch (error) {
    throw asUnreadable(error, path, last);
  }
}

function rowsOf(path: string, options: ReadOptions): AsyncIterable<RecordBatch> {
  const { format, maxRowBytes } = options;
  const bytes = () => textBytes(path, options satisfies ByteOptions);
  switch (format) {
    case "jsonl": return jsonlRows(bytes(), maxRowBytes);
    case "json": return jsonArrayRows(bytes(), maxRowBytes);
    case "csv": return csvRows(bytes(), ",", maxRowBytes);
    case "tsv": return csvRows(bytes(), "\t", maxRowBytes);
    case "parquet": return parquetRows(path, options);
  }
}
