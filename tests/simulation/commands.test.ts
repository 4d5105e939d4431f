// Every command that we can write, given to the stand-in's own reading of it: the configuration of that release must know each key, and its checks must pass.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ALGORITHM_FACTS, ALGORITHMS } from "../../src/domain/training/algorithms.js";
import { trainParamsSchema, type OverrideValue } from "../../src/domain/training/train-params.js";
import { composeConfig } from "../../src/simulation/composed-config.js";
import { readFlags } from "../../src/simulation/dpo-run.js";
import { OverrideParseError, readOverride } from "../../src/simulation/hydra-grammar.js";
import { DPO_MODULE, readInvocation } from "../../src/simulation/invocation.js";
import { checkFirstBatch, rlShape } from "../../src/simulation/rl-config.js";
import { CompositionError } from "../../src/simulation/trainer-failure.js";
import { dpoCommand } from "../../src/verl/dpo.js";
import { engineForm, releasesWith } from "../../src/verl/engines.js";
import { overrideArgument } from "../../src/verl/hydra.js";
import type { LaunchContext } from "../../src/verl/launch-context.js";
import { RECIPES } from "../../src/verl/recipes.js";
import { preflight } from "../../src/verl/preflight.js";
import { KNOWN_RELEASES, registeredIn, type KnownRelease } from "../../src/verl/releases.js";
import { trainCommand } from "../../src/verl/train-command.js";
import { launchContext, release, trainParams } from "../verl/launch.js";

/** Composes and checks the command as the stand-in does; throws what it would die of. */
function take(version: KnownRelease, params: Record<string, unknown>, context: Partial<LaunchContext> = {}): void {
  const parsed = trainParams(params);
  const at = launchContext({ cpus: 16, ...context });
  if (ALGORITHM_FACTS[parsed.algorithm].trainer === "trl-dpo") {
    const asked = readInvocation(dpoCommand(parsed, { ...at, dataFolder: "/data", validates: true }).slice(1));
    expect(asked).toMatchObject({ kind: "module", module: DPO_MODULE });
    expect(readFlags(asked.kind === "module" ? asked.rest : []).size).toBeGreaterThan(10);
    return;
  }
  const invocation = readInvocation(trainCommand(parsed, release(version), at).argv.slice(1));
  if (invocation.kind === "ray member") throw new Error("no trainer");
  const [module, words] = invocation.kind === "torchrun" ? [invocation.words.module, invocation.words.rest] : [invocation.module, invocation.rest];
  if (parsed.algorithm === "sft") {
    expect([module, invocation.kind]).toEqual(["verl.trainer.sft_trainer", "torchrun"]);
    const config = composeConfig(version, "sft_trainer_engine", words);
    expect(registeredIn(version).engines.language_model[config.text("engine.strategy") ?? config.engine]).toBeDefined();
  } else {
    expect(module).toBe(release(version).rlModule);
    const config = composeConfig(version, "ppo_trainer", words);
    checkFirstBatch(config, rlShape(config, version));
  }
}

const EVERYTHING = { sequenceParallel: 2, strategy: "fsdp2", precision: "fp32", gradientCheckpointing: true, warmupRatio: 0.1, weightDecay: 0.1, schedule: "cosine", seed: 3, steps: 5, keepCheckpoints: 3, offload: {} };
const RL_EVERYTHING = { temperature: 0.7, topP: 0.9, reward: { file: "/r.py", arguments: { k: 1 }, model: "/rm" } };
const STRATEGIES = trainParamsSchema.shape.strategy.unwrap().options;
const plain = (algorithm: string) => (algorithm === "dpo" ? {} : EVERYTHING);

