// What checkpoints of a run will look like, by its configuration.

import { ALGORITHM_FACTS } from "../domain/training/algorithms.js";
import type { TrainParams } from "../domain/training/train-params.js";
import { effectiveConfig } from "./effective-config.js";
import { engineOf } from "./engines.js";
import type { LaunchContext } from "./launch-context.js";
import type { CheckpointExpectation } from "./output/checkpoint-layout.js";
import type { Release } from "./releases.js";

export interface SavingFacts extends CheckpointExpectation {
  /** Whether the run saves at its last step: verl's RL trainer only when it saves at all. */
  readonly savesLast: boolean;
}

export function savingFacts(params: TrainParams, release: Release, context: LaunchContext): SavingFacts {
  const { trainer } = ALGORITHM_FACTS[params.algorithm];
  const backend = trainer === "trl-dpo" ? "fsdp" : engineOf(params).checkpoint;
  if (trainer === "trl-dpo") return { backend, folders: [""], contents: [], savesLast: params.saveEvery !== "never" };
  const config = effectiveConfig(params, release, context);
  const contents = (key: string) => {
    const value = config.value(key);
    return Array.isArray(value) ? value.map(String) : ["model", "optimizer", "extra"];
  };
  if (trainer === "verl-sft") return { backend, folders: [""], contents: contents("checkpoint.save_contents"), savesLast: true };
  const critic = config.flag("critic.enable") || config.text("algorithm.adv_estimator") === "gae";
  return { backend, folders: critic ? ["actor", "critic"] : ["actor"], contents: contents("actor_rollout_ref.actor.checkpoint.save_contents"), savesLast: (config.number("trainer.save_freq") ?? -1) > 0 };
}
