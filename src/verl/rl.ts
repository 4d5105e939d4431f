// Reinforcement learning: params to overrides of verl's one RL trainer. The algorithms differ by their overrides only.
//   R1. What verl gets wrong by default is always set: over-long prompts are left out (they break the agent loop otherwise), wandb is no logger, Ray stays private.
//   R2. Every default here keeps the divisibility rules of preflight.ts for any batch size and any number of GPUs that can keep them at all.
//   R3. A size that the user gives by verl's own key counts as if it stood in its field: what follows from it follows from that.

import type { Algorithm } from "../domain/training/algorithms.js";
import { filesOf, type TrainParams } from "../domain/training/train-params.js";
import { engineForm, engineOf, isFsdp } from "./engines.js";
import type { Override } from "./hydra.js";
import type { LaunchContext } from "./launch-context.js";
import { force, set, when } from "./override-list.js";
import { keyTable, type Release } from "./releases.js";

export const RL_DEFAULTS = { batchSize: 1_024, maxPromptLength: 1_024, maxResponseLength: 1_024, learningRate: 1e-6, loraLearningRate: 1e-5, criticLearningRate: 1e-5, epochs: 1, saveEvery: 50, memoryShare: 0.5, groupAnswers: 8 } as const;

/** verl's defaults that rules depend on. */
const AGENT_WORKERS = 8;
const KL_COEFFICIENT = 0.001;

const GROUPED: ReadonlySet<Algorithm> = new Set(["grpo", "gspo", "dapo", "rloo"]);
const KL_IN_REWARD: ReadonlySet<Algorithm> = new Set(["rloo", "remax", "reinforce_plus_plus"]);

/** The numbers that rules and overrides share, defaults filled in. */
export interface RlSizes {
  readonly batchSize: number;
  readonly miniBatchSize: number;
  readonly answers: number;
  readonly maxPromptLength: number;
  readonly maxResponseLength: number;
  readonly tensorParallel: number;
  readonly sequenceParallel: number;
  /** Null: dynamic batching. */
  readonly microBatchSize: number | null;
  readonly tokensPerGpu: number;
  readonly agentWorkers: number;
  readonly klLoss: number;
  readonly klReward: number;
}

export function rlSizes(params: TrainParams): RlSizes {
  const { algorithm, overrides } = params;
  const given = (key: string): number | undefined => (typeof overrides[key] === "number" ? overrides[key] : undefined); // R3
  const batchSize = given("data.train_batch_size") ?? params.batchSize ?? RL_DEFAULTS.batchSize;
  const answers = given("actor_rollout_ref.rollout.n") ?? params.answers ?? (GROUPED.has(algorithm) ? RL_DEFAULTS.groupAnswers : 1);
  const maxPromptLength = given("data.max_prompt_length") ?? params.maxPromptLength ?? RL_DEFAULTS.maxPromptLength;
  const maxResponseLength = given("data.max_response_length") ?? params.maxResponseLength ?? RL_DEFAULTS.maxResponseLength;
  const drawn = algorithm === "remax" ? batchSize : batchSize * answers;
  return {
    batchSize, answers, maxPromptLength, maxResponseLength,
    miniBatchSize: given(at("ppo_mini_batch_size")) ?? params.miniBatchSize ?? Math.max(1, batchSize % 4 === 0 ? batchSize / 4 : batchSize),
    tensorParallel: given("actor_rollout_ref.rollout.tensor_model_parallel_size") ?? params.rollout?.tensorParallel ?? 1,
    sequenceParallel: given(at(isFsdp(params) ? "ulysses_sequence_parallel_size" : `${engineOf(params).group}.${engineOf(params).sequence ?? ""}`)) ?? params.sequenceParallel ?? 1,
    microBatchSize: overrides[at("use_dynamic_bsz")] === true ? null : (params.microBatchSize ?? given(at("ppo_micro_batch_size_per_gpu")) ?? null),
    tokensPerGpu: given(at("ppo_max_token_len_per_gpu")) ?? params.maxTokensPerGpu ?? Math.max(8_192, maxPromptLength + maxResponseLength),
    agentWorkers: largestDivisor(drawn, AGENT_WORKERS),
    klLoss: params.klLoss ?? (algorithm === "grpo" ? KL_COEFFICIENT : 0),
    klReward: params.klReward ?? (KL_IN_REWARD.has(algorithm) ? KL_COEFFICIENT : 0),
  };
}

function at(key: string): string {
  return `actor_rollout_ref.actor.${key}`;
}

