// What verl's RL trainer checks on its configuration before and while it starts, in its own words. Independent of src/verl/preflight.ts on purpose: a run that our
// preflight lets pass and this refuses shows a gap in one of the two.

import { existsSync } from "node:fs";
import { hasScorer } from "../domain/data/data-sources.js";
import { registeredIn, releaseFor, type KnownRelease } from "../verl/releases.js";
import type { ComposedConfig } from "./composed-config.js";
import { TrainerFailure } from "./trainer-failure.js";

const ACTOR = "actor_rollout_ref.actor";
const ROLLOUT = "actor_rollout_ref.rollout";

export interface RlShape {
  readonly gpus: number;
  readonly batchSize: number;
  /** rollout.n */
  readonly answers: number;
  readonly critic: boolean;
  readonly reference: boolean;
  /** actor.strategy: fsdp, fsdp2, megatron, veomni or mindspeed. */
  readonly strategy: string;
}

/** Throws TrainerFailure or CompositionError. */
export function rlShape(config: ComposedConfig, release: KnownRelease): RlShape {
  const { estimators, losses, engines } = registeredIn(release);
  const number = (key: string, fallback: number): number => config.number(key) ?? fallback;
  const gpus = number("trainer.nnodes", 1) * number("trainer.n_gpus_per_node", 8);
  const critic = config.value("critic.enable") ?? config.text("algorithm.adv_estimator") === "gae";
  const shape = {
    gpus, batchSize: number("data.train_batch_size", 1_024), answers: number(`${ROLLOUT}.n`, 1), critic: critic === true,
    reference: config.flag(`${ACTOR}.use_kl_loss`) || config.flag("algorithm.use_kl_in_reward"), strategy: config.text(`${ACTOR}.strategy`) ?? "fsdp",
  };
  const backend = shape.strategy === "mindspeed" ? (config.text(`${ACTOR}.mindspeed.strategy`) ?? "") : shape.strategy;
  for (const model of ["language_model", ...(shape.critic ? ["value_model" as const] : [])] as const) check(engines[model][backend] !== undefined, "AssertionError", `Unknown backend: ${backend} for model_type: ${model}`);
  check(["fsdp", "fsdp2", "megatron"].includes(backend) || (config.text("trainer.use_legacy_worker_impl") ?? "disable") === "disable", "NotImplementedError", `${backend} does not support legacy worker implementation`);
  const engine = String(config.needed(`${ROLLOUT}.name`));
  check(["vllm", "sglang", "trtllm"].includes(engine), "NotImplementedError", `rollout_name: ${engine} is not supported`);
  check(config.text(`${ROLLOUT}.mode`) !== "sync", "ValueError", "Rollout mode 'sync' has been removed. Please set `actor_rollout_ref.rollout.mode=async` or remove the mode setting entirely.");
  const estimator = config.text("algorithm.adv_estimator") ?? "";
  check(estimators.includes(estimator), "ValueError", `Unknown advantage estimator simply: ${estimator}`);
  const loss = config.text(`${ACTOR}.policy_loss.loss_mode`) ?? "vanilla";
  check(losses.includes(loss), "ValueError", `Unsupported loss mode: ${loss}. Supported modes are: ${losses.join(", ")}`);
  batches(config, shape);
  const tensor = number(`${ROLLOUT}.tensor_model_parallel_size`, 2);
  check(gpus % tensor === 0, "AssertionError", `rollout world_size: ${gpus} is not divisible by infer_world_size: ${tensor}`);
  check(!config.flag(`${ROLLOUT}.val_kwargs.do_sample`) || number(`${ROLLOUT}.temperature`, 1) > 0, "AssertionError", "validation gen temperature should be greater than 0 when enabling do_sample");
  return shape;
}

