// Configurations that verl, Ray or the data would end, minutes after the GPUs were taken, or worse: that would end well having done something else. For the rules alone
// (known-bad.test.ts) and for the whole way to the database (tests/schema/known-bad.test.ts).

import type { LaunchContext } from "../../src/verl/launch-context.js";
import type { DataFacts, ModelFacts } from "../../src/verl/preflight.js";

export interface KnownBad { readonly what: string; readonly params: Record<string, unknown>; readonly code: string; readonly context?: Partial<LaunchContext>; readonly data?: Partial<DataFacts>; readonly model?: ModelFacts; readonly hostCpus?: number; readonly version?: string }

const grpo = { algorithm: "grpo", batchSize: 64, answers: 8 };
const sft = { algorithm: "sft", batchSize: 64 };
export const NO_DATA: DataFacts = { trainRows: null, valRows: null, tasks: null, dataSources: null };

export const KNOWN_BAD: readonly KnownBad[] = [
  { what: "an unknown key", params: { ...grpo, overrides: { "actor_rollout_ref.actor.learning_rate": 1e-6 } }, code: "UNKNOWN_OVERRIDE" },
  { what: "a misspelt key", params: { ...grpo, overrides: { "actor_rollout_ref.rollout.temprature": 0.7 } }, code: "UNKNOWN_OVERRIDE" },
  { what: "a key of the old SFT trainer", params: { ...sft, overrides: { "model.partial_pretrain": "x" } }, code: "UNKNOWN_OVERRIDE" },
  { what: "text where a number belongs", params: { ...grpo, overrides: { "trainer.critic_warmup": "ten" } }, code: "WRONG_OVERRIDE_TYPE" },
  { what: "a number where true or false belongs", params: { ...grpo, overrides: { "actor_rollout_ref.actor.use_kl_loss": 1 } }, code: "WRONG_OVERRIDE_TYPE" },
  { what: "a fraction where a whole number belongs", params: { ...sft, overrides: { "data.max_length": 512.5 } }, code: "WRONG_OVERRIDE_TYPE" },
  { what: "a reward key that 0.9 would ignore without a word", params: { ...grpo, overrides: { "custom_reward_function.path": "/r.py" } }, code: "RENAMED_OVERRIDE", version: "0.9.0" },
  { what: "a critic key that 0.8 renamed", params: { algorithm: "ppo", batchSize: 64, overrides: { "critic.model.fsdp_config.param_offload": true } }, code: "RENAMED_OVERRIDE", version: "0.8.0" },
  { what: "an own checkpoint directory", params: { ...sft, overrides: { "trainer.default_local_dir": "/x" } }, code: "RESERVED_OVERRIDE" },
  { what: "a secret in what the trainer prints", params: { ...sft, overrides: { "trainer.project_name": "secret://token" } }, code: "SECRET_IN_OVERRIDE" },
  { what: "an own output folder of TRL", params: { algorithm: "dpo", batchSize: 16, microBatchSize: 4, overrides: { output_dir: "/x" } }, code: "RESERVED_OVERRIDE" },
  { what: "an override with Hydra's own sign", params: { ...grpo, overrides: { "+trainer.foo": 1 } }, code: "INVALID_OVERRIDE" },
  { what: "a batch that GPUs cannot share", params: { algorithm: "sft", batchSize: 17 }, code: "INDIVISIBLE_BATCH" },
  { what: "rows per GPU that micro batches cannot cut", params: { algorithm: "sft", batchSize: 60, microBatchSize: 4 }, code: "INDIVISIBLE_BATCH" },
  { what: "validation without validation files", params: { ...sft, testEvery: 10, overrides: { "trainer.test_freq": 10 } }, code: "NEEDS_VALIDATION" },
  { what: "a frequency of 0", params: { ...sft, overrides: { "trainer.save_freq": 0 } }, code: "ZERO_FREQUENCY" },
  { what: "rows longer than a GPU's share of tokens", params: { ...sft, maxLength: 4096, maxTokensPerGpu: 2048 }, code: "TOO_FEW_TOKENS" },
  { what: "more steps than the data hold", params: { ...sft, steps: 1000 }, code: "TOO_MANY_STEPS", data: { trainRows: 640 } },
  { what: "fewer rows than one batch", params: sft, code: "TOO_FEW_ROWS", data: { trainRows: 40 } },
  { what: "data prepared for something else", params: grpo, code: "UNSUITABLE_DATA", data: { tasks: ["sft"] } },
  { what: "rows longer than the model reads", params: { ...sft, maxLength: 8192 }, code: "BEYOND_MODEL", model: { attentionHeads: 14, keyValueHeads: 2, maxPositions: 4096 } },
  { what: "heads that sequence parallelism cannot share", params: { ...sft, sequenceParallel: 4 }, context: { gpusPerNode: 4 }, code: "INDIVISIBLE_HEADS", model: { attentionHeads: 14, keyValueHeads: 2, maxPositions: 32_768 } },
  { what: "RL without validation files", params: { ...grpo, valFiles: [] as string[] }, code: "INVALID" },
  { what: "a mini batch above the batch", params: { ...grpo, miniBatchSize: 128 }, code: "MINI_ABOVE_BATCH" },
  { what: "an update with fewer rows than GPUs", params: { algorithm: "ppo", batchSize: 8, miniBatchSize: 1 }, code: "MINI_BELOW_GPUS", context: { gpusPerNode: 8 } },
  { what: "micro batches that do not cut the update", params: { ...grpo, miniBatchSize: 16, microBatchSize: 10 }, code: "INDIVISIBLE_BATCH" },
  { what: "both forms of micro batch", params: { ...grpo, microBatchSize: 8, overrides: { "actor_rollout_ref.actor.ppo_micro_batch_size": 16 } }, code: "TWO_MICRO_BATCHES" },
  { what: "agent workers that the answers cannot fill", params: { ...grpo, overrides: { "actor_rollout_ref.rollout.agent.num_workers": 7 } }, code: "INDIVISIBLE_WORKERS" },
  { what: "an engine larger than the GPUs", params: { ...grpo, rollout: { tensorParallel: 4 } }, code: "INDIVISIBLE_GPUS" },
  { what: "pipeline parallelism in the rollout", params: { ...grpo, overrides: { "actor_rollout_ref.rollout.pipeline_model_parallel_size": 2 } }, code: "UNSUPPORTED_PARALLELISM" },
  { what: "one answer for an algorithm that compares answers", params: { ...grpo, answers: 1 }, code: "TOO_FEW_ANSWERS" },
  { what: "an estimator of another algorithm", params: { ...grpo, overrides: { "algorithm.adv_estimator": "gae" } }, code: "ALGORITHM_MISMATCH" },
  { what: "an estimator that does not exist", params: { ...grpo, overrides: { "algorithm.adv_estimator": "grpoo" } }, code: "UNKNOWN_ESTIMATOR" },
  { what: "a loss that does not exist", params: { ...grpo, overrides: { "actor_rollout_ref.actor.policy_loss.loss_mode": "gpso" } }, code: "UNKNOWN_CHOICE" },
  { what: "an aggregation that does not exist", params: { ...grpo, overrides: { "actor_rollout_ref.actor.loss_agg_mode": "mean" } }, code: "UNKNOWN_CHOICE" },
  { what: "a synchronous rollout", params: { ...grpo, overrides: { "actor_rollout_ref.rollout.mode": "sync" } }, code: "UNSUPPORTED_ROLLOUT" },
  { what: "a rollout engine on the CPU", params: { ...grpo, overrides: { "actor_rollout_ref.rollout.name": "hf" } }, code: "UNSUPPORTED_ROLLOUT" },
  { what: "RL without a GPU", params: grpo, code: "NEEDS_GPU", context: { gpusPerNode: 0, device: "cpu" } },
  { what: "a host with too few processors for Ray", params: grpo, code: "TOO_FEW_CPUS", hostCpus: 4 },
  { what: "a data source that nobody scores", params: grpo, code: "NO_SCORER", data: { dataSources: ["acme/puzzles"] } },
  { what: "an adapter too large for vLLM", params: { ...grpo, lora: { rank: 1024 } }, code: "LORA_TOO_LARGE" },
  { what: "copies of a Megatron model that GPUs cannot be shared out to", params: { ...grpo, strategy: "megatron", overrides: { "actor_rollout_ref.actor.megatron.tensor_model_parallel_size": 3 } }, code: "INDIVISIBLE_GPUS" },
  { what: "an engine that the release does not have", params: { ...sft, strategy: "automodel" }, code: "ENGINE_UNAVAILABLE" },
  { what: "an engine that verl has for RL alone", params: { ...sft, strategy: "mindspeed" }, code: "ENGINE_UNAVAILABLE", version: "0.9.0" },
  { what: "an engine that verl has for fine-tuning alone", params: { ...grpo, strategy: "automodel" }, code: "ENGINE_UNAVAILABLE", version: "0.9.0" },
  { what: "an engine that a later release has dropped", params: { ...grpo, strategy: "mindspeed" }, code: "ENGINE_UNAVAILABLE", version: "0.9.1" },
  { what: "a critic in an engine that has none", params: { algorithm: "ppo", batchSize: 64, strategy: "mindspeed" }, code: "ENGINE_UNAVAILABLE", version: "0.9.0" },
  { what: "an engine of MindSpeed's that verl configures and does not have", params: { ...grpo, strategy: "mindspeed", overrides: { "actor_rollout_ref.actor.mindspeed.strategy": "mindspeed_fsdp" } }, code: "ENGINE_UNAVAILABLE", version: "0.9.0" },
  { what: "an adapter that VeOmni would ignore and train everything", params: { ...sft, strategy: "veomni", lora: { rank: 8 } }, code: "UNSUPPORTED_FIELD", version: "0.8.0" },
  { what: "a sequence group that Automodel does not have", params: { ...sft, strategy: "automodel", sequenceParallel: 2 }, code: "UNSUPPORTED_FIELD", version: "0.8.0" },
  { what: "pipeline parallelism in Automodel", params: { ...sft, strategy: "automodel", overrides: { "engine.pp_size": 2 } }, code: "UNSUPPORTED_PARALLELISM", version: "0.8.0" },
  { what: "a key of another engine", params: { ...grpo, strategy: "veomni", overrides: { "actor_rollout_ref.actor.fsdp_config.fsdp_size": 2 } }, code: "UNKNOWN_OVERRIDE", version: "0.8.0" },
  { what: "micro batches that do not cut the critic's update", params: { algorithm: "ppo", batchSize: 64, miniBatchSize: 64, microBatchSize: 16, overrides: { "critic.ppo_micro_batch_size_per_gpu": 24 } }, code: "INDIVISIBLE_BATCH" },
  { what: "a critic's update with fewer rows than GPUs", params: { algorithm: "ppo", batchSize: 64, miniBatchSize: 64, overrides: { "critic.ppo_mini_batch_size": 1 } }, code: "MINI_BELOW_GPUS", context: { gpusPerNode: 8 } },
  { what: "a learning rate schedule that FSDP lacks", params: { ...grpo, overrides: { "actor_rollout_ref.actor.optim.lr_scheduler_type": "linear" } }, code: "UNKNOWN_CHOICE" },
  { what: "a learning rate schedule that SFT lacks", params: { ...sft, overrides: { "optim.lr_scheduler_type": "wsd" } }, code: "UNKNOWN_CHOICE" },
  { what: "RL that counts in epochs", params: { ...grpo, saveEvery: "epoch" }, code: "UNSUPPORTED_FREQUENCY" },
];
