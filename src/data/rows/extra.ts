// What is carried beside the dialogue: kept columns as one JSON text, and values to be counted.

import { valueOf, type RecordValue } from "./columns.js";
import { Reject } from "./reject.js";

/** Readers refuse what is nested deeper than 64; a column of a nested JSON text may still be. */
const MAX_DEPTH = 100;

/** The same text for the same value, whatever the order of its keys; null when it is nested too deep. Safe with any key, __proto__ included. */
export function canonicalJson(value: unknown, depth = 0): string | null {
  if (value === null || typeof value !== "object") return JSON.stringify(value) ?? "null";
  if (depth >= MAX_DEPTH) return null;
  const pieces: string[] = [];
  if (Array.isArray(value)) {
    for (const item of value as unknown[]) {
      const text = canonicalJson(item, depth + 1);
      if (text === null) return null;
      pieces.push(text);
    }
    return `[${pieces.join(",")}]`;
  }
  for (const key of Object.keys(value).sort()) {
    const text = canonicalJson((value as RecordValue)[key], depth + 1);
    if (text === null) return null;
    pieces.push(`${JSON.stringify(key)}:${text}`);
  }
  return `{${pieces.join(",")}}`;
}

/** The columns that the record has, as JSON text with sorted keys; null when it has none of them. A null counts as absent, as it does in Parquet. */
export function keptColumns(value: RecordValue, columns: readonly string[], further: ReadonlyMap<string, unknown> = NOTHING): string | null | Reject {
  const kept = new Map(further);
  for (const column of columns) {
    const held = valueOf(value, column);
    if (held != null) kept.set(column, held);
  }
  if (kept.size === 0) return null;
  const pieces: string[] = [];
  for (const key of [...kept.keys()].sort()) {
    const text = canonicalJson(kept.get(key));
    if (text === null) return new Reject("TOO_DEEP", `Column "${key}" is nested more than ${MAX_DEPTH} deep and cannot be kept.`);
    pieces.push(`${JSON.stringify(key)}:${text}`);
  }
  return `{${pieces.join(",")}}`;
}
const NOTHING: ReadonlyMap<string, unknown> = new Map();

const CATEGORY_CHARACTERS = 100;

/** A value to be counted, as text; null when the record has none. Long ones are cut. */
export function categoryOf(value: RecordValue, column: string): string | null {
  const held = valueOf(value, column);
  if (held == null) return null;
  const text = typeof held === "string" ? held : canonicalJson(held) ?? "…";
  return text.length <= CATEGORY_CHARACTERS ? text : `${text.slice(0, CATEGORY_CHARACTERS - 1).toWellFormed()}…`;
}
