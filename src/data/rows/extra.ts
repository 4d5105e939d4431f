// What is carried beside the dialogue: kept columns as one JSON text, and values to be counted.

import { canonicalJson, isDeeper } from "./canonical-json.js";
import { valueOf, type RecordValue } from "./columns.js";
import { Reject } from "./reject.js";

/** Readers refuse what is nested deeper than 64; a column of a nested JSON text may still be. */
const MAX_DEPTH = 100;

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
    const held = kept.get(key);
    if (isDeeper(held, MAX_DEPTH)) return new Reject("TOO_DEEP", `Column "${key}" is nested more than ${MAX_DEPTH} deep and cannot be kept.`);
    pieces.push(`${JSON.stringify(key)}:${canonicalJson(held, "told")}`);
  }
  return `{${pieces.join(",")}}`; // written by hand: a key may be __proto__
}
const NOTHING: ReadonlyMap<string, unknown> = new Map();

const CATEGORY_CHARACTERS = 100;

/** A value to be counted, as text; null when the record has none. Long ones are cut. */
export function categoryOf(value: RecordValue, column: string): string | null {
  const held = valueOf(value, column);
  if (held == null) return null;
  const text = typeof held === "string" ? held : isDeeper(held, MAX_DEPTH) ? "…" : canonicalJson(held, "told");
  return text.length <= CATEGORY_CHARACTERS ? text : `${text.slice(0, CATEGORY_CHARACTERS - 1).toWellFormed()}…`;
}
