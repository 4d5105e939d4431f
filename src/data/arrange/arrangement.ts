// Brings the rows that passed the checks into the order of the files, and takes out those that mixing and caps leave behind.
//   A1. When every row stays and stays where it is, nothing is set aside: each row goes out as it comes in.
//   A2. A row's index is its number among all kept rows in the order of the input, whatever the order of the files.
//   A3. Which rows are sampled, and their order after shuffling, follow from content and seed. The two are independent of each other.

import { inputsOf, type PreprocessInput, type PreprocessParams } from "../../domain/data/preprocess-params.js";
import { contentFingerprint, orderKey } from "../rows/fingerprint.js";
import { sideOf } from "../rows/split.js";
import type { TrainingRow } from "../rows/training-row.js";
import type { SplitName } from "../write/output-columns.js";
import { quotasOf } from "./quotas.js";
import { createSelection, type Selection } from "./selection.js";
import { createSpill, type Spill } from "./spill.js";
import type { SpillRecord } from "./spill-record.js";

/** A row in its place. */
export interface PlacedRow {
  readonly row: TrainingRow;
  /** Number of the input file. */
  readonly source: number;
  readonly split: SplitName;
  readonly index: number;
}

export interface ArrangementHost {
  readonly signal: AbortSignal;
  /** Takes the rows of the files in their order. A promise: the next row waits for it. */
  emit(placed: PlacedRow): Promise<void> | null;
  /** A row of this input was not sampled. */
  notSampled(source: number): void;
  /** Of `finish`: rows that went out. */
  onProgress(done: number, total: number): void;
}

export interface Arrangement {
  /** A row that passed every check. A promise: the next row waits for it. */
  add(row: TrainingRow, source: number): Promise<void> | null;
  /** Sends out what was set aside. */
  finish(): Promise<void>;
}

export interface ArrangementOptions {
  readonly params: PreprocessParams;
  /** Input file → what was said about it. */
  readonly sources: readonly PreprocessInput[];
  /** Where rows may be set aside. */
  readonly folder: string;
  readonly spillBytes?: number | undefined;
}

/** Whether the rows are set aside before any is written. */
export function needsSpill(params: PreprocessParams): boolean {
  return params.shuffle || samples(params);
}

function samples(params: PreprocessParams): boolean {
  return params.maxRows !== undefined || inputsOf(params).some((input) => input.maxRows !== undefined || input.weight !== undefined);
}

export function createArrangement(options: ArrangementOptions, host: ArrangementHost): Arrangement {
  return needsSpill(options.params) ? spilled(options, host) : direct(options.params, host);
}

function direct(params: PreprocessParams, host: ArrangementHost): Arrangement {
  let index = 0;
  return {
    add: (row, source) => host.emit({ row, source, split: splitOf(row, params), index: index++ }),
    finish: async () => undefined,
  };
}

function spilled({ params, sources, folder, spillBytes }: ArrangementOptions, host: ArrangementHost): Arrangement {
  const { groups, groupOf } = groupsOf(sources);
  const size = spillBytes === undefined ? {} : { bufferBytes: spillBytes };
  const rows = createSpill({ folder, name: "rows", order: params.shuffle ? "key" : "arrival", ...size });
  const draws = samples(params) ? createSpill({ folder, name: "draws", order: "key", ...size }) : null;
  const available = groups.map(() => 0);
  let seq = 0;

  function add(row: TrainingRow, source: number): Promise<void> | null {
    const print = contentFingerprint(row, "exact");
    const place = { seq: seq++, source, side: splitOf(row, params) === "train" ? 0 : 1 };
    available[groupOf[source]!]! += 1;
    const drawing = draws?.add({ ...halves(orderKey(print, params.seed, "sample")), ...place, text: "" }) ?? null;
    const { promptKey: _, ...rest } = row;
    const storing = rows.add({ ...(params.shuffle ? halves(orderKey(print, params.seed, "shuffle")) : { high: 0, low: 0 }), ...place, text: JSON.stringify(rest) });
    return drawing === null ? storing : Promise.all([drawing, storing]).then(() => undefined);
  }

  async function finish(): Promise<void> {
    const selection = draws === null ? null : await select(draws);
    const total = selection?.count ?? seq;
    let done = 0;
    for await (const batch of rows.read()) {
      host.signal.throwIfAborted();
      for (const record of batch) {
        if (selection !== null && !selection.has(record.seq)) continue;
        const writing = host.emit(placedRow(record, selection?.rank(record.seq) ?? record.seq));
        done += 1;
        if (writing !== null) await writing;
      }
      host.onProgress(done, total);
    }
  }

  /** Q1 and Q2 of quotas.ts, filled with the rows that come first in the order of the draw. */
  async function select(drawn: Spill): Promise<Selection> {
    const quotas = quotasOf(groups.map(({ maxRows, weight }, group) => ({ available: available[group]!, maxRows, weight })), params.maxRows);
    const left = [...quotas.perGroup];
    let leftInAll = quotas.total;
    const selection = createSelection(seq);
    for await (const batch of drawn.read()) {
      host.signal.throwIfAborted();
      for (const record of batch) {
        const group = groupOf[record.source]!;
        if (left[group]! > 0 && leftInAll > 0) {
          left[group]! -= 1;
          leftInAll -= 1;
          selection.take(record.seq);
        } else {
          host.notSampled(record.source);
        }
      }
    }
    return selection.build();
  }

  return { add, finish };
}

function placedRow(record: SpillRecord, index: number): PlacedRow {
  return { row: { ...(JSON.parse(record.text) as TrainingRow), promptKey: "" }, source: record.source, split: record.side === 0 ? "train" : "validation", index };
}

function splitOf(row: TrainingRow, params: PreprocessParams): SplitName {
  return params.split === undefined ? "train" : sideOf(row, params.split, params.seed);
}

/** Files that one entry of `params.input` named share its cap and its weight: a glob is one input. */
function groupsOf(sources: readonly PreprocessInput[]): { groups: readonly PreprocessInput[]; groupOf: readonly number[] } {
  const groups: PreprocessInput[] = [];
  const numbers = new Map<string, number>();
  const groupOf = sources.map((spec) => {
    const key = JSON.stringify(spec);
    if (!numbers.has(key)) numbers.set(key, groups.push(spec) - 1);
    return numbers.get(key)!;
  });
  return { groups, groupOf };
}

/** An order key, a whole number below 2^53, as two unsigned halves that compare like the whole. */
function halves(key: number): { high: number; low: number } {
  return { high: Math.floor(key / 2 ** 32), low: key >>> 0 };
}
