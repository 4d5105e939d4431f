// Supervised fine-tuning: params to overrides of verl's SFT trainer (engine form).
//   S1. What verl gets wrong by default is always set: learning rate (1e-3), logger (wandb), checkpoints to keep.
//   S2. A size that the user gives by verl's own key counts as if it stood in its field: what follows from it follows from that.

import { filesOf, type TrainParams } from "../domain/training/train-params.js";
import type { Override } from "./hydra.js";
import { worldSize, type LaunchContext } from "./launch-context.js";
import { keyTable, type Release } from "./releases.js";
import { engineOf, isFsdp } from "./engines.js";
import { set, when } from "./override-list.js";

export const SFT_DEFAULTS = { batchSize: 256, maxLength: 2_048, learningRate: 1e-5, loraLearningRate: 1e-4, schedule: "cosine", epochs: 1 } as const;

/** Rows per step. */
export function sftBatchSize(params: TrainParams): number {
  return sizeIn(params, "data.train_batch_size") ?? params.batchSize ?? SFT_DEFAULTS.batchSize;
}

/** Tokens a pass may hold under dynamic batching. */
export function sftTokensPerGpu(params: TrainParams): number {
  return tokensGiven(params) ?? Math.max(8_192, sftMaxLength(params));
}

/** Tokens of the longest row. By default no more than a pass holds. */
export function sftMaxLength(params: TrainParams): number {
  const room = tokensGiven(params);
  const { sequence } = engineOf(params);
  const group = (sequence === null ? undefined : sizeIn(params, `engine.${sequence}`)) ?? params.sequenceParallel ?? 1;
  return sizeIn(params, "data.max_length") ?? params.maxLength ?? (room === undefined || isFixed(params) ? SFT_DEFAULTS.maxLength : Math.min(SFT_DEFAULTS.maxLength, room * group));
}

/** Whether micro batches are counted in rows and not in tokens. */
function isFixed({ microBatchSize, overrides }: TrainParams): boolean {
  return microBatchSize !== undefined || overrides["data.use_dynamic_bsz"] === false;
}

function tokensGiven(params: TrainParams): number | undefined {
  return sizeIn(params, "data.max_token_len_per_gpu") ?? params.maxTokensPerGpu;
}

/** S2. */
function sizeIn({ overrides }: TrainParams, key: string): number | undefined {
  const value = overrides[key];
  return typeof value === "number" ? value : undefined;
}

/** Every override but the user's own, in the order of verl's documentation. */
export function sftOverrides(params: TrainParams, release: Release, context: LaunchContext): readonly Override[] {
  const valFiles = filesOf(params.valFiles);
  const saveEvery = frequency(params.saveEvery ?? "epoch");
  const testEvery = valFiles.length === 0 ? -1 : frequency(params.testEvery ?? params.saveEvery ?? "epoch");
  return [
    set("data.train_files", filesOf(params.trainFiles)),
    ...when(valFiles.length > 0, set("data.val_files", valFiles)),
    set("data.train_batch_size", sftBatchSize(params)),
    set("data.max_length", sftMaxLength(params)),
    ...(params.microBatchSize === undefined
      ? [set("data.use_dynamic_bsz", true), set("data.max_token_len_per_gpu", sftTokensPerGpu(params))]
      : [set("data.use_dynamic_bsz", false), set("data.micro_batch_size_per_gpu", params.microBatchSize)]),
    set("model.path", params.model),
    ...when(params.gradientCheckpointing !== undefined, set("model.enable_gradient_checkpointing", params.gradientCheckpointing ?? true)),
    ...sftLora(params),
    ...sftEngine(params, release, context),
    set("optim.lr", params.learningRate ?? (params.lora === undefined ? SFT_DEFAULTS.learningRate : SFT_DEFAULTS.loraLearningRate)),
    set(`optim.${engineOf(params).schedule}`, params.schedule ?? SFT_DEFAULTS.schedule),
    ...when(params.warmupRatio !== undefined, set("optim.lr_warmup_steps_ratio", params.warmupRatio ?? 0)),
    ...when(params.weightDecay !== undefined, set("optim.weight_decay", params.weightDecay ?? 0)),
    set("trainer.total_epochs", params.epochs ?? SFT_DEFAULTS.epochs),
    ...when(params.steps !== undefined, set("trainer.total_training_steps", params.steps ?? 0)),
    set("trainer.save_freq", saveEvery),
    set("trainer.test_freq", testEvery),
    ...when(params.keepCheckpoints !== undefined, set("trainer.max_ckpt_to_keep", params.keepCheckpoints ?? 2)),
    ...when(params.seed !== undefined, set("trainer.seed", params.seed ?? 0)),
    set("trainer.n_gpus_per_node", Math.max(1, context.gpusPerNode)),
    set("trainer.nnodes", context.nodes),
    set("trainer.default_local_dir", context.checkpointDir),
    set("trainer.logger", release.fileLogger ? ["console", "file"] : ["console"]),
    set("trainer.project_name", context.project),
    set("trainer.experiment_name", context.experiment),
    ...(context.resumeFrom === null ? [set("trainer.resume_mode", "disable")] : [set("trainer.resume_mode", "resume_path"), set("trainer.resume_from_path", context.resumeFrom)]),
    ...when(context.device !== "cuda", set("trainer.device", context.device)),
  ];
}

function sftLora({ lora }: TrainParams): readonly Override[] {
  return lora === undefined ? [] : [set("model.lora_rank", lora.rank), set("model.lora_alpha", lora.alpha ?? lora.rank * 2), set("model.target_modules", lora.targetModules)];
}

function sftEngine(params: TrainParams, release: Release, context: LaunchContext): readonly Override[] {
  const { sequence } = engineOf(params);
  const offload = params.offload === undefined ? [] : [set("engine.param_offload", params.offload.parameters), set("engine.optimizer_offload", params.offload.optimizer)];
  if (!isFsdp(params)) return [
    ...when(sequence !== null && params.sequenceParallel !== undefined, set(`engine.${sequence ?? ""}`, params.sequenceParallel ?? 1)),
    ...veomniGroups(params, release, context),
    ...offload,
  ];
  return [
    ...when(params.strategy !== undefined, set("engine.strategy", params.strategy ?? "fsdp")),
    ...when(params.sequenceParallel !== undefined, set("engine.ulysses_sequence_parallel_size", params.sequenceParallel ?? 1)),
    ...when(params.precision !== undefined, set("engine.dtype", params.precision === "fp32" ? "float32" : "bfloat16")),
    ...offload,
  ];
}

/** VeOmni's groups of 0.7.0 do not follow from the world: with its defaults of 1 more than one GPU would not start. */
function veomniGroups(params: TrainParams, { release }: Release, context: LaunchContext): readonly Override[] {
  if (params.strategy !== "veomni" || !keyTable(release, "sft_trainer_engine+veomni").has("engine.data_parallel_size")) return [];
  const group = sizeIn(params, "engine.ulysses_parallel_size") ?? params.sequenceParallel ?? 1;
  const rest = Math.max(1, Math.floor(worldSize(context) / group));
  return [set("engine.data_parallel_size", rest), set("engine.data_parallel_shard_size", rest)];
}

function frequency(every: NonNullable<TrainParams["saveEvery"]>): number | string {
  return every === "epoch" ? "after_each_epoch" : every === "never" ? -1 : every;
}
