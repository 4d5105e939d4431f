// One output file with everything that is told about it: the rows go in, the facts come out.

import type { DataTask, PreprocessParams } from "../../domain/data/preprocess-params.js";
import type { DatasetFacts } from "../../domain/data/dataset.js";
import type { Json } from "../../domain/pipeline/state.js";
import { createStatistics } from "../rows/statistics.js";
import type { TokenCounter } from "../rows/tokens.js";
import type { Message, TrainingRow } from "../rows/training-row.js";
import { PREPROCESS_VERSION } from "../manifest.js";
import { createDurableFile } from "./durable-file.js";
import { outputColumns, outputRow, shapeInWords, type SplitName } from "./output-columns.js";
import { createParquetOutput } from "./parquet-output.js";

/** Rows of the sample, and their size as JSON in bytes, that facts may carry. */
export const SAMPLE_ROWS = 20;
export const SAMPLE_BYTES = 65_536;
const SHORT_MESSAGES = 20;
const SHORT_CHARACTERS = 500;

export interface DatasetOutput {
  readonly rows: number;
  /** `index`: the row's number among all kept rows. A promise when a row group is being written: await it before the next row. */
  add(row: TrainingRow, index: number): Promise<void> | null;
  finish(): Promise<DatasetFacts>;
  abandon(): Promise<void>;
}

export async function createDatasetOutput(options: { path: string; split: SplitName; params: PreprocessParams; tokens: TokenCounter | null }): Promise<DatasetOutput> {
  const { path, split, params, tokens } = options;
  const columns = outputColumns(params);
  const file = await createDurableFile(path);
  const parquet = createParquetOutput({ file, columns, createdBy: `trainyard preprocess ${PREPROCESS_VERSION}` });
  const statistics = createStatistics({ countBy: params.countBy, tokens });
  const sample = createSample();
  let rows = 0;
  let withoutExtra = 0;

  function add(row: TrainingRow, index: number): Promise<void> | null {
    const values = outputRow(row, { split, index }, params);
    rows += 1;
    if (row.extra === null) withoutExtra += 1;
    statistics.add(row);
    sample.offer(columns, values);
    return parquet.add(values, charactersOf(row));
  }

  async function finish(): Promise<DatasetFacts> {
    const { sha256, sizeBytes } = await parquet.finish();
    return {
      format: "parquet",
      contentHash: sha256,
      rows,
      sizeBytes,
      columns: Object.entries(columns).map(([name, shape]) => ({ name, type: shapeInWords(shape), nullCount: name === "extra" ? withoutExtra : 0 })),
      tasks: [params.task] satisfies DataTask[],
      statistics: statistics.result(),
      sample: sample.rows,
    };
  }

  return {
    get rows() {
      return rows;
    },
    add,
    finish,
    abandon: () => file.abandon(),
  };
}

/** The first rows as JSON, up to the first that would be too much; of a first row that is, the texts are shortened. */
function createSample(): { rows: Json[]; offer(columns: object, values: Record<string, unknown>): void } {
  const rows: Json[] = [];
  let bytes = 2;
  let full = false;
  return {
    rows,
    offer(columns, values) {
      if (full) return;
      const shown = Object.fromEntries(Object.keys(columns).map((name) => [name, values[name] ?? null]));
      const whole = JSON.stringify(shown, jsonValue);
      const text = rows.length > 0 || whole.length <= SAMPLE_BYTES / 3 ? whole : JSON.stringify(shown, shortValue);
      bytes += Buffer.byteLength(text) + 1;
      if (bytes <= SAMPLE_BYTES) rows.push(JSON.parse(text) as Json);
      full = bytes > SAMPLE_BYTES || rows.length === SAMPLE_ROWS;
    },
  };
}

function jsonValue(_key: string, value: unknown): unknown {
  return typeof value === "bigint" ? Number(value) : value;
}

function shortValue(key: string, value: unknown): unknown {
  if (Array.isArray(value)) return value.slice(0, SHORT_MESSAGES);
  return typeof value === "string" && value.length > SHORT_CHARACTERS ? `${value.slice(0, SHORT_CHARACTERS).toWellFormed()}…` : jsonValue(key, value);
}

/** About how much text the row holds. */
function charactersOf(row: TrainingRow): number {
  const lengths = (messages: readonly Message[]) => messages.reduce((total, message) => total + message.content.length, 0);
  const extra = row.extra?.length ?? 0;
  switch (row.task) {
    case "sft": return extra + lengths(row.messages);
    case "rl": return extra + lengths(row.prompt) + row.groundTruth.length + (row.question?.length ?? 0) + (row.answer?.length ?? 0);
    case "preference": return extra + lengths(row.prompt) + lengths(row.chosen) + lengths(row.rejected);
  }
}
