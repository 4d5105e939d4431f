// What a training run left behind, read from its files when it has ended with exit code 0: whether it did what it was asked to, and what its attempt's outputs are.

import { SIMULATED_OUTPUT } from "../../domain/pipeline/simulated.js";
import { readFileLine } from "../../verl/output/file-lines.js";
import { createRunReader, lastLoss, type RunReader } from "../../verl/output/run-reader.js";
import { judgeRun, type RunVerdict } from "../../verl/output/verdict.js";
import type { FoundCheckpoint } from "../../verl/resume.js";
import type { AttemptDirectory } from "../attempt/attempt-directory.js";
import type { Place } from "../place/place.js";
import { listCheckpoints, trackedStep, trlState } from "./checkpoint-folder.js";
import { readLines } from "./growing-lines.js";
import type { RunNote, TrainedNote } from "./run-note.js";

/** Metrics that outputs hold; more would be a log. */
const MOST_METRICS = 200;

/** Judges the run of rank 0. */
export async function judgeEnd(note: RunNote, directory: AttemptDirectory, place: Place): Promise<{ readonly verdict: RunVerdict; readonly trained: TrainedNote }> {
  const run = readRun(note, directory);
  const checkpoints = await listCheckpoints(place, note.checkpointDir, note.trainer, note.expectation);
  const newest = checkpoints.at(-1) ?? null;
  const tracked = note.trainer === "trl-dpo" ? newest?.step ?? null : await trackedStep(place, note.checkpointDir);
  const expected = (note.trainer === "trl-dpo" && newest !== null ? (await trlState(place, newest.path))?.maxSteps : run.totalSteps) ?? run.totalSteps ?? note.totalSteps;
  // Resumed behind its last step: there was nothing left to train, and what it was resumed from is the result.
  if (run.lastStep === null && note.resumed !== null && expected !== null && note.resumed.step >= expected) {
    return { verdict: { kind: "sound" }, trained: trainedOf(note, place, note.resumed.step, note.resumed.path, run) };
  }
  const verdict = judgeRun({
    exitCode: 0, expectedStep: expected, savesLast: note.savesLast, trackedStep: tracked, lastLoss: lastLoss(note.trainer, run.last), lastStep: run.lastStep,
    missingFiles: checkpoints.find(({ step }) => step === tracked)?.missing ?? (tracked === null ? [] : [`global_step_${tracked}`]),
  });
  return { verdict, trained: trainedOf(note, place, run.lastStep ?? 0, lastComplete(checkpoints)?.path ?? note.resumed?.path ?? null, run) };
}

function lastComplete(checkpoints: readonly FoundCheckpoint[]): FoundCheckpoint | null {
  return checkpoints.findLast(({ missing }) => missing.length === 0) ?? null;
}

/** Outputs hold the place's own paths. */
function trainedOf({ simulated }: RunNote, place: Place, step: number, checkpoint: string | null, { last }: RunReader): TrainedNote {
  const metrics = Object.fromEntries([...last].filter(([, { value }]) => Number.isFinite(value)).slice(0, MOST_METRICS).map(([name, { value }]) => [name, value]));
  return { step, checkpoint, outputs: { ...(checkpoint === null ? {} : { checkpoint: place.there(checkpoint) }), steps: step, metrics, ...(simulated ? { [SIMULATED_OUTPUT]: true } : {}) } };
}

/** All that the console and the logger said. */
function readRun(note: RunNote, directory: AttemptDirectory): RunReader {
  const run = createRunReader(note.trainer, note.resumed?.step ?? 0);
  eachLine(directory.stdoutFile, (line) => run.read(line));
  if (note.loggerFile !== null) eachLine(note.loggerFile, (line) => run.take((readFileLine(line)?.points ?? []).filter(({ name, step, value }) => Number.isFinite(value) || (run.last.get(name)?.step ?? -1) < step)));
  return run;
}

function eachLine(file: string, take: (line: string) => void): void {
  for (let from = 0; ;) {
    const { lines, next, more } = readLines(file, from, true);
    for (const line of lines) take(line);
    if (!more || next === from) return;
    from = next;
  }
}
