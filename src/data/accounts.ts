// Where every row went, input by input. in = kept + rejected + dropped holds for each of them at the end, or the run fails as a bug: no row goes unexplained.

import type { RejectReason } from "./read/records.js";
import type { DropReason } from "./rows/drop-reasons.js";

/** Counts of one input file. */
export interface InputAccount {
  readonly rows: number;
  readonly kept: number;
  /** Broken rows by reason, sorted. */
  readonly rejected: Readonly<Record<string, number>>;
  /** Sound rows that were left out, by reason, sorted. */
  readonly dropped: Readonly<Record<string, number>>;
}

export interface AccountTotals {
  readonly rows: number;
  readonly kept: number;
  readonly rejected: number;
  readonly dropped: number;
  /** Rejected and dropped together, by reason, sorted. */
  readonly reasons: Readonly<Record<string, number>>;
}

export interface Accounts {
  read(source: number): void;
  reject(source: number, reason: RejectReason): void;
  drop(source: number, reason: DropReason): void;
  /** The row stands in an output file. */
  keep(source: number): void;
  totals(): AccountTotals;
  ofInput(source: number): InputAccount;
  /** Throws when a row is unexplained or counted twice. Before the end, rows that still wait for their place make it throw. */
  assertBalanced(): void;
}

export function createAccounts(inputs: number): Accounts {
  const zeros = () => new Array<number>(inputs).fill(0);
  const rows = zeros();
  const kept = zeros();
  const rejected = rows.map(() => new Map<string, number>());
  const dropped = rows.map(() => new Map<string, number>());

  function totals(): AccountTotals {
    return { rows: sum(rows), kept: sum(kept), rejected: sum(rejected.map(sumOf)), dropped: sum(dropped.map(sumOf)), reasons: sortedCounts([...rejected, ...dropped]) };
  }

  function assertBalanced(): void {
    for (let source = 0; source < inputs; source++) {
      const explained = kept[source]! + sumOf(rejected[source]!) + sumOf(dropped[source]!);
      if (explained !== rows[source]) throw new Error(`Input ${source + 1}: ${rows[source]} rows were read and ${explained} are accounted for. This is a bug of the preprocess stage.`);
    }
  }

  return {
    read: (source) => void (rows[source]! += 1),
    reject: (source, reason) => add(rejected[source]!, reason),
    drop: (source, reason) => add(dropped[source]!, reason),
    keep: (source) => void (kept[source]! += 1),
    totals,
    ofInput: (source) => ({ rows: rows[source]!, kept: kept[source]!, rejected: sortedCounts([rejected[source]!]), dropped: sortedCounts([dropped[source]!]) }),
    assertBalanced,
  };
}

function add(counts: Map<string, number>, reason: string): void {
  counts.set(reason, (counts.get(reason) ?? 0) + 1);
}

function sortedCounts(all: readonly ReadonlyMap<string, number>[]): Record<string, number> {
  const together = new Map<string, number>();
  for (const counts of all) for (const [reason, number] of counts) together.set(reason, (together.get(reason) ?? 0) + number);
  return Object.fromEntries([...together].sort(([a], [b]) => (a < b ? -1 : 1)));
}

function sumOf(counts: ReadonlyMap<string, number>): number {
  return sum([...counts.values()]);
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
