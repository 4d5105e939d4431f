// manifest.json: what went into the files of a preprocess stage, what came out, and where every row went. Holds no time, no host and no absolute path: equal
// input and params give an equal manifest.

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { z } from "zod";
import { DATA_FORMATS, DATA_TASKS, type PreprocessParams } from "../domain/data/preprocess-params.js";
import { packagePath } from "../package-root.js";

/** Changes whenever equal input and params would give other files than before: results made under another version are not reused. Stands in each Parquet footer. */
export const PREPROCESS_VERSION = "1";

const count = z.number().int().nonnegative();
const sha256 = z.string().regex(/^[0-9a-f]{64}$/);
const byReason = z.record(z.string(), count);

export const manifestSchema = z.strictObject({
  tool: z.strictObject({ name: z.literal("trainyard"), version: z.string(), preprocess: z.string().describe("Version of the conversion: equal input and params give equal files under it.") }),
  task: z.enum(DATA_TASKS),
  seed: count,
  params: z.record(z.string(), z.json()).describe("As given, with defaults filled in; without `cache`. Absolute paths are shortened to the file's name."),
  tokenizer: z.strictObject({ name: z.string(), sha256 }).nullable(),
  rows: z.strictObject({ in: count, kept: count, rejected: count, dropped: count }).describe("in = kept + rejected + dropped."),
  reasons: byReason.describe("Rows by reason, over all inputs: broken ones (rejected) and those that were left out (dropped)."),
  inputs: z.array(z.strictObject({
    name: z.string(), format: z.enum(DATA_FORMATS), sha256, sizeBytes: count,
    rows: count, kept: count, rejected: byReason, dropped: byReason,
  })),
  outputs: z.array(z.strictObject({
    role: z.enum(["train", "validation"]), file: z.string(), sha256, sizeBytes: count, rows: count,
    schema: z.array(z.strictObject({ name: z.string(), type: z.string(), nullCount: count })),
  })),
  rejects: z.strictObject({ file: z.string(), sha256, sizeBytes: count, rows: count }),
});
export type Manifest = z.infer<typeof manifestSchema>;

/** The bytes of the file. Keys stand as the schema has them; reasons are sorted. */
export function manifestText(manifest: Manifest): string {
  return `${JSON.stringify(manifest, null, 2)}\n`;
}

/** The params as the manifest tells them. */
export function manifestParams(params: PreprocessParams): Manifest["params"] {
  const { cache: _, input, tokenizer, ...rest } = params;
  const named = (path: string) => (path.startsWith("/") ? basename(path) : path);
  const inputs = (Array.isArray(input) ? input : [input]).map((one) => (typeof one === "string" ? named(one) : { ...one, path: named(one.path) }));
  const shown = { input: Array.isArray(input) ? inputs : inputs[0], ...rest, ...(tokenizer === undefined ? {} : { tokenizer: named(tokenizer) }) };
  return canonical(shown) as Manifest["params"];
}

/**
 * What two stages share when one may use the other's files. `contents`: a word for each input's content, in order, and for the tokenizer's (hashes, with whatever
 * else the files depend on). Neither `cache` nor the name under which files are registered counts.
 */
export function cacheKeyOf(params: PreprocessParams, contents: readonly string[], version: string): string {
  const { cache: _cache, dataset: _dataset, ...rest } = params;
  return createHash("sha256").update(JSON.stringify([version, canonical(rest), contents])).digest("hex");
}

/** This package's version. */
export function toolVersion(): string {
  return (JSON.parse(readFileSync(packagePath("package.json"), "utf8")) as { version: string }).version;
}

/** The same value with the keys of every object sorted, and without what is undefined. */
function canonical(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(canonical);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).filter(([, inner]) => inner !== undefined).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)).map(([key, inner]) => [key, canonical(inner)]));
}
