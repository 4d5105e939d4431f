// What a user sets by verl's own keys: which keys are known, and what follows from sizes that are given that way instead of by a field.
import { describe, expect, test } from "vitest";
import { capabilityOf } from "../../src/domain/pipeline/spec.js";
import type { Problem } from "../../src/domain/errors.js";
import { preflight, type DataFacts } from "../../src/verl/preflight.js";
import { overridesOf } from "../../src/verl/train-command.js";
import { launchContext, release, trainParams } from "./launch.js";

const grpo = { algorithm: "grpo", batchSize: 64, answers: 8 };

function problems(params: Record<string, unknown>, { version = "0.7.1", gpus = 2, data = null }: { version?: string; gpus?: number; data?: DataFacts | null } = {}): Problem[] {
  return preflight({ params: trainParams(params), release: release(version), context: launchContext({ gpusPerNode: gpus }), data, model: null, hostCpus: null, path: "p" }).filter(({ code }) => code !== "NO_CHECKPOINTS");
}
const codes = (...given: Parameters<typeof problems>) => problems(...given).filter(({ severity }) => severity === "ERROR").map(({ code }) => code);
const sent = (params: Record<string, unknown>, version = "0.7.1") => Object.fromEntries(overridesOf(trainParams(params), release(version), launchContext()).map(({ key, value }) => [key, value]));

