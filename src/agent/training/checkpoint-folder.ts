// The checkpoints of a run on disk.
//   F1. A step counts when the tracker has reached it and its files are all there. TRL has no tracker: its files decide, the last one of which must be whole.

import { readdirSync, readFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import type { Trainer } from "../../domain/training/algorithms.js";
import { stepOfTrlFolder, TRL_CHECKPOINT_FILES } from "../../verl/dpo.js";
import { examineCheckpoint, readTracker, stepOfFolder, TRACKER_FILE, type CheckpointExpectation } from "../../verl/output/checkpoint-layout.js";
import type { FoundCheckpoint } from "../../verl/resume.js";

/** Every step's folder, by step. `after`: only later steps. */
export function listCheckpoints(folder: string, trainer: Trainer, expectation: CheckpointExpectation, after = -1): readonly FoundCheckpoint[] {
  const tracked = trainer === "trl-dpo" ? Number.POSITIVE_INFINITY : trackedStep(folder) ?? -1;
  return namesIn(folder)
    .flatMap((name) => {
      const step = stepOf(trainer, name);
      return step === null || step <= after ? [] : [examine(join(folder, name), step, trainer, expectation, step <= tracked)];
    })
    .sort((a, b) => a.step - b.step);
}

/** What lies at a path that somebody gave: a step's folder, or the folder of several. */
export function checkpointsAt(path: string, trainer: Trainer, expectation: CheckpointExpectation): readonly FoundCheckpoint[] {
  const plain = path.replace(/\/+$/, "");
  const step = stepOf(trainer, basename(plain));
  if (step === null) return listCheckpoints(plain, trainer, expectation);
  if (namesIn(plain).length === 0) return [];
  // A folder that was moved alone has no tracker beside it: its files decide.
  const tracked = trainer === "trl-dpo" ? null : trackedStep(dirname(plain));
  return [examine(plain, step, trainer, expectation, tracked === null || step <= tracked)];
}

/** The step that the tracker names; null when there is none, or it says nothing at the moment. */
export function trackedStep(folder: string): number | null {
  try {
    return readTracker(readFileSync(join(folder, TRACKER_FILE), "utf8"));
  } catch {
    return null;
  }
}

function stepOf(trainer: Trainer, name: string): number | null {
  return trainer === "trl-dpo" ? stepOfTrlFolder(name) : stepOfFolder(name);
}

function examine(path: string, step: number, trainer: Trainer, expectation: CheckpointExpectation, committed: boolean): FoundCheckpoint {
  if (trainer === "trl-dpo") return { step, path, worldSize: null, missing: missingOfTrl(path) };
  const { worldSize, missing } = examineCheckpoint(namesBelow(path, expectation.folders), expectation);
  return { step, path, worldSize, missing: committed ? missing : [...missing, TRACKER_FILE] }; // F1
}

function missingOfTrl(path: string): string[] {
  const names = new Set(namesIn(path));
  const missing = TRL_CHECKPOINT_FILES.filter((choices) => !choices.some((name) => names.has(name))).map(([name]) => name!);
  return missing.length === 0 && trlState(path) === null ? ["trainer_state.json"] : missing;
}

/** What a checkpoint of TRL says of its run; null when it is not whole. */
export function trlState(path: string): { readonly maxSteps: number } | null {
  try {
    const { max_steps } = JSON.parse(readFileSync(join(path, "trainer_state.json"), "utf8")) as { max_steps?: unknown };
    return typeof max_steps === "number" ? { maxSteps: max_steps } : null;
  } catch {
    return null;
  }
}

/** Names in the step's folder and in those below it that matter. */
function namesBelow(path: string, folders: readonly string[]): Set<string> {
  const inside = (folder: string) => namesIn(join(path, folder)).map((name) => (folder === "" ? name : `${folder}/${name}`));
  return new Set(folders.flatMap((folder) => [...inside(folder), ...inside(folder === "" ? "dist_ckpt" : `${folder}/dist_ckpt`)]));
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
