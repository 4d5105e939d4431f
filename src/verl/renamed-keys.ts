// Keys that a release reads under another name than an older one did.
//   N1. Where verl moves a value over by itself (the reward settings in 0.7.1 and 0.8) the old name is taken and handed on under the new one. Where it would fail, or be
//       ignored without a word (0.8 for the critic's, 0.9 for the reward settings), it is refused.

import type { Release } from "./releases.js";

export interface Renamed {
  readonly to: string;
  /** N1. */
  readonly moved: boolean;
  /** What the release does with the old key. */
  readonly consequence: string;
}

/** What stands for the key in this release; null: the key itself. */
export function renamedKey(key: string, release: Release): Renamed | null {
  if (release.rewardKeys === "reward") {
    for (const [old, now] of REWARD) if (key === old || key.startsWith(`${old}.`)) return { to: now + key.slice(old.length), moved: release.movesRewardKeys, consequence: "and ignores the old key without a word" };
  }
  if (release.criticFsdp === "critic.fsdp" && key.startsWith(CRITIC)) return { to: key.replace(CRITIC, "critic.fsdp."), moved: false, consequence: "and refuses the old key" };
  return null;
}

/** The name that verl is given: the new one where the old one is taken too (N1). */
export function nameFor(key: string, release: Release): string {
  const renamed = renamedKey(key, release);
  return renamed?.moved === true ? renamed.to : key;
}

const CRITIC = "critic.model.fsdp_config.";
const REWARD: readonly (readonly [string, string])[] = [
  ["custom_reward_function", "reward.custom_reward_function"], ["reward_model.reward_manager", "reward.reward_manager.name"], ["reward_model.reward_kwargs", "reward.reward_kwargs"],
  ["reward_model.model.path", "reward.reward_model.model_path"], ["reward_model.num_workers", "reward.num_workers"], ["reward_model.sandbox_fusion", "reward.sandbox_fusion"], ["sandbox_fusion", "reward.sandbox_fusion"],
  ["reward_model.rollout", "reward.reward_model.rollout"],
  ...["enable", "enable_resource_pool", "n_gpus_per_node", "nnodes"].map((name) => [`reward_model.${name}`, `reward.reward_model.${name}`] as const),
];
