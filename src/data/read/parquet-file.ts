// One Parquet file, open for reading any range of its rows.
//   P1. Only what a range needs is read: its row groups, and inside a group its pages where the file has an index of them.

import { open, type FileHandle } from "node:fs/promises";
import { parquetMetadataAsync, parquetReadObjects, parquetSchema, type AsyncBuffer, type FileMetaData, type RowGroup } from "hyparquet";
import { compressors } from "hyparquet-compressors";
import { faultInKey } from "./json-row.js";
import { columnsOf, type ParquetColumn } from "./parquet-columns.js";
import { jsonValueOf, PARSERS, type Conversion } from "./parquet-values.js";
import { BrokenContentError } from "./refusals.js";
import { asUnreadable } from "./unreadable.js";

export interface ParquetRowGroup {
  /** Number of its first row in the file, from 0. */
  readonly from: number;
  readonly rows: number;
  /** Bytes of its columns once decompressed. */
  readonly sizeBytes: number;
  /** Where its columns end in the file. */
  readonly endByte: number;
  /** Whether every column has an index of its pages, so that a part of the group can be read alone. */
  readonly indexed: boolean;
}

export interface ParquetRange {
  /** Rows from `from` (0-based) up to but not including `to`. */
  readonly from: number;
  readonly to: number;
  /** Top-level columns; default: all. */
  readonly columns?: readonly string[] | undefined;
}

export interface ParquetFile {
  readonly rows: number;
  readonly sizeBytes: number;
  readonly columns: readonly ParquetColumn[];
  readonly rowGroups: readonly ParquetRowGroup[];
  /** Rows as JSON values, for people: integers beyond 2^53 and NaN as text. Throws UnreadableFileError. */
  read(range: ParquetRange): Promise<Record<string, unknown>[]>;
  /** Rows as the decoder gives them, to be converted one by one (parquet-values.ts). Throws UnreadableFileError. */
  readRaw(range: ParquetRange): Promise<Record<string, unknown>[]>;
  close(): Promise<void>;
}

/** Throws UnreadableFileError when the file is no Parquet, truncated, or has a column that no row may have. */
export async function openParquet(path: string): Promise<ParquetFile> {
  let file: FileHandle | null = null;
  try {
    file = await open(path, "r");
    const sizeBytes = (await file.stat()).size;
    return describe(path, file, sizeBytes, await metadataOf(rangesOf(file, sizeBytes)));
  } catch (error) {
    await file?.close();
    throw asUnreadable(error, path, null);
  }
}

/** The two ends of a file that lies elsewhere. */
export interface FileEnds {
  readonly sizeBytes: number;
  /** Its first bytes, at least four where it has them. */
  readonly head: Uint8Array;
  /** Its last bytes: all of its description, and half a mebibyte where it has so much. */
  readonly tail: Uint8Array;
}

/** What the ends of a Parquet file tell. `path`: what it is called in errors. Throws UnreadableFileError. */
export async function describeEnds(path: string, { sizeBytes, head, tail }: FileEnds): Promise<Pick<ParquetFile, "rows" | "columns">> {
  const from = sizeBytes - tail.length;
  const slice = (start: number, end = sizeBytes): ArrayBuffer => {
    if (start < from && end > head.length) throw new BrokenContentError("the Parquet file's description is larger than what was read of it");
    const bytes = start >= from ? tail.subarray(start - from, end - from) : head.subarray(start, end);
    return new Uint8Array(bytes).buffer;
  };
  try {
    const metadata = await metadataOf({ byteLength: sizeBytes, slice });
    return { rows: groupsOf(metadata).reduce((sum, group) => sum + group.rows, 0), columns: columnsOf(parquetSchema(metadata)) };
  } catch (error) {
    throw asUnreadable(error, path, null);
  }
}

