// How many steps a run has and how many checkpoints it leaves, from its params and the rows of its data: for progress before the trainer says so itself, and for
// the disk that is needed.

import { ALGORITHM_FACTS } from "../domain/training/algorithms.js";
import type { TrainParams } from "../domain/training/train-params.js";
import { accumulation, DPO_DEFAULTS } from "./dpo.js";
import { RL_DEFAULTS, rlSizes } from "./rl.js";
import { sftBatchSize } from "./sft.js";

/** Steps of the whole run; null while the rows are unknown and the params do not say. RL leaves out prompts that are too long, so that it may be fewer. */
export function stepsOf(params: TrainParams, rows: number | null, gpus: number): number | null {
  if (params.steps !== undefined) return params.steps;
  const perEpoch = stepsPerEpoch(params, rows, gpus);
  return perEpoch === null ? null : perEpoch * (params.epochs ?? 1);
}

function stepsPerEpoch(params: TrainParams, rows: number | null, gpus: number): number | null {
  if (rows === null) return null;
  switch (ALGORITHM_FACTS[params.algorithm].trainer) {
    case "verl-sft": return Math.floor(rows / sftBatchSize(params));
    case "verl-rl": return Math.floor(rows / rlSizes(params).batchSize);
    case "trl-dpo": { // the last batch may be smaller, and so may the last step
      const passes = Math.ceil(rows / ((params.microBatchSize ?? DPO_DEFAULTS.microBatchSize) * Math.max(1, gpus)));
      const per = accumulation(params, gpus);
      return Math.max(1, Math.floor(passes / per) + (passes % per > 0 ? 1 : 0));
    }
  }
}

/** Checkpoints that lie on disk at its end, the last one included. `steps` null: at least those that are certain. */
export function checkpointsOf(params: TrainParams, steps: number | null): number {
  const rl = ALGORITHM_FACTS[params.algorithm].trainer === "verl-rl";
  const every = params.saveEvery ?? (rl ? RL_DEFAULTS.saveEvery : "epoch");
  if (every === "never") return rl ? 0 : 1;
  const saved = every === "epoch" ? (params.epochs ?? 1) : steps === null ? 1 : Math.ceil(steps / every);
  return params.keepCheckpoints === undefined ? Math.max(1, saved) : Math.min(Math.max(1, saved), params.keepCheckpoints + 1); // the oldest goes once the new one is there
}

/** Newest step before `before` at which the run saves by its params; null: none, or it counts in epochs. A trainer logs a step after it has saved those before it, so that this checkpoint is there once `before` is logged. */
export function lastSavedBefore(params: TrainParams, before: number): number | null {
  const rl = ALGORITHM_FACTS[params.algorithm].trainer === "verl-rl";
  const given = params.overrides["trainer.save_freq"] ?? params.saveEvery ?? (rl ? RL_DEFAULTS.saveEvery : "epoch");
  if (typeof given !== "number" || given < 1) return null;
  const step = Math.floor((before - 1) / given) * given;
  return step < 1 ? null : step;
}
