// The answers that a run dumps beside its metrics: some of each dump are taken, then the dump goes, so that a long run does not fill the disk with them.

import { readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import { createAnswerPicker, KEPT_ROWS, keepsStep, stepOfDump } from "../../verl/output/sample-lines.js";
import type { FoundSample } from "../telemetry/sample-reports.js";
import { readLines } from "./growing-lines.js";

export type DumpSource = keyof typeof KEPT_ROWS;

/** More of one dump is not looked at, in bytes. */
const MOST_BYTES = 128 * 1024 * 1024;

/** Steps that are dumped whole: later than `after`, up to `upTo` (null: all). Ascending. */
export function dumpedSteps(samplesDir: string, source: DumpSource, after: number, upTo: number | null): readonly number[] {
  let names: string[];
  try {
    names = readdirSync(join(samplesDir, source));
  } catch {
    return [];
  }
  return names.map(stepOfDump).filter((step): step is number => step !== null && step > after && (upTo === null || step <= upTo)).sort((a, b) => a - b);
}

/** What is kept of a step. */
export async function readDump(samplesDir: string, source: DumpSource, step: number): Promise<readonly FoundSample[]> {
  if (!keepsStep(source, step)) return [];
  const file = join(samplesDir, source, `${step}.jsonl`);
  const picker = createAnswerPicker(KEPT_ROWS[source]);
  for (let from = 0; from < MOST_BYTES; ) {
    const { lines, next, more } = readLines(file, from, true);
    for (const line of lines) picker.take(line);
    if (!more || next === from) break;
    from = next;
    await nextTurn();
  }
  return picker.chosen().map((answer): FoundSample => ({ source, step, error: null, ...answer }));
}

export function removeDump(samplesDir: string, source: DumpSource, step: number): void {
  rmSync(join(samplesDir, source, `${step}.jsonl`), { force: true });
}
