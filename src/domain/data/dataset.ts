// What is known of a data set, wherever it was found out: on the control plane when a file is registered, on an agent when a stage made it.

import { createHash } from "node:crypto";
import { isId, type DatasetId } from "../ids.js";
import type { Json } from "../pipeline/state.js";
import type { DataFormat, DataTask } from "./preprocess-params.js";

export interface DatasetColumn {
  readonly name: string;
  /** In words: string, integer, number, boolean, list<…>, struct<…>, json (mixed), null. */
  readonly type: string;
  readonly nullCount: number;
}

/** Lengths in characters (Unicode code points of the text), or counts. Percentiles by nearest rank; from 16,384 on they are up to 0.4 % low. */
export interface Distribution { readonly count: number; readonly min: number; readonly p5: number; readonly p25: number; readonly p50: number; readonly p75: number; readonly p95: number; readonly p99: number; readonly max: number; readonly mean: number }

/** Figures about the rows of one file. */
export interface DatasetStatistics {
  readonly rows: number;
  /** Role (or text column) → characters per row. */
  readonly characters: Readonly<Record<string, Distribution>>;
  /** Messages of user and assistant per row; null when the rows are no dialogues. */
  readonly turns: Distribution | null;
  /** Tokens per row: exact when a tokenizer was given, otherwise estimated from characters; `by` says which. */
  readonly tokens: { readonly by: "tokenizer" | "estimate"; readonly total: number; readonly distribution: Distribution } | null;
  /** Column → value → rows; at most 100 values, the rest under "…". */
  readonly categories: Readonly<Record<string, Readonly<Record<string, number>>>>;
}

/** Facts about one immutable version, without where it lies. */
export interface DatasetFacts {
  readonly format: DataFormat;
  /** sha256 of the file's bytes, lower-case hex. */
  readonly contentHash: string;
  readonly rows: number;
  readonly sizeBytes: number;
  readonly columns: readonly DatasetColumn[];
  /** Tasks that the columns can serve as they are. */
  readonly tasks: readonly DataTask[];
  readonly statistics: DatasetStatistics | null;
  /** The first rows, for readers that cannot reach the file: at most 20, and 64 KiB as JSON. */
  readonly sample: readonly Json[];
}

const ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz";

/** The id of a version follows from its name and content: agent and control plane find the same one without asking each other. */
export function datasetIdOf(name: string, contentHash: string): DatasetId {
  const digest = createHash("sha256").update(`${name}\0${contentHash}`).digest();
  let text = "";
  for (let index = 0; index < 26; index++) text += ALPHABET[digest[index]! & 31];
  return `dst_${text}` as DatasetId;
}

/** What a text says of a data set: its id, or a name and perhaps a version. */
export type DatasetRef = { readonly id: DatasetId } | { readonly name: string; /** Null: the newest. */ readonly version: number | null };

/** Reads `dst_…`, `<name>` or `<name>@<version>` (also `@v<version>`), each with or without `dataset:` before it; null when it is none of them. */
export function parseDatasetRef(text: string): DatasetRef | null {
  const ref = text.startsWith("dataset:") ? text.slice("dataset:".length) : text;
  if (isId("dst", ref)) return { id: ref };
  const [, name, version] = /^(.+?)(?:@v?(\d{1,9}))?$/su.exec(ref) ?? [];
  if (name === undefined || name.length > 300 || (version !== undefined && Number(version) === 0)) return null;
  return { name, version: version === undefined ? null : Number(version) };
}
