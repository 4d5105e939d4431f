// The catalogue: every recipe is a stage that would be accepted as it stands.
import { describe, expect, test } from "vitest";
import { preflight } from "../../src/verl/preflight.js";
import { RECIPES } from "../../src/verl/recipes.js";
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
});
