// What a train stage may be told (`params` of kind train), as one zod schema. docs/pipeline.md and the JSON Schema for editors are generated from here.
// How the fields become overrides of verl is in src/verl; what can be known wrong between them in src/verl/preflight.

import { z } from "zod";
import { ALGORITHMS, ROLLOUT_ENGINES } from "./algorithms.js";

const path = z.string().min(1).max(4_096);
const whole = z.number().int().positive();
const share = z.number().min(0).max(1);
const frequency = z.union([whole, z.literal("epoch"), z.literal("never")]);
const scalar = z.union([z.string(), z.number(), z.boolean(), z.null()]);
type OverrideValue = string | number | boolean | null | readonly OverrideValue[] | { readonly [key: string]: OverrideValue };
const overrideValue: z.ZodType<OverrideValue> = z.lazy(() => z.union([scalar, z.array(overrideValue), z.record(z.string(), overrideValue)]));

export const rewardSchema = z.strictObject({
  file: path.optional().describe("Python file on the host with the reward function: (data_source, solution_str, ground_truth, extra_info=None)."),
  function: z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/).default("compute_score").describe("Its name in the file."),
  arguments: z.record(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/), scalar).optional().describe("Further named arguments of the function."),
  model: path.optional().describe("Reward model, by path or hub id, instead of or beside the function."),
  manager: z.enum(["naive", "dapo", "rate_limited", "prime", "batch"]).optional().describe("verl's reward manager. Default: naive; dapo for algorithm dapo."),
});

