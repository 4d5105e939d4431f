// One Parquet file, written row by row with flat memory.
//   P1. A row group closes at ROWS_PER_GROUP rows, or earlier when its text passes CHARACTERS_PER_GROUP. Nothing else decides, so equal rows give equal bytes.
//   P2. No minima and maxima are written: they would hold on to a text per column and group until the end, and nobody searches dialogues by them.
//   P3. Each file has a compressor of its own, so that no file's bytes depend on what else was compressed.

import { snappyCompressor } from "hysnappy";
import { ByteWriter, ParquetWriter } from "hyparquet-writer";
import type { DurableFile, FileDigest } from "./durable-file.js";
import { schemaElements, type OutputColumns } from "./output-columns.js";

/** A page of a few rows is then read in milliseconds, and a group stays small in memory. */
export const ROWS_PER_GROUP = 2_000;
/** UTF-16 code units. Reached only by rows of 8,000 characters and more on average. */
export const CHARACTERS_PER_GROUP = 16 * 1_048_576;

export interface ParquetOutput {
  /** `characters`: about how much text the row holds. A promise when a group is being written: await it before the next row. */
  add(row: Record<string, unknown>, characters: number): Promise<void> | null;
  finish(): Promise<FileDigest>;
}

/** `createdBy` stands in the file's footer. */
export function createParquetOutput(options: { file: DurableFile; columns: OutputColumns; createdBy: string }): ParquetOutput {
  const { file, columns, createdBy } = options;
  const names = Object.keys(columns);
  const sink = Object.assign(new ByteWriter(), { flush, finish: flush });
  const writer = new ParquetWriter({ writer: sink, schema: schemaElements(columns), codec: "SNAPPY", compressors: { SNAPPY: snappyCompressor() }, statistics: false, createdBy });
  let group: unknown[][] = names.map(() => []);
  let rows = 0;
  let characters = 0;

  async function flush(): Promise<void> {
    if (sink.index === 0) return;
    await file.write(new Uint8Array(sink.buffer, 0, sink.index));
    sink.index = 0;
  }

  function add(row: Record<string, unknown>, rowCharacters: number): Promise<void> | null {
    for (let column = 0; column < names.length; column++) group[column]!.push(row[names[column]!] ?? null);
    rows += 1;
    characters += rowCharacters;
    return rows >= ROWS_PER_GROUP || characters >= CHARACTERS_PER_GROUP ? writeGroup() : null;
  }

  async function writeGroup(): Promise<void> {
    const full = group;
    const size = rows;
    group = names.map(() => []);
    rows = 0;
    characters = 0;
    await writer.write({ columnData: names.map((name, column) => ({ name, data: full[column]! })), rowGroupSize: size });
  }

  async function finish(): Promise<FileDigest> {
    if (rows > 0) await writeGroup();
    await writer.finish();
    return file.finish();
  }

  return { add, finish };
}
