// Every override of the generation server and of main_eval, against the key tables of each release.
import { describe, expect, test } from "vitest";
import { evaluateModelParamsSchema } from "../../src/domain/evaluation/evaluate-params.js";
import { generationCommand, generationOverrides, scoresOfMainEval, scoringCommand, scoringOverrides, type GenerationContext, type ScoringContext } from "../../src/verl/generation.js";
import { generationOverrideProblems } from "../../src/verl/override-check.js";
import { keyTable, KNOWN_RELEASES, releaseFor } from "../../src/verl/releases.js";

const params = evaluateModelParamsSchema.parse({
  model: "/models/it's $mine", input: "test.jsonl", scorer: "math", generation: { n: 4, temperature: 0.7, topP: 0.9, maxTokens: 512, maxPromptTokens: 256 },
  engine: { name: "sglang", tensorParallel: 2, memoryShare: 0.7 }, overrides: { "actor_rollout_ref.rollout.max_num_seqs": 64, "actor_rollout_ref.rollout.engine_kwargs.sglang.attention_backend": "fa3" },
});
const context: GenerationContext = { python: "python3", gpus: 4, promptsFile: "/a/prompts.parquet", responsesFile: "/a/responses.parquet", hydraDir: "/a/hydra" };
const scoring: ScoringContext = { ...context, rewardFile: "/r/reward.py", rewardFunction: "score" };
const FITS: Record<string, (value: unknown) => boolean> = { int: Number.isInteger, float: (value) => typeof value === "number", str: (value) => typeof value === "string" || Array.isArray(value), bool: (value) => typeof value === "boolean" };

describe.each(KNOWN_RELEASES)("verl %s", (name) => {
  const { release } = releaseFor(name)!;

  test("the generation server knows every key that is set, with that type, and lacks those that are forced", () => {
    const table = keyTable(name, "ppo_trainer");
    const overrides = generationOverrides(params, release, context);
    for (const { key, value, mode } of overrides) {
      expect(table.has(key), key).toBe(mode === "set");
      const type = table.get(key)?.[0].replace("?", "");
      if (type !== undefined && type in FITS) expect(FITS[type]!(value), `${key} is ${type}`).toBe(true);
    }
    expect(new Set(overrides.map(({ key }) => key)).size).toBe(overrides.length);
    expect(Object.fromEntries(overrides.map(({ key, value }) => [key, value]))).toMatchObject({
      "actor_rollout_ref.rollout.n": 4, "actor_rollout_ref.rollout.temperature": 0.7, "actor_rollout_ref.rollout.top_p": 0.9, "actor_rollout_ref.rollout.response_length": 512, "actor_rollout_ref.rollout.prompt_length": 256,
      "actor_rollout_ref.rollout.name": "sglang", "trainer.n_gpus_per_node": 4, "trainer.nnodes": 1, "data.output_path": "/a/responses.parquet", "actor_rollout_ref.rollout.max_num_seqs": 64,
    });
  });

  test("main_eval is told of the reward function where that release reads it", () => {
    const table = keyTable(name, "evaluation");
    const overrides = scoringOverrides(release, scoring);
    for (const { key, mode } of overrides) expect(table.has(key), key).toBe(mode === "set");
    expect(overrides.map(({ key }) => key)).toContain(name === "0.7.0" ? "custom_reward_function.path" : "reward.custom_reward_function.path");
    expect(scoringCommand(release, scoring).slice(0, 3)).toEqual(["python3", "-m", "verl.trainer.main_eval"]);
  });

  test("the command is an argv with each value quoted for Hydra", () => {
    const argv = generationCommand(params, release, context);
    expect(argv.slice(0, 3)).toEqual(["python3", "-m", "verl.trainer.main_generation_server"]);
    expect(argv).toContain("actor_rollout_ref.model.path='/models/it\\'s $mine'");
    expect(argv).toContain("data.train_files=['/a/prompts.parquet']");
    expect(argv).toContain("++data.output_path='/a/responses.parquet'");
    expect(argv).toContain("hydra.run.dir='/a/hydra'");
  });

  test("overrides that take what is ours, or that verl lacks, are named with their path", () => {
    const found = generationOverrideProblems({ "data.output_path": "/x", "actor_rollout_ref.rollout.max_num_seq": 3, "actor_rollout_ref.rollout.max_num_seqs": "many" }, release, "params.overrides");
    expect(found.map(({ code, path }) => [code, path])).toEqual([
      ["RESERVED_OVERRIDE", "params.overrides.data.output_path"], ["UNKNOWN_OVERRIDE", "params.overrides.actor_rollout_ref.rollout.max_num_seq"], ["WRONG_OVERRIDE_TYPE", "params.overrides.actor_rollout_ref.rollout.max_num_seqs"],
    ]);
    expect(found[1]!.hint).toContain("max_num_seqs");
  });
});

test("one answer per row is drawn at temperature 0, several at 1", () => {
  const { release } = releaseFor("0.8.0")!;
  const temperature = (n: number) => generationOverrides(evaluateModelParamsSchema.parse({ model: "m", input: "i", scorer: "math", generation: { n } }), release, context).find(({ key }) => key.endsWith("temperature"))!.value;
  expect([temperature(1), temperature(2)]).toEqual([0, 1]);
});

test.each([
  ["{'test_score/openai/gsm8k': 0.5}", { "openai/gsm8k": 0.5 }],
  ["100%|###| 2/2\n{'test_score/openai/gsm8k': np.float64(0.5), 'test_score/math': np.float64(1.0)}\n", { "openai/gsm8k": 0.5, math: 1 }],
  ["(pid=1) loading\n{\"test_score/it's\": 1e-05}", { "it's": 1e-5 }],
  ["nothing", null],
  ["{'test_score/x': nan}", null],
])("what main_eval says in %j is %j", (output, scores) => {
  expect(scoresOfMainEval(output)).toEqual(scores);
});