describe.each(KNOWN_RELEASES)("verl %s", (version) => {
  test.each(ALGORITHMS)("takes %s, plainly, with everything set, with micro batches, LoRA, Megatron, and going on from a checkpoint", (algorithm) => {
    const more = algorithm === "sft" || algorithm === "dpo" ? { maxLength: 512 } : RL_EVERYTHING;
    take(version, { algorithm });
    take(version, { algorithm, ...plain(algorithm), ...more });
    take(version, { algorithm, microBatchSize: 4 });
    take(version, { algorithm, lora: { rank: 8, targetModules: ["q_proj", "v_proj"] } });
    take(version, { algorithm }, { resumeFrom: "/run/checkpoints/global_step_4" });
    if (algorithm !== "dpo") take(version, { algorithm, strategy: "megatron", offload: {}, schedule: "cosine" });
  });

  test.each(STRATEGIES.flatMap((strategy) => ALGORITHMS.filter((algorithm) => algorithm !== "dpo").map((algorithm) => [strategy, algorithm] as const)))("takes the engine %s for %s exactly where we say that it has it", (strategy, algorithm) => {
    const found = (params: Record<string, unknown>) => preflight({ params: trainParams(params), release: release(version), context: launchContext(), data: null, model: null, hostCpus: null, path: "p" }).filter(({ severity }) => severity === "ERROR").map(({ code }) => code);
    const params = { strategy, algorithm, batchSize: 64, ...(algorithm === "sft" ? { maxLength: 512 } : { microBatchSize: 4 }) };
    if (!releasesWith({ strategy, algorithm }).includes(version)) {
      expect(found(params)).toEqual(["ENGINE_UNAVAILABLE"]);
      if (engineForm({ strategy, algorithm }) !== null) expect(() => take(version, params)).toThrow();
      return;
    }
    expect(found(params)).toEqual([]);
    take(version, params);
    take(version, params, { resumeFrom: "/run/checkpoints/global_step_4" });
    if (["fsdp", "fsdp2", "veomni"].includes(strategy)) take(version, { ...params, sequenceParallel: 2 }, { gpusPerNode: 4 });
    if (strategy !== "veomni" || version !== "0.7.0") take(version, { ...params, offload: { parameters: true } });
  });

  test.each(RECIPES.filter(({ releases }) => releases.includes(version)).map((one) => [one.name, one] as const))("takes the recipe %s", (_name, recipe) => {
    take(version, recipe.params, { nodes: Math.ceil(recipe.gpus / 8), gpusPerNode: Math.min(8, recipe.gpus), meeting: { address: "10.0.0.1", port: 29_500 } });
  });

  test("refuses a key that it does not know as Hydra does, and one that is there already", () => {
    const compose = (...words: string[]) => () => composeConfig(version, "ppo_trainer", words);
    expect(compose("trainer.total_epoch=1")).toThrow("Could not override 'trainer.total_epoch'.\nTo append to your config use +trainer.total_epoch=1");
    expect(compose("+trainer.total_epochs=1")).toThrow("Could not append to config. An item is already at 'trainer.total_epochs'.");
    expect(compose("trainer.logger=[console")).toThrow(CompositionError);
    expect(compose("++trainer.total_epoch=1", "+ray_kwargs.ray_init.address=local")).not.toThrow();
    expect(() => rlShape(composeConfig(version, "ppo_trainer", []), version)).toThrow("Missing mandatory value: actor_rollout_ref.rollout.name");
  });
});

test("keys of another release are refused by the one that lacks them", () => {
  const words = (version: KnownRelease) => {
    const invocation = readInvocation(trainCommand(trainParams({ algorithm: "ppo", offload: {}, reward: { file: "/r.py" } }), release(version), launchContext()).argv.slice(1));
    return invocation.kind === "module" ? invocation.rest : [];
  };
  expect(() => composeConfig("0.7.0", "ppo_trainer", words("0.7.1"))).toThrow("reward.custom_reward_function.path");
  expect(() => composeConfig("0.8.0", "ppo_trainer", words("0.7.1"))).toThrow("critic.model.fsdp_config.param_offload");
  expect(() => composeConfig("0.7.1", "ppo_trainer", words("0.9.0"))).toThrow("critic.fsdp.param_offload");
});

describe("Hydra's grammar", () => {
  const value: fc.Arbitrary<OverrideValue> = fc.letrec<{ value: OverrideValue }>((tie) => ({
    value: fc.oneof({ depthSize: "small" }, fc.string({ unit: "grapheme" }), fc.string({ unit: fc.constantFrom("'", "\\", "$", "{", "}", '"', ",", "a") }), fc.integer(), fc.double({ noNaN: true, noDefaultInfinity: true }).map((one) => (Object.is(one, -0) ? 0 : one)), fc.boolean(), fc.constant(null),
      fc.array(tie("value"), { maxLength: 3 }), fc.dictionary(fc.stringMatching(/^[A-Za-z_][\w-]{0,8}$/).filter((key) => key !== "__proto__"), tie("value"), { maxKeys: 3 })),
  })).value;

  test("what we write is read as it was meant", () => {
    fc.assert(fc.property(value, fc.constantFrom("set" as const, "force" as const), (given, mode) => {
      const read = readOverride(overrideArgument({ key: "a.b", value: given, mode }));
      expect({ ...read, value: toPlain(read.value) }).toMatchObject({ key: "a.b", mode, value: toPlain(given) });
    }));
  });

  test.each([
    ["a=b c", "b c"], ["a=1e-6", 1e-6], ["a=True", true], ["a='1'", "1"], ["a=null", null], ["a=", ""], ["a=[x,'y, z',3]", ["x", "y, z", 3]], ["a={b:1,c:[d]}", { b: 1, c: ["d"] }], ["a=\"it's\"", "it's"], ["a=/x/y.parquet", "/x/y.parquet"],
  ])("%s is %j", (text, wanted) => {
    expect(readOverride(text).value).toEqual(wanted);
  });

  test.each(["a", "=1", "a=b,c", "a=(1)", "a=[1", "a='x", "a=~b", "a=é", "a=x=y", "a=x#y", "a={b}"])("%s cannot be read", (text) => {
    expect(() => readOverride(text)).toThrow(OverrideParseError);
  });
});

/** Without prototypes, for comparison. */
function toPlain(value: OverrideValue): unknown {
  return JSON.parse(JSON.stringify(value));
}