describe("which keys are known", () => {
  test("one that only verl's dataclass has is taken, and forced, since its files lack it", () => {
    const overrides = { "actor_rollout_ref.actor.fsdp_config.mixed_precision.reduce_dtype": "bf16" };
    expect(problems({ ...grpo, overrides })).toEqual([]);
    expect(overridesOf(trainParams({ ...grpo, overrides }), release(), launchContext()).at(-1)).toMatchObject({ key: "actor_rollout_ref.actor.fsdp_config.mixed_precision.reduce_dtype", mode: "force" });
    expect(codes({ ...grpo, overrides: { "actor_rollout_ref.rollout.moe_tensor_parallel_size": "two" } })).toEqual(["WRONG_OVERRIDE_TYPE"]);
    expect(codes({ ...grpo, overrides: { "actor_rollout_ref.actor.fsdp_config.mixed_precison.reduce_dtype": "bf16" } })).toEqual(["UNKNOWN_OVERRIDE"]);
  });

  test("every teacher of a distillation has the keys of the one that verl's files show", () => {
    const teacher = (key: string, value: unknown) => ({ ...grpo, overrides: { [`distillation.teacher_models.mine.${key}`]: value } });
    expect(codes(teacher("model_path", "some/teacher"), { version: "0.8.0" })).toEqual([]);
    expect(codes(teacher("num_replicas", "many"), { version: "0.8.0" })).toEqual(["WRONG_OVERRIDE_TYPE"]);
    expect(codes(teacher("modelpath", "some/teacher"), { version: "0.8.0" })).toEqual(["UNKNOWN_OVERRIDE"]);
  });

  test.each(["0.7.1", "0.8.0"])("verl %s moves the older reward keys, so they are taken with a warning and handed on under the new name", (version) => {
    const overrides = { "reward_model.reward_manager": "dapo", "custom_reward_function.path": "/r.py" };
    expect(problems({ ...grpo, overrides }, { version })).toMatchObject([{ severity: "WARNING", code: "RENAMED_OVERRIDE", path: "p.overrides.reward_model.reward_manager" }, { severity: "WARNING", code: "RENAMED_OVERRIDE" }]);
    expect(sent({ ...grpo, overrides }, version)).toMatchObject({ "reward.reward_manager.name": "dapo", "reward.custom_reward_function.path": "/r.py" });
    expect(Object.keys(sent({ ...grpo, overrides }, version)).filter((key) => key in overrides)).toEqual([]);
    expect(codes({ ...grpo, overrides: { ...overrides, "reward.reward_manager.name": "naive" } }, { version })).toEqual(["RENAMED_OVERRIDE"]);
    expect(codes({ ...grpo, overrides: { "reward_model.enable": "yes" } }, { version })).toEqual(["WRONG_OVERRIDE_TYPE"]);
  });

  test("whatever MindSpeed's own programs take may be added to their settings", () => {
    const at = "actor_rollout_ref.actor.mindspeed.mcore_kwargs";
    const params = { ...grpo, strategy: "mindspeed", overrides: { [`${at}.recompute_method`]: "uniform", [`${at}.spec`]: ["module", "layer_spec"] } };
    expect(codes(params, { version: "0.9.0" })).toEqual([]);
    expect(overridesOf(trainParams(params), release("0.9.0"), launchContext()).filter(({ key }) => key.startsWith(at)).map(({ mode }) => mode)).toEqual(["force", "set"]);
  });

  test("asking for workers that are engines is harmless where all of them are, and asking for the older ones is refused", () => {
    const params = (value: string) => ({ ...grpo, strategy: "veomni", overrides: { "trainer.use_legacy_worker_impl": value } });
    expect(problems(params("disable"), { version: "0.8.0" })).toMatchObject([{ severity: "WARNING", code: "REMOVED_OVERRIDE" }]);
    expect(codes(params("enable"), { version: "0.8.0" })).toEqual(["UNKNOWN_OVERRIDE"]);
    expect(sent({ ...grpo, strategy: "veomni" }, "0.7.1")).toMatchObject({ "trainer.use_legacy_worker_impl": "disable" });
    expect(Object.keys(sent({ ...grpo, strategy: "veomni" }, "0.8.0"))).not.toContain("trainer.use_legacy_worker_impl");
  });

  test("verl 0.9 ignores them, so they are refused", () => {
    expect(codes({ ...grpo, overrides: { "reward_model.reward_manager": "dapo" } }, { version: "0.9.0" })).toEqual(["RENAMED_OVERRIDE"]);
  });

  test("a threshold that is a number or a range takes both", () => {
    for (const value of [2, "0.5_4.0"]) expect(codes({ ...grpo, overrides: { "algorithm.rollout_correction.rollout_is_threshold": value } }, { version: "0.9.0" })).toEqual([]);
  });

  test("TensorRT-LLM draws answers from 0.7.1 on, by any agent with verl", () => {
    const params = { ...grpo, overrides: { "actor_rollout_ref.rollout.name": "trtllm", "actor_rollout_ref.rollout.tensor_model_parallel_size": 2, "actor_rollout_ref.rollout.expert_parallel_size": 1 } };
    expect(codes(params)).toEqual([]);
    expect(codes(params, { version: "0.7.0" })).toEqual(["UNSUPPORTED_ROLLOUT"]);
    expect(capabilityOf({ kind: "train", params: params })).toBe("train:verl");
    expect(capabilityOf({ kind: "train", params: { ...grpo, overrides: { "actor_rollout_ref.rollout.name": "sglang" } } })).toBe("train:verl:sglang");
    expect(capabilityOf({ kind: "train", params: grpo })).toBe("train:verl:vllm");
  });
});