export const trainParamsSchema = z.strictObject({
  algorithm: z.enum(ALGORITHMS).describe("sft, ppo, grpo, gspo, dapo, rloo, remax and reinforce_plus_plus run in verl, dpo in TRL."),
  model: path.describe("Path on the host, hub id, or ${stages.<name>.outputs.model}."),
  trainFiles: z.union([path, z.array(path).min(1).max(1_000)]).describe("Parquet files on the host, normally ${stages.<name>.outputs.trainFile}."),
  valFiles: z.union([path, z.array(path).min(1).max(1_000)]).optional().describe("Needed for RL; without it sft and dpo do not validate."),
  verl: z.string().regex(/^0\.\d+\.\d+$/).optional().describe("Version the overrides are checked against before the stage is placed. Default 0.7.1; the agent checks against what it has."),

  batchSize: whole.optional().describe("Rows (sft, dpo) or prompts (RL) per step, over all GPUs. Default 256 (sft), 1024 (RL), 32 (dpo)."),
  miniBatchSize: whole.optional().describe("RL: prompts per update. Default: a quarter of batchSize."),
  microBatchSize: whole.optional().describe("Rows per GPU and pass. Default: by dynamic batching over tokens where verl has it, otherwise 4."),
  maxTokensPerGpu: whole.optional().describe("Dynamic batching: tokens per GPU and pass. Default: the longest sequence, at least 8192."),
  maxLength: whole.optional().describe("sft, dpo: tokens per row; longer rows are cut on the right. Default 2048, for sft no more than maxTokensPerGpu."),
  maxPromptLength: whole.optional().describe("RL: tokens; longer prompts are left out. Default 1024."),
  maxResponseLength: whole.optional().describe("RL: tokens. Default 1024."),

  learningRate: z.number().positive().max(10).optional().describe("Default 1e-5 (sft), 1e-6 (RL), 5e-7 (dpo); with LoRA ten times that."),
  criticLearningRate: z.number().positive().max(10).optional().describe("ppo. Default 1e-5."),
  schedule: z.enum(["constant", "cosine"]).optional().describe("Learning rate over the steps. Default cosine (sft), constant (RL)."),
  warmupRatio: share.optional().describe("Share of the steps over which the learning rate rises. Default: that of the trainer."),
  weightDecay: z.number().min(0).max(10).optional().describe("Default: that of the trainer."),
  epochs: whole.optional().describe("Default 1."),
  steps: whole.optional().describe("Ends after so many steps; fewer than the epochs hold."),
  seed: z.number().int().min(0).max(2_147_483_647).optional().describe("Default: that of the trainer."),

  answers: whole.max(1_024).optional().describe("RL: answers drawn per prompt (rollout.n). Default 8 for group algorithms, otherwise 1."),
  temperature: z.number().min(0).max(10).optional().describe("RL: of the drawing. Default 1."),
  topP: z.number().gt(0).max(1).optional().describe("RL: of the drawing. Default 1."),
  klLoss: z.number().min(0).max(100).optional().describe("RL: coefficient of the KL term in the loss; 0 switches it off. Default 0.001 for grpo, otherwise off."),
  klReward: z.number().min(0).max(100).optional().describe("RL: coefficient of the KL penalty in the reward; 0 switches it off. Default 0.001 for rloo, remax and reinforce_plus_plus."),
  entropy: z.number().min(0).max(10).optional().describe("RL: coefficient of the entropy bonus. Default 0."),
  beta: z.number().positive().max(10).optional().describe("dpo: strength of the reference model. Default 0.1."),
  reward: rewardSchema.optional().describe("RL: where the score comes from, when verl has no scorer for the data_source."),
  criticModel: path.optional().describe("ppo: start of the critic. Default: model."),

  lora: z.strictObject({
    rank: whole.max(1_024), alpha: whole.max(65_536).optional().describe("Default: twice the rank."), targetModules: z.union([z.string().min(1), z.array(z.string().min(1)).min(1)]).default("all-linear"),
  }).optional().describe("Trains a low-rank adapter; the model in outputs has it folded in."),
  rollout: z.strictObject({
    engine: z.enum(ROLLOUT_ENGINES).default(ROLLOUT_ENGINES[0]), tensorParallel: whole.max(64).default(1).describe("GPUs per engine."), memoryShare: z.number().gt(0).lt(1).optional().describe("Of each GPU's memory, for weights and KV cache. Default 0.5."),
  }).optional().describe("RL: the engine that draws answers."),
  strategy: z.enum(["fsdp", "fsdp2", "megatron", "veomni", "mindspeed", "automodel"]).optional().describe("Engine that spreads and trains the model, where the release has it. Default fsdp. mindspeed is for RL (on Ascend NPUs), automodel for sft."),
  sequenceParallel: whole.max(64).optional().describe("GPUs that share one sequence (Ulysses). Default 1."),
  offload: z.strictObject({ parameters: z.boolean().default(false), optimizer: z.boolean().default(false), reference: z.boolean().default(true) }).optional().describe("To the host's memory."),
  gradientCheckpointing: z.boolean().optional().describe("Default true."),
  precision: z.enum(["bf16", "fp32"]).optional().describe("Of the forward pass. Default bf16."),

  saveEvery: frequency.optional().describe("Steps between checkpoints, or epoch. Default epoch (sft, dpo), 50 (RL)."),
  testEvery: frequency.optional().describe("Steps between validations. Default as saveEvery when there are valFiles."),
  keepCheckpoints: whole.min(2).max(1_000).optional().describe("Newest checkpoints that verl itself keeps, at least 2: with one a crash while saving leaves none. Default: all, and the pipeline's cleanup stages decide."),
  samples: z.boolean().default(true).describe("RL: keep some drawn answers with prompt and score per step."),
  export: z.enum(["last", "none"]).default("last").describe("Whether outputs.model is made at the end: a Hugging Face folder of the last checkpoint."),
  resume: z.union([z.enum(["auto", "never"]), z.strictObject({ from: path })]).default("auto").describe("auto: a retry goes on from the last complete checkpoint of the stage. from: a checkpoint of another run, same number of GPUs."),

  overrides: z.record(z.string().min(1).max(300), overrideValue).default({}).describe("Anything verl's configuration knows, by its own key path; checked against the tables of that version."),
  env: z.record(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/), z.union([z.string(), z.number(), z.boolean()])).optional().describe("Added to the trainer's environment. secret://name is filled in by the agent."),
  python: path.optional().describe("Python interpreter on the host. Default: what the agent found verl with."),
  graceSeconds: z.number().min(0).max(3_600).default(60).describe("Between the trainer's own signal and SIGKILL when the stage is stopped."),
  health: z.strictObject({
    onNonFinite: z.enum(["notify", "stop", "rollback"]).default("stop"),
    onDivergence: z.enum(["notify", "stop", "rollback"]).default("notify").describe("KL explosion, gradient explosion, reward collapse."),
    budget: z.number().int().min(0).max(100).default(2).describe("Rollbacks in all; then it is stopped."),
    shadow: z.boolean().default(false).describe("Only say what would have been done."),
  }).prefault({}).describe("What is done about anomalies. Soft ones are always only told."),
  simulate: z.boolean().default(false).describe("Runs a stand-in that follows verl's contract but trains nothing. Every view says so."),
});
export type TrainParams = z.infer<typeof trainParamsSchema>;
export type { OverrideValue };

/** Default version the overrides are checked against: the oldest whose known faults do not matter here. */
export const DEFAULT_VERL = "0.7.1";

/** A list, whether one file or several were given. */
export function filesOf(files: string | readonly string[] | undefined): readonly string[] {
  return files === undefined ? [] : typeof files === "string" ? [files] : files;
}
