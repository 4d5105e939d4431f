// The answers that a run dumps beside its metrics: some of each dump are taken, then the dump goes, so that a long run does not fill the disk with them.

import { join } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import { createAnswerPicker, KEPT_ROWS, keepsStep, stepOfDump } from "../../verl/output/sample-lines.js";
import type { Place } from "../place/place.js";
import type { FoundSample } from "../telemetry/sample-reports.js";
import { readLines } from "./growing-lines.js";

export type DumpSource = keyof typeof KEPT_ROWS;

/** More of one dump is not looked at, in bytes; of one that is brought from another machine, nothing beyond the second. */
const MOST_BYTES = 128 * 1024 * 1024;
const MOST_BROUGHT_BYTES = 16 * 1024 * 1024;

/** Steps that are dumped whole: later than `after`, up to `upTo` (null: all). Ascending. */
export async function dumpedSteps(place: Pick<Place, "list">, samplesDir: string, source: DumpSource, after: number, upTo: number | null): Promise<readonly number[]> {
  const names = (await place.list(join(samplesDir, source))).map(({ name }) => name);
  return names.map(stepOfDump).filter((step): step is number => step !== null && step > after && (upTo === null || step <= upTo)).sort((a, b) => a - b);
}

/** What is kept of a step. `isHere`: the dump lies on this machine. */
export async function readDump(place: Pick<Place, "readText">, isHere: boolean, samplesDir: string, source: DumpSource, step: number): Promise<readonly FoundSample[]> {
  if (!keepsStep(source, step)) return [];
  const file = fileOf(samplesDir, source, step);
  const picker = createAnswerPicker(KEPT_ROWS[source]);
  if (isHere) await pickHere(file, (line) => picker.take(line));
  else for (const line of ((await place.readText(file, MOST_BROUGHT_BYTES)) ?? "").split("\n")) if (line !== "") picker.take(line);
  return picker.chosen().map((answer): FoundSample => ({ source, step, error: null, ...answer }));
}

async function pickHere(file: string, take: (line: string) => void): Promise<void> {
  for (let from = 0; from < MOST_BYTES; ) {
    const { lines, next, more } = readLines(file, from, true);
    for (const line of lines) take(line);
    if (!more || next === from) break;
    from = next;
    await nextTurn();
  }
}

/** One that cannot be removed stays until its attempt's directory goes. */
export async function removeDump(place: Pick<Place, "there" | "deleteArtifact">, samplesDir: string, source: DumpSource, step: number): Promise<void> {
  await place.deleteArtifact(place.there(fileOf(samplesDir, source, step))).catch(() => undefined);
}

function fileOf(samplesDir: string, source: DumpSource, step: number): string {
  return join(samplesDir, source, `${step}.jsonl`);
}
