// What our RL launches look like to verl itself: its own validate_config, of every release, on every recipe that claims it and on every algorithm. Needs the sources that
// `node scripts/verl-keys/sources.mjs` keeps, beside the Python environments.
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync } from "node:fs";
import { join } from "node:path";
import { expect, inject, test } from "vitest";
import { sourcesFolder } from "../../scripts/verl-keys/sources.mjs";
import { ALGORITHM_FACTS, ALGORITHMS } from "../../src/domain/training/algorithms.js";
import { packagePath } from "../../src/package-root.js";
import { overrideArgument } from "../../src/verl/hydra.js";
import { RECIPES } from "../../src/verl/recipes.js";
import { KNOWN_RELEASES, type KnownRelease } from "../../src/verl/releases.js";
import { configOf, overridesOf } from "../../src/verl/train-command.js";
import { launchContext, release, trainParams } from "../verl/launch.js";
import { pythonFor } from "./verl-world.js";

const sources = sourcesFolder();
const there = existsSync(sources);
if (!there) console.warn("\nNOT RUN: verl's own judgement of recipes: make the sources with `node scripts/verl-keys/sources.mjs`.\n");
const judgeOf = (version: KnownRelease): string | null => (there ? pythonFor(version.startsWith("0.9") ? "verl-0.9" : "verl", `verl ${version}'s own judgement of recipes`) : null);

interface Case { readonly what: string; readonly params: Record<string, unknown>; readonly gpus: number; readonly nodes: number }

let made: string | null = null;
/** verl reads the model's configuration when it judges; a hub is out of reach. */
function tinyModel(): string {
  if (made === null) {
    made = mkdtempSync(join(inject("runFolder"), "model-"));
    execFileSync(judgeOf("0.7.1")!, [packagePath("examples", "verl-on-cpu", "tiny_model.py"), made], { stdio: "ignore", env: { ...process.env, HF_HUB_OFFLINE: "1" } });
  }
  return made;
}

/** validate_config's refusals, in verl's words. */
function refusals(python: string, version: KnownRelease, cases: readonly Case[]): string[] {
  const model = tinyModel();
  const lines = cases.map(({ params, gpus, nodes }) => {
    const parsed = trainParams({ ...params, model, ...(params["reward"] === undefined ? {} : { reward: { ...(params["reward"] as object), ...("model" in (params["reward"] as object) ? { model } : {}) } }), ...(params["criticModel"] === undefined ? {} : { criticModel: model }) });
    const overrides = overridesOf(parsed, release(version), launchContext({ gpusPerNode: gpus, nodes, cpus: 64 })).map(overrideArgument);
    return `${JSON.stringify({ config: configOf(parsed).split("+")[0], overrides, lora: parsed.lora !== undefined })}\n`;
  });
  const answers = execFileSync(python, [packagePath("scripts", "verl-keys", "validate_launches.py"), join(sources, version)], { encoding: "utf8", input: lines.join(""), stdio: ["pipe", "pipe", "ignore"], env: { ...process.env, HF_HUB_OFFLINE: "1" }, timeout: 240_000, maxBuffer: 64 * 1_048_576 })
    .split("\n").filter((line) => line.startsWith("answer ")).map((line) => JSON.parse(line.slice("answer ".length)) as string | null);
  expect(answers).toHaveLength(cases.length);
  return cases.flatMap(({ what }, index) => (answers[index] === null ? [] : [`${what}: ${answers[index]!}`]));
}

const ALGORITHM_CASES = ALGORITHMS.filter((algorithm) => ALGORITHM_FACTS[algorithm].trainer === "verl-rl").map((algorithm): Case => ({ what: algorithm, params: { algorithm }, gpus: 8, nodes: 1 }));

for (const version of KNOWN_RELEASES) {
  const python = judgeOf(version);
  test.skipIf(python === null)(`verl ${version} finds nothing wrong with any algorithm, nor with the recipes that claim it`, () => {
    const recipes = RECIPES.filter((recipe) => recipe.releases.includes(version) && ALGORITHM_FACTS[recipe.algorithm].trainer === "verl-rl");
    expect(recipes.length).toBeGreaterThan(5);
    expect(refusals(python!, version, [...recipes.map((recipe): Case => ({ what: recipe.name, params: { ...recipe.params }, gpus: Math.min(8, recipe.gpus), nodes: Math.max(1, recipe.gpus / 8) })), ...ALGORITHM_CASES])).toEqual([]);
  }, 300_000);
}

test.skipIf(judgeOf("0.7.1") === null)("and it refuses what breaks its rules", () => {
  const [refused] = refusals(judgeOf("0.7.1")!, "0.7.1", [{ what: "indivisible", params: { algorithm: "grpo", batchSize: 3, answers: 5, miniBatchSize: 3, microBatchSize: 1 }, gpus: 8, nodes: 1 }]);
  expect(refused).toMatch(/AssertionError.*real_train_batch_size/);
}, 300_000);
