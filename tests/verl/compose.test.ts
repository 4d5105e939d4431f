// Every launch we can emit, composed by Hydra with verl's own configuration of each release. Needs the sources that `node scripts/verl-keys/sources.mjs` keeps.
import { existsSync } from "node:fs";
import { expect, test } from "vitest";
import { trainParamsSchema, type OverrideValue } from "../../src/domain/training/train-params.js";
import { packagePath } from "../../src/package-root.js";
import { engineForm, releasesWith } from "../../src/verl/engines.js";
import { RECIPES } from "../../src/verl/recipes.js";
import { KNOWN_RELEASES } from "../../src/verl/releases.js";
import { compositionOf } from "../../src/verl/train-command.js";
import { runWithHydra, sourcesFolder } from "../../scripts/verl-keys/sources.mjs";
import { launchContext, release, trainParams } from "./launch.js";

const folder = sourcesFolder();
const there = existsSync(folder);
if (!there) console.warn("\nNOT RUN: composing launches with verl's own configurations: make them with `node scripts/verl-keys/sources.mjs`.\n");

interface Launch { readonly version: string; readonly config: string; readonly overrides: readonly string[]; readonly expect?: Readonly<Record<string, unknown>>; readonly what: string }

function launchOf(version: string, params: Record<string, unknown>, expected: Readonly<Record<string, unknown>> = {}): Launch {
  const parsed = trainParams(params);
  return { version, ...compositionOf(parsed, release(version), launchContext({ cpus: 16, checkpointDir: "/a folder/it's, 1=2" })), expect: expected, what: `${version} ${JSON.stringify(params)}` };
}

/** Refusals by launch. */
function refusals(launches: readonly Launch[]): string[] {
  const answers = runWithHydra(folder, [packagePath("scripts", "verl-keys", "compose_launches.py"), folder], launches.map((launch) => `${JSON.stringify(launch)}\n`).join("")).trim().split("\n");
  expect(answers).toHaveLength(launches.length);
  return launches.flatMap(({ what }, index) => (answers[index] === "null" ? [] : [`${what}: ${answers[index]!}`]));
}

const ALGORITHMS = ["sft", "ppo", "grpo", "gspo", "dapo", "rloo", "remax", "reinforce_plus_plus"] as const;
/** FSDP is what everything else here composes with; that every algorithm's keys fit every engine, tests/simulation/commands.test.ts says by the tables. */
const OTHER_ENGINES = trainParamsSchema.shape.strategy.unwrap().options.filter((strategy) => !strategy.startsWith("fsdp"));
const EVERYTHING = { sequenceParallel: 2, strategy: "fsdp2", precision: "fp32", gradientCheckpointing: true, warmupRatio: 0.1, weightDecay: 0.1, schedule: "cosine", seed: 3, steps: 5, keepCheckpoints: 3, offload: {} };

test.skipIf(!there)("every algorithm composes on every release, plainly and with everything set", () => {
  const launches = KNOWN_RELEASES.flatMap((version) => ALGORITHMS.flatMap((algorithm) => [
    launchOf(version, { algorithm }, { "trainer.default_local_dir": "/a folder/it's, 1=2" }),
    launchOf(version, { algorithm, ...EVERYTHING, ...(algorithm === "sft" ? { maxLength: 512 } : { temperature: 0.7, topP: 0.9, reward: { file: "/r.py", arguments: { k: 1 }, model: "/rm" } }) }),
  ]));
  expect(refusals(launches)).toEqual([]);
}, 240_000);

test.skipIf(!there)("micro batches, LoRA, Megatron and going on from a checkpoint compose", () => {
  const variants = [{ microBatchSize: 4 }, { lora: { rank: 8, targetModules: ["q_proj", "v_proj"] } }, { strategy: "megatron", offload: {}, schedule: "cosine" }];
  const launches = KNOWN_RELEASES.flatMap((version) => (["sft", "ppo", "grpo"] as const).flatMap((algorithm) => variants.map((variant) => launchOf(version, { algorithm, ...variant }))));
  expect(refusals(launches)).toEqual([]);
}, 240_000);

test.skipIf(!there)("every engine composes on every release that has it, plainly and with its fields, and no other release has its groups", () => {
  const having = OTHER_ENGINES.flatMap((strategy) => (["sft", "ppo", "grpo"] as const).flatMap((algorithm) => releasesWith({ strategy, algorithm }).map((version) => ({ strategy, algorithm, version }))));
  const fields = (strategy: string, algorithm: string, version: string) => ({
    schedule: "cosine", ...(strategy === "veomni" ? { sequenceParallel: 2 } : {}), ...(strategy === "veomni" && version === "0.7.0" ? {} : { offload: {} }), ...(algorithm === "sft" ? { microBatchSize: 2 } : { microBatchSize: 2, klLoss: 0.001 }),
  });
  const launches = having.flatMap(({ strategy, algorithm, version }) => [launchOf(version, { strategy, algorithm }), launchOf(version, { strategy, algorithm, ...fields(strategy, algorithm, version) })]);
  expect(refusals(launches)).toEqual([]);
  const lacking = OTHER_ENGINES.flatMap((strategy) => (["sft", "grpo"] as const).flatMap((algorithm) => (engineForm({ strategy, algorithm }) === null ? [] : KNOWN_RELEASES.filter((version) => !releasesWith({ strategy, algorithm }).includes(version)).map((version) => launchOf(version, { strategy, algorithm })))));
  expect(refusals(lacking)).toHaveLength(lacking.length);
  expect(having.length).toBeGreaterThan(20);
}, 240_000);

test.skipIf(!there)("every recipe composes on every release it claims", () => {
  expect(refusals(RECIPES.flatMap((recipe) => recipe.releases.map((version) => launchOf(version, recipe.params))))).toEqual([]);
}, 240_000);

test.skipIf(!there)("what a user gives arrives as it was given, whatever characters it holds", () => {
  const values: readonly OverrideValue[] = [
    "it's", "a\\'b", "end\\", "${oc.env:HOME}", "\\${x}", "1e5", "null", "true", " lead and trail ", "a,b=c(d){e}#f;~g", "é漢🙂", "", "tab\tnew\nline", 0, -1.5, 1e-7, 1e21, true, null, ["a", 1, [null, "it's"]], { a: "b", c: [1, { d: "e f" }] },
  ];
  const launches = values.map((value) => launchOf("0.7.1", { algorithm: "grpo", overrides: { "ray_kwargs.ray_init.given": value } }, { "ray_kwargs.ray_init.given": value }));
  expect(refusals(launches)).toEqual([]);
}, 240_000);
