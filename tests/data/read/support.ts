// Data files for the tests of reading.

import { mkdtempSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import * as fc from "fast-check";
import { inject } from "vitest";
import type { DataFormat } from "../../../src/domain/data/preprocess-params.js";
import { readRecords } from "../../../src/data/read/read-records.js";
import type { RecordBatch, RefusedRecord, SourceRecord } from "../../../src/data/read/records.js";

export type AnyRecord = SourceRecord | RefusedRecord;

export function folder(): string {
  return mkdtempSync(join(inject("runFolder"), "data-"));
}

export function fileOf(content: string | Uint8Array, name = "rows.jsonl"): string {
  const path = join(folder(), name);
  writeFileSync(path, content);
  return path;
}

export async function collect(batches: AsyncIterable<RecordBatch>): Promise<AnyRecord[]> {
  const all: AnyRecord[] = [];
  for await (const batch of batches) all.push(...batch);
  return all;
}

export function readAll(path: string, format: DataFormat = "jsonl", options: { gzip?: boolean; maxRowBytes?: number } = {}): Promise<AnyRecord[]> {
  return collect(readRecords(path, { format, gzip: options.gzip ?? path.endsWith(".gz"), maxRowBytes: options.maxRowBytes ?? 4 * 1_048_576 }));
}

/** Each record as [line, value] or [line, reason]. */
export function brief(records: readonly AnyRecord[]): [number, unknown][] {
  return records.map((record) => [record.line, record.refusal?.reason ?? record.value]);
}

/** The bytes cut where `cuts` says (fractions), as a file system might hand them out. */
export async function* pieces(bytes: Buffer, cuts: readonly number[]): AsyncGenerator<Buffer, void> {
  const at = [...new Set(cuts.map((cut) => Math.floor(cut * bytes.length)))].sort((left, right) => left - right);
  let from = 0;
  for (const end of [...at, bytes.length]) {
    if (end > from) yield bytes.subarray(from, end);
    from = Math.max(from, end);
  }
}

/** Several members, as `cat a.gz b.gz` makes them. */
export function gzipMembers(bytes: Buffer, cuts: readonly number[]): Buffer {
  const at = [0, ...cuts.map((cut) => Math.floor(cut * bytes.length)).sort((left, right) => left - right), bytes.length];
  return Buffer.concat(at.slice(1).map((end, index) => gzipSync(bytes.subarray(at[index], end))));
}

export const text = fc.oneof(
  fc.string({ unit: "binary", maxLength: 12 }).map((one) => one.replaceAll("\0", "")),
  fc.constantFrom("", " ", "\n", "\r\n", "\"", "\\", "\\\"", "\\u0000", "\u2028", "你好，世界", "👩‍👩‍👧", "[{", "]}", ",", "\t", "a\"b", "NaN", "9007199254740993", "\uFEFF"),
);
const key = text.filter((one) => !["__proto__", "constructor", "prototype"].includes(one));
const number = fc.oneof(fc.maxSafeInteger(), fc.double({ noNaN: true, noDefaultInfinity: true, min: -1e15, max: 1e15 }), fc.constantFrom(1e300, -1e-300, 0));

/** Any value that JSON has and a row may hold. */
export const json: fc.Arbitrary<unknown> = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof({ depthSize: "small", withCrossShrink: true }, fc.oneof(text, number, fc.boolean(), fc.constant(null)), fc.array(tie("value"), { maxLength: 3 }), fc.dictionary(key, tie("value"), { maxKeys: 3 })),
})).value;
export const row = fc.dictionary(key, json, { maxKeys: 4 }).map((one) => JSON.parse(JSON.stringify(one)) as Record<string, unknown>);
export const cuts = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 12 });
