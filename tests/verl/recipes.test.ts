// The catalogue: every recipe is a stage that would be accepted as it stands.
import { describe, expect, test } from "vitest";
import { preflight } from "../../src/verl/preflight.js";
import { stageProblems } from "../../src/actors/preflight/stage-preflight.js";
import { recipePipeline } from "../../src/verl/recipe-pipeline.js";
import { RECIPES } from "../../src/verl/recipes.js";
import { validateSpec } from "../../src/domain/pipeline/validate.js";
import { ALGORITHM_FACTS } from "../../src/domain/training/algorithms.js";
import { launchContext, release, trainParams } from "./launch.js";

describe("recipes", () => {
  test.each(RECIPES.map((one) => [one.name, one] as const))("%s breaks no rule of any release it claims", (_name, recipe) => {
    expect(recipe.releases.length).toBeGreaterThan(0);
    for (const version of recipe.releases) {
      const context = launchContext({ nodes: Math.ceil(recipe.gpus / 8), gpusPerNode: Math.min(8, recipe.gpus) });
      expect(preflight({ params: trainParams(recipe.params), release: release(version), context, data: null, model: null, hostCpus: null, path: "params" })).toEqual([]);
    }
  });

  test("names are unique", () => {
    expect(new Set(RECIPES.map(({ name }) => name)).size).toBe(RECIPES.length);
  });

  test.each(RECIPES.map((one) => [one.name, one] as const))("%s is a pipeline to submit, from raw data and from files, on every release and simulated", (_name, recipe) => {
    const rl = ALGORITHM_FACTS[recipe.algorithm].data === "rl";
    const ways = [{ data: "dataset:raw", ...(rl ? { dataSource: "openai/gsm8k" } : {}) }, { trainFiles: ["/data/train.parquet"], valFiles: ["/data/validation.parquet"] }];
    for (const way of ways) for (const verl of [undefined, ...recipe.releases]) for (const simulate of [false, true]) {
      const { spec, problems } = validateSpec(recipePipeline(recipe, { ...way, verl, simulate, model: "/models/mine" }));
      expect(problems).toEqual([]);
      const train = spec!.stages.at(-1)!;
      expect(train).toMatchObject({ name: "train", resources: simulate ? { gpus: 0, nodes: 1 } : { gpus: Math.min(8, recipe.gpus), nodes: Math.ceil(recipe.gpus / 8) }, params: { model: "/models/mine" } });
      expect(stageProblems(train, { data: null, hosts: [] }, "p").map(({ code }) => code)).toEqual(simulate ? ["SIMULATED"] : []);
    }
  });

  test("from raw data of another model than the scorer's asks for nothing when a reward model scores", () => {
    const [prepare] = recipePipeline(RECIPES.find(({ name }) => name === "ppo-rm-qwen2-7b")!, { data: "raw.jsonl" }).stages as { params: object }[];
    expect(prepare!.params).toMatchObject({ task: "rl", rewardStyle: "model" });
    expect(validateSpec(recipePipeline(RECIPES.find(({ name }) => name === "ppo-rm-qwen2-7b")!, { data: "raw.jsonl" })).problems).toEqual([]);
  });
});