/** Every override but the user's own. */
export function rlOverrides(params: TrainParams, release: Release, context: LaunchContext): readonly Override[] {
  const sizes = rlSizes(params);
  return [
    ...data(params, sizes),
    ...model(params),
    ...actor(params, sizes),
    ...rollout(params, sizes),
    ...reference(params, sizes),
    ...(params.algorithm === "ppo" ? critic(params, sizes, release) : []),
    ...algorithm(params, sizes),
    ...reward(params, sizes, release),
    ...trainer(params, release, context),
  ];
}

function data(params: TrainParams, sizes: RlSizes): readonly Override[] {
  return [
    set("data.train_files", filesOf(params.trainFiles)),
    set("data.val_files", filesOf(params.valFiles)),
    set("data.train_batch_size", sizes.batchSize),
    set("data.max_prompt_length", sizes.maxPromptLength),
    set("data.max_response_length", sizes.maxResponseLength),
    set("data.filter_overlong_prompts", true), // R1
    ...when(params.seed !== undefined, set("data.seed", params.seed ?? 0)),
  ];
}

function model({ model, gradientCheckpointing, lora }: TrainParams): readonly Override[] {
  return [
    set("actor_rollout_ref.model.path", model),
    ...when(gradientCheckpointing !== undefined, set("actor_rollout_ref.model.enable_gradient_checkpointing", gradientCheckpointing ?? true)),
    ...(lora === undefined ? [] : [
      set("actor_rollout_ref.model.lora_rank", lora.rank), set("actor_rollout_ref.model.lora_alpha", lora.alpha ?? lora.rank * 2), set("actor_rollout_ref.model.target_modules", lora.targetModules),
    ]),
  ];
}

function actor(params: TrainParams, sizes: RlSizes): readonly Override[] {
  const fsdp = isFsdp(params);
  const { group, schedule, sequence } = engineOf(params);
  return [
    set(at("optim.lr"), params.learningRate ?? (params.lora === undefined ? RL_DEFAULTS.learningRate : RL_DEFAULTS.loraLearningRate)),
    ...when(params.schedule !== undefined, set(at(`optim.${schedule}`), params.schedule ?? "constant")),
    ...when(params.warmupRatio !== undefined, set(at("optim.lr_warmup_steps_ratio"), params.warmupRatio ?? 0)),
    ...when(params.weightDecay !== undefined, set(at("optim.weight_decay"), params.weightDecay ?? 0)),
    set(at("ppo_mini_batch_size"), sizes.miniBatchSize),
    ...batching(at("ppo"), at("use_dynamic_bsz"), at("ppo_max_token_len_per_gpu"), sizes),
    ...when(fsdp && params.strategy !== undefined, set(at("strategy"), params.strategy ?? "fsdp")),
    ...when(fsdp && sizes.sequenceParallel > 1, set(at("ulysses_sequence_parallel_size"), sizes.sequenceParallel)),
    ...when(!fsdp && sequence !== null && sizes.sequenceParallel > 1, set(at(`${group}.${sequence ?? ""}`), sizes.sequenceParallel)),
    ...(params.offload === undefined ? [] : [set(at(`${group}.param_offload`), params.offload.parameters), set(at(`${group}.optimizer_offload`), params.offload.optimizer)]),
    ...when(fsdp && params.precision !== undefined, set(at("fsdp_config.dtype"), params.precision === "fp32" ? "float32" : "bfloat16")),
    set(at("use_kl_loss"), sizes.klLoss > 0),
    ...when(sizes.klLoss > 0, set(at("kl_loss_coef"), sizes.klLoss), set(at("kl_loss_type"), "low_var_kl")),
    set(at("entropy_coeff"), params.entropy ?? 0),
  ];
}

/** Micro batches of fixed size, or by tokens. `prefix`_micro_batch_size_per_gpu is the fixed form's key. */
function batching(prefix: string, dynamicKey: string, tokensKey: string, sizes: RlSizes): readonly Override[] {
  return sizes.microBatchSize === null
    ? [set(dynamicKey, true), set(tokensKey, sizes.tokensPerGpu)]
    : [set(dynamicKey, false), set(`${prefix}_micro_batch_size_per_gpu`, sizes.microBatchSize)];
}

function rolloutAt(key: string): string {
  return `actor_rollout_ref.rollout.${key}`;
}

