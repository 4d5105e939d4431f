// What can be found out about a data file by reading it once.

import { createHash } from "node:crypto";
import type { DatasetColumn, DatasetFacts } from "../../domain/data/dataset.js";
import type { DataFormat, DataTask } from "../../domain/data/preprocess-params.js";
import type { Json } from "../../domain/pipeline/state.js";
import { createColumnTypes } from "./column-types.js";
import { createContentFigures } from "./content-figures.js";
import { hashFile } from "./file-hash.js";
import { formatFor, KNOWN_ENDINGS } from "./format.js";
import { openParquet } from "./parquet-file.js";
import { readRecords } from "./read-records.js";
import { UnreadableFileError } from "./records.js";

/** Longer rows count, but are not looked into. */
const MAX_ROW_BYTES = 64 * 1_048_576;
const SAMPLE_ROWS = 20;
const SAMPLE_BYTES = 65_536;

export interface InspectOptions {
  /** Default: by the file's ending. */
  readonly format?: DataFormat | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Bytes read so far. */
  readonly onBytes?: ((consumedOnDisk: number) => void) | undefined;
}

/** Streams: memory does not grow with the file. `rows` counts those that cannot be read too (`unreadableRows`); columns, statistics and sample are about the others.
 *  Throws UnreadableFileError, and the signal's reason. */
export async function inspectFile(path: string, options: InspectOptions = {}): Promise<DatasetFacts & { readonly unreadableRows: number }> {
  const form = formatFor(path, options.format);
  if (form === null) throw new UnreadableFileError(path, null, `the ending tells no format: rename the file (${KNOWN_ENDINGS}), or give the format`);
  const { signal, onBytes } = options;
  const hash = createHash("sha256");
  let sizeBytes = 0;
  const onContent = (chunk: Uint8Array) => {
    hash.update(chunk);
    sizeBytes += chunk.length;
  };
  const types = createColumnTypes();
  const figures = createContentFigures();
  const sample: Json[] = [];
  let room = SAMPLE_BYTES - 2;
  let rows = 0;
  let unreadableRows = 0;
  for await (const batch of readRecords(path, { ...form, maxRowBytes: MAX_ROW_BYTES, signal, onBytes, onContent })) {
    for (const { value } of batch) {
      rows++;
      if (value === undefined) {
        unreadableRows++;
        continue;
      }
      types.add(value);
      figures.add(value);
      if (sample.length < SAMPLE_ROWS && room > 0) room = sampled(value as Json, sample, room);
    }
  }
  const inferred = types.result();
  const columns = form.format === "parquet" ? await declaredColumns(path, inferred, rows) : inferred;
  const content = form.format === "parquet" ? await hashFile(path, signal === undefined ? {} : { signal }) : { sha256: hash.digest("hex"), sizeBytes };
  return { format: form.format, contentHash: content.sha256, rows, sizeBytes: content.sizeBytes, columns, tasks: tasksOf(columns), statistics: figures.result(rows), sample, unreadableRows };
}

/** Adds the row when it fits, its texts shortened when it is the first one; gives the room that is left. */
function sampled(row: Json, sample: Json[], room: number): number {
  const text = JSON.stringify(row);
  const size = Buffer.byteLength(text) + 1;
  if (size <= room) {
    sample.push(JSON.parse(text) as Json); // a copy of its own: nothing of the row stays alive
    return room - size;
  }
  if (sample.length > 0) return 0;
  const short = JSON.stringify(row, (_key, value: unknown) => (typeof value === "string" && value.length > 500 ? `${value.slice(0, 500).toWellFormed()}…` : Array.isArray(value) ? value.slice(0, 20) : value));
  if (Buffer.byteLength(short) + 1 <= room) sample.push(JSON.parse(short) as Json);
  return 0;
}

/** Types as the file declares them; which rows have null was seen while reading. */
async function declaredColumns(path: string, seen: readonly DatasetColumn[], rows: number): Promise<readonly DatasetColumn[]> {
  const file = await openParquet(path);
  try {
    return file.columns.map(({ name, type }) => ({ name, type, nullCount: seen.find((column) => column.name === name)?.nullCount ?? rows }));
  } finally {
    await file.close();
  }
}

const MESSAGES = /^list<struct<(?=.*\brole: string)(?=.*\bcontent: string)/;

/** The tasks whose trainers read these columns as they are. */
export function tasksOf(columns: readonly DatasetColumn[]): readonly DataTask[] {
  const type = (name: string) => columns.find((column) => column.name === name)?.type ?? "";
  const isText = (name: string) => type(name) === "string" || MESSAGES.test(type(name));
  const tasks: DataTask[] = [];
  if (MESSAGES.test(type("messages"))) tasks.push("sft");
  if (MESSAGES.test(type("prompt")) && type("data_source") === "string" && /^struct<.*\bground_truth: /.test(type("reward_model"))) tasks.push("rl");
  if (isText("chosen") && isText("rejected")) tasks.push("preference");
  return tasks;
}