function batches(config: ComposedConfig, { gpus, batchSize, answers, critic, reference, strategy }: RlShape): void {
  const megatron = strategy === "megatron";
  const drawn = batchSize * answers;
  const roles = [[ACTOR, "ppo"], ...(critic ? [["critic", "ppo"]] : [])] as const;
  if (!config.flag(`${ACTOR}.use_dynamic_bsz`)) {
    check(megatron || drawn % gpus === 0, "AssertionError", `real_train_batch_size (${drawn}) must be divisible by minimal possible batch size (${gpus})`);
    const wanted = [[ROLLOUT, "log_prob"], ...(reference ? [["actor_rollout_ref.ref", "log_prob"]] : [])] as const;
    for (const [role, prefix] of [...roles, ...wanted]) {
      const either = [`${role}.${prefix}_micro_batch_size`, `${role}.${prefix}_micro_batch_size_per_gpu`] as const;
      const set = either.filter((key) => typeof config.value(key) === "number");
      check(set.length > 0 || config.flag(`${role}.${prefix === "ppo" ? "use_dynamic_bsz" : "log_prob_use_dynamic_bsz"}`), "ValueError", `[${role}] Please set at least one of '${either[0]}' or '${either[1]}'.`);
      check(set.length < 2, "ValueError", `[${role}] You have set both '${either[0]}' AND '${either[1]}'. Please remove '${either[0]}' because only '*_micro_batch_size_per_gpu' is supported (the former is deprecated).`);
    }
  }
  for (const [role] of roles) {
    const mini = config.number(`${role}.ppo_mini_batch_size`) ?? 256;
    const sequence = config.number(strategy === "veomni" ? `${role}.veomni.ulysses_parallel_size` : `${role}.ulysses_sequence_parallel_size`) ?? 1;
    const micro = config.number(`${role}.ppo_micro_batch_size_per_gpu`);
    check(config.flag(`${role}.use_dynamic_bsz`) || batchSize >= mini, "ValueError", `train_batch_size (${batchSize}) must be >= ${role === "critic" ? "critic" : "actor"}.ppo_mini_batch_size (${mini})`);
    if (megatron || strategy === "mindspeed") continue;
    const share = Math.floor((mini * answers) / Math.max(1, Math.floor(gpus / sequence)));
    check(share > 0, "AssertionError", `ppo_mini_batch_size ${share} should be larger than 0 after normalization`);
    check(config.flag(`${role}.use_dynamic_bsz`) || micro === null || share % micro === 0, "AssertionError", `normalized ppo_mini_batch_size ${share} should be divisible by ppo_micro_batch_size_per_gpu ${micro ?? 0}`);
  }
}

/** What the agent loop finds out with the first batch. */
export function checkFirstBatch(config: ComposedConfig, { batchSize, answers }: RlShape): void {
  const workers = config.number(`${ROLLOUT}.agent.num_workers`) ?? 8;
  check((batchSize * answers) % workers === 0, "AssertionError", `only support equal chunk. Got size of DataProto ${batchSize * answers} and chunk ${workers}.`);
  check(config.text("algorithm.adv_estimator") !== "remax" || batchSize % workers === 0, "AssertionError", `only support equal chunk. Got size of DataProto ${batchSize} and chunk ${workers}.`);
}

/** What the reward loop finds out with the first answers. */
export function checkReward(config: ComposedConfig, release: KnownRelease, sources: readonly string[]): void {
  const old = releaseFor(release)!.release.rewardKeys === "reward_model";
  const file = config.text(old ? "custom_reward_function.path" : "reward.custom_reward_function.path");
  check(file === null || existsSync(file), "FileNotFoundError", `Reward function file '${file ?? ""}' not found.`);
  if (file !== null || config.flag(old ? "reward_model.enable" : "reward.reward_model.enable")) return;
  for (const source of sources) check(hasScorer(source), "NotImplementedError", `Reward function is not implemented for data_source='${source}'`);
}

function check(holds: boolean, kind: string, message: string): void {
  if (!holds) throw new TrainerFailure(kind, message);
}
