// Direct preference optimisation through TRL (`trl dpo`): verl has no offline DPO in any release, and this does not pretend otherwise.
//   D1. TRL takes a folder of Parquet files named by split: the agent links the stage's files into one (`dataFolder`).
//   D2. What is started is the program behind `trl dpo` and not that command, which drops --num_processes in some releases and is no module in others.
//   D3. That program goes on from a checkpoint only through a file of ours: before TRL 1.0 it reads --resume_from_checkpoint and begins anew (decision 0011).

import { packagePath } from "../package-root.js";
import type { TrainParams } from "../domain/training/train-params.js";
import type { LaunchContext } from "./launch-context.js";

export const DPO_DEFAULTS = { batchSize: 32, microBatchSize: 4, maxLength: 2_048, learningRate: 5e-7, loraLearningRate: 5e-6, beta: 0.1, epochs: 1, schedule: "cosine" } as const;

/** D3. */
export const RESUME_PROGRAM = packagePath("src", "verl", "python", "resume_dpo.py");

/** Names of the links in the data folder, by position of the file (D1). */
export function dataLink(split: "train" | "validation", position: number): string {
  return `${split}-${String(position).padStart(5, "0")}.parquet`;
}

export interface DpoContext extends LaunchContext { readonly dataFolder: string; readonly validates: boolean }

/** Passes of one GPU per update. */
export function accumulation(params: TrainParams, gpus: number): number {
  return Math.max(1, Math.round((params.batchSize ?? DPO_DEFAULTS.batchSize) / ((params.microBatchSize ?? DPO_DEFAULTS.microBatchSize) * Math.max(1, gpus))));
}

/** The argv of a training. */
export function dpoCommand(params: TrainParams, context: DpoContext): readonly string[] {
  const program = context.resumeFrom === null ? ["-m", "trl.scripts.dpo"] : [RESUME_PROGRAM]; // D2, D3
  const launcher = context.gpusPerNode > 1 ? ["-m", "accelerate.commands.launch", "--num_processes", String(context.gpusPerNode)] : [];
  return [...context.python, ...launcher, ...program, ...dpoArguments(params, context)];
}

/** What TRL is told. The user's overrides are arguments of TRL, by name. */
export function dpoArguments(params: TrainParams, context: DpoContext): readonly string[] {
  const flags = new Map<string, string | number | boolean>([
    ["model_name_or_path", params.model], ["dataset_name", context.dataFolder], ["output_dir", context.checkpointDir],
    ["learning_rate", params.learningRate ?? (params.lora === undefined ? DPO_DEFAULTS.learningRate : DPO_DEFAULTS.loraLearningRate)], ["beta", params.beta ?? DPO_DEFAULTS.beta],
    ["per_device_train_batch_size", params.microBatchSize ?? DPO_DEFAULTS.microBatchSize], ["gradient_accumulation_steps", accumulation(params, context.gpusPerNode)],
    ["max_length", params.maxLength ?? DPO_DEFAULTS.maxLength], ["num_train_epochs", params.epochs ?? DPO_DEFAULTS.epochs], ["lr_scheduler_type", params.schedule ?? DPO_DEFAULTS.schedule],
    ["logging_steps", 1], ["report_to", "none"], ...saving("save", params.saveEvery ?? "epoch"), ["gradient_checkpointing", params.gradientCheckpointing ?? true],
  ]);
  if (params.steps !== undefined) flags.set("max_steps", params.steps);
  if (params.warmupRatio !== undefined) flags.set("warmup_ratio", params.warmupRatio);
  if (params.weightDecay !== undefined) flags.set("weight_decay", params.weightDecay);
  if (params.seed !== undefined) flags.set("seed", params.seed);
  if (params.keepCheckpoints !== undefined) flags.set("save_total_limit", params.keepCheckpoints);
  if (context.validates) for (const [flag, value] of [...saving("eval", params.testEvery ?? params.saveEvery ?? "epoch"), ["dataset_test_split", "validation"] as const]) flags.set(flag, value);
  if (context.device === "cpu") flags.set("use_cpu", true);
  flags.set("bf16", context.device !== "cpu" && params.precision !== "fp32");
  if (params.lora !== undefined) {
    flags.set("use_peft", true).set("lora_r", params.lora.rank).set("lora_alpha", params.lora.alpha ?? params.lora.rank * 2);
    flags.set("lora_target_modules", Array.isArray(params.lora.targetModules) ? params.lora.targetModules.join(" ") : (params.lora.targetModules as string));
  }
  if (context.resumeFrom !== null) flags.set("resume_from_checkpoint", context.resumeFrom);
  for (const [key, value] of Object.entries(params.overrides)) flags.set(key, Array.isArray(value) ? value.join(" ") : typeof value === "boolean" || typeof value === "number" ? value : String(value));
  return [...flags].flatMap(([flag, value]) => argument(flag, value));
}

/** Several words of one flag are several arguments. */
function argument(flag: string, value: string | number | boolean): string[] {
  if (flag === "lora_target_modules" && typeof value === "string") return [`--${flag}`, ...value.split(" ")];
  return [`--${flag}`, String(value)];
}

function saving(what: "save" | "eval", every: NonNullable<TrainParams["saveEvery"]>): readonly (readonly [string, string | number])[] {
  if (typeof every === "number") return [[`${what}_strategy`, "steps"], [`${what}_steps`, every]];
  return [[`${what}_strategy`, every === "never" ? "no" : "epoch"]];
}

/** The step of a checkpoint folder's name; null when it is none. */
export function stepOfTrlFolder(name: string): number | null {
  const match = /^checkpoint-(\d{1,15})$/.exec(name);
  return match === null ? null : Number(match[1]);
}

/** Files that make a checkpoint of TRL whole, one of each group. trainer_state.json is written last but one; the scheduler's state before it. */
export const TRL_CHECKPOINT_FILES: readonly (readonly string[])[] = [["trainer_state.json"], ["model.safetensors", "model.safetensors.index.json", "adapter_model.safetensors", "pytorch_model.bin"], ["optimizer.pt", "optimizer.bin"], ["scheduler.pt"]];
