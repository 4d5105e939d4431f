// What two data files have in common and what not.
//   rowsSame + rowsRemoved = readable rows of the one, rowsSame + rowsAdded = readable rows of the other: a row that occurs twice counts twice.

import type { Json } from "../pipeline/state.js";
import type { DatasetColumn, Distribution } from "./dataset.js";

export const COLUMN_CHANGES = ["ADDED", "REMOVED", "TYPE", "NULLS"] as const;
/** NULLS: the type is the same, but only one of the two has rows in which it is null. */
export type ColumnChangeKind = (typeof COLUMN_CHANGES)[number];

export interface ColumnChange {
  readonly name: string;
  readonly change: ColumnChangeKind;
  readonly from: DatasetColumn | null;
  readonly to: DatasetColumn | null;
}

export const LENGTH_KINDS = ["CHARACTERS", "TURNS", "TOKENS"] as const;
export type LengthKind = (typeof LENGTH_KINDS)[number];

/** Lengths on both sides, measured in the same way: whatever statistics were stored with either. Tokens are estimated. */
export interface LengthShift {
  readonly kind: LengthKind;
  /** Role or text column for CHARACTERS, otherwise null. */
  readonly name: string | null;
  /** Null: no row has it. */
  readonly from: Distribution | null;
  readonly to: Distribution | null;
}

/** How often the values of a column with few of them occur on both sides. */
export interface CategoryShift {
  /** `name`, or `name.field` within a struct. */
  readonly column: string;
  readonly from: Readonly<Record<string, number>>;
  readonly to: Readonly<Record<string, number>>;
  /** Share of the rows that would have to change their value for both to be distributed alike, 0 to 1. */
  readonly distance: number;
}

export interface DiffRow {
  /** Number of the row in its file, from 0. */
  readonly row: number;
  /** Long texts are cut. */
  readonly value: Json;
}

export interface DatasetDiff {
  /** Both are the same bytes; then nothing was measured. */
  readonly sameContent: boolean;
  readonly rowsSame: number;
  readonly rowsAdded: number;
  readonly rowsRemoved: number;
  readonly columns: readonly ColumnChange[];
  readonly lengths: readonly LengthShift[];
  /** Those that differ most first. */
  readonly categories: readonly CategoryShift[];
  /** Some of the rows that only the one has, in the order of its file. */
  readonly added: readonly DiffRow[];
  readonly removed: readonly DiffRow[];
}

/** Columns that are not the same, in the order of `to`, then those that are gone. */
export function columnChanges(from: readonly DatasetColumn[], to: readonly DatasetColumn[]): ColumnChange[] {
  const before = new Map(from.map((column) => [column.name, column]));
  const after = new Set(to.map((column) => column.name));
  return [
    ...to.flatMap((column): ColumnChange[] => {
      const earlier = before.get(column.name) ?? null;
      const change = earlier === null ? "ADDED" : earlier.type !== column.type ? "TYPE" : (earlier.nullCount === 0) !== (column.nullCount === 0) ? "NULLS" : null;
      return change === null ? [] : [{ name: column.name, change, from: earlier, to: column }];
    }),
    ...from.filter(({ name }) => !after.has(name)).map((column): ColumnChange => ({ name: column.name, change: "REMOVED", from: column, to: null })),
  ];
}
