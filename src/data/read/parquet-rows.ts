// The rows of a Parquet file in order, one row group after the other.
//   Q1. Memory follows the largest row group, or a part of it where the file has page indexes; a group that no memory would hold refuses the file.

import { openParquet, type ParquetRowGroup } from "./parquet-file.js";
import { jsonValueOf, type Conversion } from "./parquet-values.js";
import type { RecordBatch, RefusedRecord, SourceRecord } from "./records.js";
import { BrokenContentError, refused } from "./refusals.js";

export interface ParquetRowOptions {
  readonly maxRowBytes: number;
  readonly signal?: AbortSignal | undefined;
  readonly onBytes?: ((consumedOnDisk: number) => void) | undefined;
}

const BATCH_ROWS = 500;
/** Decompressed bytes that are decoded at once where a group can be read in parts. */
const PART_BYTES = 32 * 1_048_576;
/** Decompressed bytes of a group that must be read whole. */
const MAX_GROUP_BYTES = 2 * 1_073_741_824;

/** Throws UnreadableFileError, and the signal's reason. */
export async function* parquetRows(path: string, { maxRowBytes, signal, onBytes }: ParquetRowOptions): AsyncGenerator<RecordBatch, void> {
  signal?.throwIfAborted();
  const file = await openParquet(path);
  try {
    for (const group of file.rowGroups) {
      if (group.rows === 0) continue;
      for (const [from, to] of partsOf(group)) {
        signal?.throwIfAborted();
        const rows = await file.readRaw({ from, to });
        for (let start = 0; start < rows.length; start += BATCH_ROWS) {
          signal?.throwIfAborted();
          yield rows.slice(start, start + BATCH_ROWS).map((row, index) => recordOf(row, from + start + index + 1, maxRowBytes));
        }
        onBytes?.(Math.round(group.endByte - ((group.from + group.rows - to) / group.rows) * Math.min(group.endByte, group.sizeBytes)));
      }
    }
    onBytes?.(file.sizeBytes);
  } finally {
    await file.close();
  }
}

/** Ranges of rows that are decoded at once. */
export function partsOf(group: ParquetRowGroup): readonly (readonly [number, number])[] {
  const end = group.from + group.rows;
  if (!group.indexed) {
    if (group.sizeBytes > MAX_GROUP_BYTES) throw new BrokenContentError(`a row group holds ${Math.round(group.sizeBytes / 1_048_576)} MiB and has no page index, so it cannot be read in parts: write the file with smaller row groups (for instance row_group_size=10000)`, group.from + 1);
    return [[group.from, end]];
  }
  const rows = Math.max(1, Math.floor(group.rows / Math.ceil(Math.max(1, group.sizeBytes) / PART_BYTES)));
  return Array.from({ length: Math.ceil(group.rows / rows) }, (_, part) => [group.from + part * rows, Math.min(end, group.from + (part + 1) * rows)] as const);
}

function recordOf(row: Record<string, unknown>, line: number, maxRowBytes: number): SourceRecord | RefusedRecord {
  const conversion: Conversion = { mode: "record", fault: null, characters: 0 };
  jsonValueOf(row, conversion);
  if (conversion.fault !== null) return refused(line, conversion.fault.reason, conversion.fault.message, shown(row));
  if (conversion.characters > maxRowBytes) return refused(line, "ROW_TOO_LONG", `the row's texts are longer than ${maxRowBytes} bytes (maxRowBytes)`, shown(row));
  return { line, value: row };
}

/** Enough of the row to know it again. */
function shown(row: Record<string, unknown>): string {
  return JSON.stringify(row, (_key, value: unknown) => (typeof value === "string" ? value.slice(0, 300) : Array.isArray(value) ? value.slice(0, 20) : value)) ?? "";
}

