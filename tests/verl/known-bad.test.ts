// Configurations that verl, Ray or the data would end, minutes after the GPUs were taken, or worse: that would end well having done something else. Each is refused
// before anything is queued, with the code that is named here and a sentence that names the way out.

import { describe, expect, test } from "vitest";
import { trainParamsSchema } from "../../src/domain/training/train-params.js";
import type { LaunchContext } from "../../src/verl/launch-context.js";
import { preflight, type DataFacts, type ModelFacts } from "../../src/verl/preflight.js";
import { launchContext, release, trainParams } from "./launch.js";

interface Case { readonly what: string; readonly params: Record<string, unknown>; readonly code: string; readonly context?: Partial<LaunchContext>; readonly data?: Partial<DataFacts>; readonly model?: ModelFacts; readonly hostCpus?: number; readonly version?: string }

const grpo = { algorithm: "grpo", batchSize: 64, answers: 8 };
const sft = { algorithm: "sft", batchSize: 64 };
const NO_DATA: DataFacts = { trainRows: null, valRows: null, tasks: null, dataSources: null };

const KNOWN_BAD: readonly Case[] = [
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
  { what: "RL that counts in epochs", params: { ...grpo, saveEvery: "epoch" }, code: "UNSUPPORTED_FREQUENCY" },
];

describe("known-bad configurations", () => {
  test.each(KNOWN_BAD)("$what is refused as $code", ({ params, code, context, data, model, hostCpus, version }) => {
    if (code === "INVALID") return void expect(trainParamsSchema.safeParse({ model: "m", trainFiles: "t", ...params }).success).toBe(false);
    const problems = preflight({
      params: trainParams(params), release: release(version), context: launchContext(context), data: data === undefined ? null : { ...NO_DATA, ...data }, model: model ?? null, hostCpus: hostCpus ?? null, path: "stages[0].params",
    });
    expect(problems.filter((found) => found.severity === "ERROR").map((found) => found.code)).toContain(code);
    for (const found of problems) expect(found.path).toMatch(/^stages\[0\]\.params\./);
  });

  test("a misspelt key names the one that was meant", () => {
    const [found] = preflight({ params: trainParams({ ...grpo, overrides: { "actor_rollout_ref.rollout.temprature": 0.7 } }), release: release(), context: launchContext(), data: null, model: null, hostCpus: null, path: "p" });
    expect(found).toMatchObject({ path: "p.overrides.actor_rollout_ref.rollout.temprature", hint: 'Did you mean "actor_rollout_ref.rollout.temperature"?' });
  });
});