function describe(path: string, file: FileHandle, sizeBytes: number, metadata: FileMetaData): ParquetFile {
  const buffer = rangesOf(file, sizeBytes);
  const columns = columnsOf(parquetSchema(metadata));
  const rowGroups = groupsOf(metadata);
  const rows = rowGroups.reduce((sum, group) => sum + group.rows, 0);
  const readRaw = async ({ from, to, columns: wanted }: ParquetRange): Promise<Record<string, unknown>[]> => {
    const known = wanted?.filter((name) => columns.some((column) => column.name === name));
    if (from >= Math.min(to, rows)) return [];
    try {
      return await parquetReadObjects({
        file: buffer, metadata, compressors, parsers: PARSERS, utf8: false, geoparquet: false, useOffsetIndex: true,
        rowStart: from, rowEnd: Math.min(to, rows), ...(known === undefined ? {} : { columns: known }),
      });
    } catch (error) {
      throw asUnreadable(damaged(error, `rows ${from + 1} to ${Math.min(to, rows)} cannot be decoded`), path, from === 0 ? null : from);
    }
  };
  return {
    rows, sizeBytes, columns, rowGroups, readRaw,
    async read(range) {
      const found = await readRaw(range);
      for (const row of found) jsonValueOf(row, { mode: "preview", fault: null, characters: 0 } satisfies Conversion);
      return found;
    },
    close: () => file.close(),
  };
}

async function metadataOf(buffer: AsyncBuffer): Promise<FileMetaData> {
  if (buffer.byteLength < 12) throw new BrokenContentError("the file is too short for Parquet: it is empty or truncated");
  if (Buffer.from(await buffer.slice(0, 4)).toString("latin1") !== "PAR1") throw new BrokenContentError("the file is no Parquet: name it by its true format, or set format");
  let metadata: FileMetaData;
  try {
    metadata = await parquetMetadataAsync(buffer, { geoparquet: false });
    parquetSchema(metadata); // a schema that contradicts itself shows here
  } catch (error) {
    const why = (error as Error).message;
    throw new BrokenContentError(why.includes("PAR1") ? "the Parquet file has no end, it is truncated: copy it again" : `the Parquet file's description at its end cannot be read (${why}): copy it again`);
  }
  for (const { name } of metadata.schema.slice(1)) {
    const fault = faultInKey(name, true);
    if (fault !== null) throw new BrokenContentError(`column names: ${fault.message}: rename the column`);
  }
  const end = Math.max(0, ...groupsOf(metadata).map((group) => group.endByte));
  if (end > buffer.byteLength) throw new BrokenContentError("the Parquet file's columns reach beyond its end: copy it again");
  return metadata;
}

function groupsOf(metadata: FileMetaData): ParquetRowGroup[] {
  let from = 0;
  return metadata.row_groups.map((group) => {
    const rows = Number(group.num_rows);
    if (!Number.isSafeInteger(rows) || rows < 0) throw new BrokenContentError("the Parquet file counts its rows wrongly: copy it again");
    const described = { from, rows, sizeBytes: Number(group.total_byte_size), endByte: endOf(group), indexed: group.columns.every((column) => column.offset_index_offset !== undefined) };
    from += rows;
    return described;
  });
}

function endOf(group: RowGroup): number {
  let end = 0;
  for (const { meta_data: column } of group.columns) {
    if (column === undefined) continue;
    const start = Number(column.dictionary_page_offset ?? 0n) > 0 ? Math.min(Number(column.dictionary_page_offset), Number(column.data_page_offset)) : Number(column.data_page_offset);
    end = Math.max(end, start + Number(column.total_compressed_size));
  }
  return end;
}

/** Errors of the decoder are about the file; those of the disk stay what they are. */
function damaged(error: unknown, what: string): unknown {
  const code = (error as NodeJS.ErrnoException | null)?.code;
  if (error instanceof BrokenContentError || (code !== undefined && /^E[A-Z]+$/.test(code))) return error;
  return new BrokenContentError(`${what}, the Parquet file is damaged or uses a feature that is not supported (${(error as Error).message}): write it again`);
}

function rangesOf(file: FileHandle, sizeBytes: number): AsyncBuffer {
  return {
    byteLength: sizeBytes,
    async slice(start, end = sizeBytes) {
      const length = Math.min(end, sizeBytes) - start;
      if (!(length >= 0) || start < 0) throw new BrokenContentError("the Parquet file points outside itself");
      const bytes = new Uint8Array(length);
      for (let done = 0; done < length;) {
        const { bytesRead } = await file.read(bytes, done, length - done, start + done);
        if (bytesRead === 0) throw new BrokenContentError("the file became shorter while it was read");
        done += bytesRead;
      }
      return bytes.buffer;
    },
  };
}
