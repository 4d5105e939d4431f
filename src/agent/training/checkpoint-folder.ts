// The checkpoints of a run where it runs.
//   F1. A step counts when the tracker has reached it and its files are all there. TRL has no tracker: its files decide, the last one of which must be whole.

import { basename, dirname, join } from "node:path";
import type { Trainer } from "../../domain/training/algorithms.js";
import { stepOfTrlFolder, TRL_CHECKPOINT_FILES } from "../../verl/dpo.js";
import { examineCheckpoint, foldersThatTell, readTracker, stepOfFolder, TRACKER_FILE, type CheckpointExpectation } from "../../verl/output/checkpoint-layout.js";
import type { FoundCheckpoint } from "../../verl/resume.js";
import type { Place } from "../place/place.js";

/** What is needed of the place. Paths are home's, or the place's own; those of the answers are written as they were asked for. */
export type CheckpointPlace = Pick<Place, "list" | "readText">;

/** Longest tracker, and longest state file of TRL, in bytes: it holds the log of the run. */
const TRACKER_BYTES = 64;
const STATE_BYTES = 64 * 1024 * 1024;

/** Every step's folder, by step. `after`: only later steps. */
export async function listCheckpoints(place: CheckpointPlace, folder: string, trainer: Trainer, expectation: CheckpointExpectation, after = -1): Promise<readonly FoundCheckpoint[]> {
  const steps = (await namesIn(place, folder)).flatMap((name) => {
    const step = stepOf(trainer, name);
    return step === null || step <= after ? [] : [{ name, step }];
  });
  if (steps.length === 0) return [];
  const tracked = trainer === "trl-dpo" ? Number.POSITIVE_INFINITY : (await trackedStep(place, folder)) ?? -1;
  const found = await Promise.all(steps.map(({ name, step }) => examine(place, join(folder, name), step, trainer, expectation, step <= tracked)));
  return found.sort((a, b) => a.step - b.step);
}

/** What lies at a path that somebody gave: a step's folder, or the folder of several. */
export async function checkpointsAt(place: CheckpointPlace, path: string, trainer: Trainer, expectation: CheckpointExpectation): Promise<readonly FoundCheckpoint[]> {
  const plain = path.replace(/\/+$/, "");
  const step = stepOf(trainer, basename(plain));
  if (step === null) return listCheckpoints(place, plain, trainer, expectation);
  if ((await namesIn(place, plain)).length === 0) return [];
  // A folder that was moved alone has no tracker beside it: its files decide.
  const tracked = trainer === "trl-dpo" ? null : await trackedStep(place, dirname(plain));
  return [await examine(place, plain, step, trainer, expectation, tracked === null || step <= tracked)];
}

/** The step that the tracker names; null when there is none, or it says nothing at the moment. */
export async function trackedStep(place: CheckpointPlace, folder: string): Promise<number | null> {
  const text = await place.readText(join(folder, TRACKER_FILE), TRACKER_BYTES);
  return text === null ? null : readTracker(text);
}

function stepOf(trainer: Trainer, name: string): number | null {
  return trainer === "trl-dpo" ? stepOfTrlFolder(name) : stepOfFolder(name);
}

async function examine(place: CheckpointPlace, path: string, step: number, trainer: Trainer, expectation: CheckpointExpectation, committed: boolean): Promise<FoundCheckpoint> {
  if (trainer === "trl-dpo") return { step, path, worldSize: null, missing: await missingOfTrl(place, path) };
  const { worldSize, missing } = examineCheckpoint(await namesBelow(place, path, expectation), expectation);
  return { step, path, worldSize, missing: committed ? missing : [...missing, TRACKER_FILE] }; // F1
}

async function missingOfTrl(place: CheckpointPlace, path: string): Promise<string[]> {
  const names = new Set(await namesIn(place, path));
  const missing = TRL_CHECKPOINT_FILES.filter((choices) => !choices.some((name) => names.has(name))).map(([name]) => name!);
  return missing.length === 0 && (await trlState(place, path)) === null ? ["trainer_state.json"] : missing;
}

/** What a checkpoint of TRL says of its run; null when it is not whole. */
export async function trlState(place: CheckpointPlace, path: string): Promise<{ readonly maxSteps: number } | null> {
  try {
    const { max_steps } = JSON.parse((await place.readText(join(path, "trainer_state.json"), STATE_BYTES)) ?? "") as { max_steps?: unknown };
    return typeof max_steps === "number" ? { maxSteps: max_steps } : null;
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof TypeError) return null;
    throw error;
  }
}

/** Names in the step's folder and in those below it that matter. */
async function namesBelow(place: CheckpointPlace, path: string, expectation: CheckpointExpectation): Promise<Set<string>> {
  const inside = async (folder: string) => (await namesIn(place, join(path, folder))).map((name) => (folder === "" ? name : `${folder}/${name}`));
  return new Set((await Promise.all(expectation.folders.flatMap((folder) => foldersThatTell(expectation).map((below) => inside([folder, below].filter((part) => part !== "").join("/")))))).flat());
}

async function namesIn(place: CheckpointPlace, folder: string): Promise<string[]> {
  return (await place.list(folder)).map(({ name }) => name);
}