function rollout(params: TrainParams, sizes: RlSizes): readonly Override[] {
  return [
    set(rolloutAt("name"), params.rollout?.engine ?? "vllm"),
    set(rolloutAt("n"), sizes.answers),
    set(rolloutAt("tensor_model_parallel_size"), sizes.tensorParallel),
    set(rolloutAt("gpu_memory_utilization"), params.rollout?.memoryShare ?? RL_DEFAULTS.memoryShare),
    ...when(params.temperature !== undefined, set(rolloutAt("temperature"), params.temperature ?? 1)),
    ...when(params.topP !== undefined, set(rolloutAt("top_p"), params.topP ?? 1)),
    ...when(sizes.agentWorkers !== AGENT_WORKERS, set(rolloutAt("agent.num_workers"), sizes.agentWorkers)), // R2
    ...when(sizes.microBatchSize !== null && params.overrides[rolloutAt("log_prob_micro_batch_size")] == null, set(rolloutAt("log_prob_micro_batch_size_per_gpu"), sizes.microBatchSize ?? 1)),
    ...when(params.lora !== undefined, set(rolloutAt("load_format"), "safetensors"), set(rolloutAt("layered_summon"), true)),
  ];
}

function reference(params: TrainParams, sizes: RlSizes): readonly Override[] {
  const { overrides } = params;
  if (sizes.klLoss === 0 && sizes.klReward === 0 && overrides[at("use_kl_loss")] !== true && overrides["algorithm.use_kl_in_reward"] !== true) return [];
  return [
    ...when(sizes.microBatchSize !== null && overrides["actor_rollout_ref.ref.log_prob_micro_batch_size"] == null, set("actor_rollout_ref.ref.log_prob_micro_batch_size_per_gpu", sizes.microBatchSize ?? 1)),
    ...when(params.strategy === "veomni" && sizes.sequenceParallel > 1, set("actor_rollout_ref.ref.veomni.ulysses_parallel_size", sizes.sequenceParallel)),
    ...when(isFsdp(params) || params.strategy === "veomni", set(`actor_rollout_ref.ref.${engineOf(params).group}.param_offload`, params.offload?.reference ?? true)),
  ];
}

function critic(params: TrainParams, sizes: RlSizes, release: Release): readonly Override[] {
  const fsdp = isFsdp(params);
  const { group, sequence } = engineOf(params);
  const engineAt = fsdp ? release.criticFsdp : `critic.${group}`;
  return [
    set("critic.model.path", params.criticModel ?? params.model),
    set("critic.optim.lr", params.criticLearningRate ?? RL_DEFAULTS.criticLearningRate),
    ...batching("critic.ppo", "critic.use_dynamic_bsz", "critic.ppo_max_token_len_per_gpu", sizes),
    ...when(fsdp && params.strategy !== undefined, set("critic.strategy", params.strategy ?? "fsdp")),
    ...when(fsdp && sizes.sequenceParallel > 1, set("critic.ulysses_sequence_parallel_size", sizes.sequenceParallel)),
    ...when(!fsdp && sequence !== null && sizes.sequenceParallel > 1, set(`${engineAt}.${sequence ?? ""}`, sizes.sequenceParallel)),
    ...(params.offload === undefined ? [] : [set(`${engineAt}.param_offload`, params.offload.parameters), set(`${engineAt}.optimizer_offload`, params.offload.optimizer)]),
  ];
}

const ESTIMATORS: Readonly<Record<Exclude<Algorithm, "sft" | "dpo">, string>> = {
  ppo: "gae", grpo: "grpo", gspo: "grpo", dapo: "grpo", rloo: "rloo", remax: "remax", reinforce_plus_plus: "reinforce_plus_plus",
};

function algorithm(params: TrainParams, sizes: RlSizes): readonly Override[] {
  const name = params.algorithm as keyof typeof ESTIMATORS;
  return [
    set("algorithm.adv_estimator", ESTIMATORS[name]),
    set("algorithm.use_kl_in_reward", sizes.klReward > 0),
    ...when(sizes.klReward > 0, set("algorithm.kl_ctrl.kl_coef", sizes.klReward)),
    ...when(name === "gspo", set(at("policy_loss.loss_mode"), "gspo"), set(at("loss_agg_mode"), "seq-mean-token-mean"), set(at("clip_ratio_low"), 3e-4), set(at("clip_ratio_high"), 4e-4)),
    ...when(name === "dapo", set(at("clip_ratio_low"), 0.2), set(at("clip_ratio_high"), 0.28), set(at("clip_ratio_c"), 10), set(at("loss_agg_mode"), "token-mean")),
  ];
}

