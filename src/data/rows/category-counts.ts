// Counts the values of those columns of two files that have few different ones, without being told which.

import type { CategoryShift } from "../../domain/data/dataset-diff.js";

/** A column with more different values, or with a longer text, is no category. */
const MAX_VALUES = 50;
const MAX_VALUE_CHARACTERS = 64;
const MAX_COLUMNS = 200;

export type Side = "from" | "to";

export interface CategoryCounts {
  add(side: Side, row: Readonly<Record<string, unknown>>): void;
  /** Columns whose values come again, the largest shift first. Rows without a value count under "null". */
  result(): CategoryShift[];
}

interface Counted { readonly from: Map<string, number>; readonly to: Map<string, number>; readonly values: Set<string> }

/** Looks at texts, booleans and whole numbers of columns, and of the fields of columns that are structs. */
export function createCategoryCounts(): CategoryCounts {
  /** Null: no category. */
  const columns = new Map<string, Counted | null>();
  const rows = { from: 0, to: 0 };

  function count(side: Side, column: string, value: unknown): void {
    if (value === null || value === undefined) return;
    let counted = columns.get(column);
    if (counted === null) return;
    if (counted === undefined) {
      if (columns.size >= MAX_COLUMNS) return;
      columns.set(column, (counted = { from: new Map(), to: new Map(), values: new Set() }));
    }
    const name = typeof value === "string" && value.length <= MAX_VALUE_CHARACTERS ? value : typeof value === "boolean" || Number.isInteger(value) ? String(value) : null;
    if (name === null || counted.values.add(name).size > MAX_VALUES) columns.set(column, null);
    else counted[side].set(name, (counted[side].get(name) ?? 0) + 1);
  }

  return {
    add(side, row) {
      rows[side]++;
      for (const name in row) {
        const value = row[name];
        if (typeof value === "object" && value !== null && !Array.isArray(value)) for (const field in value) count(side, `${name}.${field}`, (value as Record<string, unknown>)[field]);
        else count(side, name, value);
      }
    },
    result() {
      return [...columns].flatMap(([column, counted]): CategoryShift[] => {
        if (counted === null || !(["from", "to"] as const).some((side) => comesAgain(counted[side]))) return [];
        const [from, to] = [withMissing(counted.from, rows.from), withMissing(counted.to, rows.to)];
        return [{ column, from: asRecord(from), to: asRecord(to), distance: distanceOf(from, rows.from, to, rows.to) }];
      }).sort((a, b) => b.distance - a.distance || (a.column < b.column ? -1 : 1));
    },
  };
}

/** A column in which every row has a value of its own, such as an id, is no category. */
function comesAgain(counts: ReadonlyMap<string, number>): boolean {
  return counts.size > 0 && totalOf(counts) >= 2 * counts.size;
}

function withMissing(counts: ReadonlyMap<string, number>, rows: number): Map<string, number> {
  const missing = rows - totalOf(counts);
  return missing === 0 ? new Map(counts) : new Map(counts).set("null", (counts.get("null") ?? 0) + missing);
}

function totalOf(counts: ReadonlyMap<string, number>): number {
  let total = 0;
  for (const count of counts.values()) total += count;
  return total;
}

/** Half the sum of the differences of all shares: the total variation distance. Without rows on either side: 1, on both: 0. */
function distanceOf(from: ReadonlyMap<string, number>, fromRows: number, to: ReadonlyMap<string, number>, toRows: number): number {
  if (fromRows === 0 || toRows === 0) return fromRows === toRows ? 0 : 1;
  let sum = 0;
  for (const value of new Set([...from.keys(), ...to.keys()])) sum += Math.abs((from.get(value) ?? 0) / fromRows - (to.get(value) ?? 0) / toRows);
  return Math.round(sum / 2 * 10_000) / 10_000;
}

/** Most frequent first. */
function asRecord(counts: ReadonlyMap<string, number>): Record<string, number> {
  return Object.fromEntries([...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1)));
}
