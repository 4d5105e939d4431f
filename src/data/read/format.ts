// Which format a file has, by its name.

import { DATA_FORMATS, type DataFormat } from "../../domain/data/preprocess-params.js";

const ENDINGS: Readonly<Record<string, DataFormat>> = { jsonl: "jsonl", ndjson: "jsonl", json: "json", csv: "csv", tsv: "tsv", tab: "tsv", parquet: "parquet", pq: "parquet" };

/** What the ending of `path` says, in any case of letters; null when it says nothing. Parquet compresses by itself: `.parquet.gz` is no format. */
export function formatOf(path: string): { format: DataFormat; gzip: boolean } | null {
  const [, ending, packed] = /\.([a-z]+)(\.gz|\.gzip)?$/.exec(path.toLowerCase()) ?? [];
  const format = ending !== undefined && Object.hasOwn(ENDINGS, ending) ? ENDINGS[ending]! : null;
  const gzip = packed !== undefined;
  return format === null || (format === "parquet" && gzip) ? null : { format, gzip };
}

/** The endings that are recognised, for messages. */
export const KNOWN_ENDINGS = `${Object.keys(ENDINGS).map((ending) => `.${ending}`).join(", ")}; all but Parquet also with .gz`;

/** How a file is read whose format was given: the ending then only says whether it is gzipped. Null when neither says the format. */
export function formatFor(path: string, given: DataFormat | undefined): { format: DataFormat; gzip: boolean } | null {
  return given === undefined ? formatOf(path) : { format: given, gzip: /\.(?:gz|gzip)$/i.test(path) && DATA_FORMATS.includes(given) && given !== "parquet" };
}