function reward({ algorithm, reward }: TrainParams, sizes: RlSizes, { rewardKeys }: Release): readonly Override[] {
  const old = rewardKeys === "reward_model";
  const manager = reward?.manager ?? (algorithm === "dapo" ? "dapo" : undefined);
  const functionAt = old ? "custom_reward_function" : "reward.custom_reward_function";
  const modelAt = old ? "reward_model" : "reward.reward_model";
  const managerArguments = old ? "reward_model.reward_kwargs" : "reward.reward_kwargs";
  return [
    ...when(manager !== undefined, set(old ? "reward_model.reward_manager" : "reward.reward_manager.name", manager ?? "naive")),
    ...when(manager === "dapo", force(`${managerArguments}.max_resp_len`, sizes.maxResponseLength),
      force(`${managerArguments}.overlong_buffer_cfg.enable`, false), force(`${managerArguments}.overlong_buffer_cfg.len`, Math.max(1, Math.floor(sizes.maxResponseLength / 8))),
      force(`${managerArguments}.overlong_buffer_cfg.penalty_factor`, 1), force(`${managerArguments}.overlong_buffer_cfg.log`, false)),
    ...(reward?.file === undefined ? [] : [
      set(`${functionAt}.path`, reward.file), set(`${functionAt}.name`, reward.function), // both: from 0.7.1 a null name overwrites the default
      ...Object.entries(reward.arguments ?? {}).map(([key, value]) => force(`${functionAt}.reward_kwargs.${key}`, value)),
    ]),
    ...(reward?.model === undefined ? [] : [set(`${modelAt}.enable`, true), set(old ? "reward_model.model.path" : "reward.reward_model.model_path", reward.model), set(`${modelAt}.rollout.name`, "vllm")]),
  ];
}

function trainer(params: TrainParams, release: Release, context: LaunchContext): readonly Override[] {
  const saveEvery = typeof params.saveEvery === "number" ? params.saveEvery : params.saveEvery === "never" ? -1 : RL_DEFAULTS.saveEvery;
  const testEvery = typeof params.testEvery === "number" ? params.testEvery : params.testEvery === "never" ? -1 : saveEvery;
  return [
    set("trainer.nnodes", context.nodes),
    set("trainer.n_gpus_per_node", Math.max(1, context.gpusPerNode)),
    set("trainer.total_epochs", params.epochs ?? RL_DEFAULTS.epochs),
    ...when(params.steps !== undefined, set("trainer.total_training_steps", params.steps ?? 0)),
    set("trainer.save_freq", saveEvery),
    set("trainer.test_freq", testEvery),
    // Validation of model-scored rows before the first step aborts the run; after a resume it would log a step that is logged already.
    ...when(params.reward?.model !== undefined || context.resumeFrom !== null, set("trainer.val_before_train", false)),
    ...when(params.keepCheckpoints !== undefined, set("trainer.max_actor_ckpt_to_keep", params.keepCheckpoints ?? 2), set("trainer.max_critic_ckpt_to_keep", params.keepCheckpoints ?? 2)),
    set("trainer.default_local_dir", context.checkpointDir),
    ...when(params.samples, force("trainer.rollout_data_dir", `${context.samplesDir}/train`), force("trainer.validation_data_dir", `${context.samplesDir}/validation`)), // Megatron's configuration lacks the keys before 0.8
    set("trainer.logger", release.fileLogger ? ["console", "file"] : ["console"]),
    set("trainer.project_name", context.project),
    set("trainer.experiment_name", context.experiment),
    ...(context.resumeFrom === null ? [set("trainer.resume_mode", "disable")] : [set("trainer.resume_mode", "resume_path"), set("trainer.resume_from_path", context.resumeFrom)]),
    ...when(release.useV1Key, set("trainer.use_v1", false)),
    ...when(needsEngineWorkers(params, release), set("trainer.use_legacy_worker_impl", "disable")),
    ...when(context.nodes === 1, force("ray_kwargs.ray_init.address", "local")), // R1
    ...when(context.cpus !== null, set("ray_kwargs.ray_init.num_cpus", context.cpus ?? 1)),
  ];
}

/** Where verl still has the older workers too they are its default, and know FSDP and Megatron alone. */
function needsEngineWorkers(params: TrainParams, { release }: Release): boolean {
  const form = engineForm(params);
  return form !== null && !["fsdp", "megatron"].includes(engineOf(params).checkpoint) && keyTable(release, form.config).has("trainer.use_legacy_worker_impl");
}

/** The largest number up to `most` that divides `value`. */
function largestDivisor(value: number, most: number): number {
  for (let candidate = Math.min(most, value); candidate > 1; candidate--) if (value % candidate === 0) return candidate;
  return 1;
}