describe("what follows from sizes", () => {
  test("agent workers follow from the batch, whichever way it is given", () => {
    for (const params of [{ algorithm: "grpo", batchSize: 62, answers: 5 }, { algorithm: "grpo", overrides: { "data.train_batch_size": 62, "actor_rollout_ref.rollout.n": 5 } }]) {
      expect(codes({ miniBatchSize: 62, ...params })).toEqual([]);
      expect(sent({ miniBatchSize: 62, ...params })).toMatchObject({ "actor_rollout_ref.rollout.agent.num_workers": 5 });
    }
  });

  test("tokens per GPU follow from the lengths", () => {
    const overrides = { "data.max_prompt_length": 2_048, "data.max_response_length": 8_192 };
    expect(sent({ ...grpo, overrides })).toMatchObject({ "actor_rollout_ref.actor.ppo_max_token_len_per_gpu": 10_240 });
    expect(codes({ ...grpo, overrides })).toEqual([]);
    expect(sent({ algorithm: "sft", maxTokensPerGpu: 1_024 })).toMatchObject({ "data.max_length": 1_024, "data.max_token_len_per_gpu": 1_024 });
    expect(codes({ algorithm: "sft", batchSize: 64, overrides: { "data.max_length": 4_096, "data.max_token_len_per_gpu": 2_048 } })).toEqual(["TOO_FEW_TOKENS"]);
  });

  test("a micro batch of rows means that batches are not made by tokens", () => {
    const overrides = { "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu": 8 };
    expect(sent({ ...grpo, overrides })).toMatchObject({ "actor_rollout_ref.actor.use_dynamic_bsz": false, "actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu": 8 });
    expect(sent({ ...grpo, overrides: { ...overrides, "actor_rollout_ref.actor.use_dynamic_bsz": true } })).toMatchObject({ "actor_rollout_ref.actor.use_dynamic_bsz": true });
  });

  test("where one is given for all GPUs, none is added for each", () => {
    const params = { ...grpo, microBatchSize: 8, overrides: { "actor_rollout_ref.rollout.log_prob_micro_batch_size": 16, "actor_rollout_ref.ref.log_prob_micro_batch_size": 16 } };
    expect(codes(params)).toEqual([]);
    expect(sent(params)).not.toHaveProperty(["actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu"]);
  });

  test("a KL term that is switched on by key has its reference model's micro batch too", () => {
    expect(codes({ algorithm: "ppo", batchSize: 64, microBatchSize: 8, overrides: { "actor_rollout_ref.actor.use_kl_loss": true } })).toEqual([]);
  });

  test("Megatron shares rows out to copies of the model, not to GPUs", () => {
    const params = { ...grpo, strategy: "megatron", batchSize: 8, miniBatchSize: 2, answers: 2, overrides: { "actor_rollout_ref.actor.megatron.tensor_model_parallel_size": 4 } };
    expect(codes(params, { gpus: 8 })).toEqual([]); // 4 rows for 2 copies of 4 GPUs
    expect(codes({ ...params, miniBatchSize: 8, microBatchSize: 3 }, { gpus: 8 })).toEqual(["INDIVISIBLE_BATCH", "INDIVISIBLE_BATCH"]);
    expect(codes({ ...params, overrides: { "actor_rollout_ref.actor.megatron.tensor_model_parallel_size": 3 } }, { gpus: 8 })).toContain("INDIVISIBLE_GPUS");
  });

  test("from 0.8 on the FSDP settings say how many GPUs share a sequence", () => {
    const params = { ...grpo, maxPromptLength: 2_048, maxResponseLength: 8_192, maxTokensPerGpu: 2_560, overrides: { "actor_rollout_ref.actor.fsdp_config.ulysses_sequence_parallel_size": 4 } };
    expect(codes(params, { version: "0.8.0", gpus: 8 })).toEqual([]);
    expect(codes(params, { version: "0.7.1", gpus: 8 })).toEqual(["TOO_FEW_TOKENS"]);
  });

  test("a teacher judges one answer alone", () => {
    expect(codes({ ...grpo, answers: 1, overrides: { "distillation.enabled": true } }, { version: "0.8.0" })).toEqual([]);
  });

  test("a reward function or model that is given by key scores any data source", () => {
    const data = { trainRows: null, valRows: null, tasks: null, dataSources: ["acme/puzzles"] };
    expect(codes(grpo, { data })).toEqual(["NO_SCORER"]);
    for (const overrides of [{ "reward.custom_reward_function.path": "/r.py" }, { "reward.reward_model.enable": true }, { "custom_reward_function.path": "/r.py" }]) expect(codes({ ...grpo, overrides }, { data })).toEqual([]);
  });
});
