import { expect, test } from "vitest";
import { ALGORITHMS } from "../../../../src/domain/training/algorithms.js";
import { suggestionFor } from "../../../../src/domain/training/health/advice.js";
import { ANOMALY_KINDS } from "../../../../src/domain/training/health/anomaly.js";
import { detect } from "../../../../src/domain/training/health/detect.js";
import { newHealthState, restoreHealthState } from "../../../../src/domain/training/health/health-state.js";
import { WATCHES } from "../../../../src/domain/training/health/thresholds.js";
import { drawn, factsOf, healthyGrpo, healthyPpo, healthySft, told, watched, type Curve } from "./curves.js";

const SEEDS = [1, 2, 3, 4, 5, 6, 7, 8];
const after = (start: number, curve: Curve, before: Curve): Curve => (step, chance) => (step < start ? before : curve)(step, chance);
const grpoWith = (name: string, start: number, curve: Curve) => drawn({ ...healthyGrpo, [name]: after(start, curve, healthyGrpo[name]!) }, start + 120);
const sftWith = (name: string, start: number, curve: Curve) => drawn({ ...healthySft(600), [name]: after(start, curve, healthySft(600)[name]!) }, start + 120);

test.each(SEEDS)("nothing is told about a healthy SFT run, its warm-up included (seed %i)", (seed) => {
  expect(watched(drawn(healthySft(900), 900, seed), factsOf("sft")).anomalies).toEqual([]);
});

test.each(SEEDS)("nothing is told about a healthy GRPO run with noisy rewards (seed %i)", (seed) => {
  expect(watched(drawn(healthyGrpo, 800, seed)).anomalies).toEqual([]);
});

test.each(SEEDS)("nothing is told about a healthy PPO run (seed %i)", (seed) => {
  expect(watched(drawn(healthyPpo, 800, seed), factsOf("ppo")).anomalies).toEqual([]);
});

test("spikes while the learning rate rises are no alarm, the same spikes later are", () => {
  const spiky = (start: number): Record<string, Curve> => ({
    "train/loss": (step, { normal }) => (step >= start && step < start + 4 ? 9 : 2 + 0.05 * normal()),
    "train/grad_norm": (step, { normal }) => (step >= start && step < start + 4 ? 300 : 1 + 0.1 * normal()),
  });
  expect(watched(drawn(spiky(3), 200), factsOf("sft")).anomalies).toEqual([]);
  expect(watched(drawn(spiky(60), 200), factsOf("sft", { warmupSteps: 70 })).anomalies).toEqual([]);
  expect(told(watched(drawn(spiky(60), 200), factsOf("sft")).anomalies)).toEqual(["LOSS_SPIKE LOW", "GRADIENT_EXPLOSION CRITICAL", "LOSS_SPIKE MEDIUM"]);
});

test.each<[string, string, (step: number) => number, string[], string]>([
  ["the KL between updates jumps", "actor/ppo_kl", (i) => 0.15 + 0.02 * i, ["KL_EXPLOSION MEDIUM", "KL_EXPLOSION HIGH", "KL_EXPLOSION CRITICAL"], "actor/ppo_kl"],
  ["the KL to the reference doubles with every step", "actor/kl_loss", (i) => Math.min(9, 0.5 * 2 ** i), ["KL_EXPLOSION MEDIUM", "KL_EXPLOSION HIGH", "KL_EXPLOSION CRITICAL"], "actor/kl_loss"],
  ["entropy falls to nothing", "actor/entropy", (i) => 0.2 * 0.6 ** i, ["ENTROPY_COLLAPSE MEDIUM", "ENTROPY_COLLAPSE HIGH"], "actor/entropy"],
  ["the reward falls to nothing", "critic/rewards/mean", () => 0, ["REWARD_COLLAPSE HIGH", "REWARD_COLLAPSE CRITICAL"], "critic/rewards/mean"],
  ["gradients grow without end", "actor/grad_norm", (i) => 2 * 1.5 ** i, ["GRADIENT_EXPLOSION MEDIUM", "GRADIENT_EXPLOSION HIGH", "GRADIENT_EXPLOSION CRITICAL"], "actor/grad_norm"],
  ["gradients are all zero", "actor/grad_norm", () => 0, ["GRADIENT_VANISHING MEDIUM"], "actor/grad_norm"],
  ["the policy loss stays far out", "actor/pg_loss", () => 3, ["LOSS_SPIKE LOW", "LOSS_SPIKE MEDIUM"], "actor/pg_loss"],
  ["more and more answers are cut", "response_length/clip_ratio", (i) => Math.min(1, 0.05 * i), ["RESPONSE_LENGTH_CLIPPED LOW", "RESPONSE_LENGTH_CLIPPED MEDIUM", "RESPONSE_LENGTH_CLIPPED HIGH"], "response_length/clip_ratio"],
])("it is told when %s", (_, name, curve, expected, metric) => {
  const { anomalies } = watched(grpoWith(name, 300, (step) => curve(step - 300)));
  expect(told(anomalies)).toEqual(expected);
  for (const anomaly of anomalies) {
    expect(anomaly).toMatchObject({ metric, step: expect.any(Number), value: expect.any(Number), threshold: expect.any(Number) });
    expect(anomaly.step).toBeGreaterThanOrEqual(300);
    expect(anomaly.message).toContain(`${metric} is ${Number(anomaly.value!.toPrecision(4))} at step ${anomaly.step}`);
    expect(anomaly.message).toContain(String(Number(anomaly.threshold!.toPrecision(4))));
  }
});

test("a loss that leaps and stays is told, worse and worse, and a lone far outlier lowly", () => {
  expect(told(watched(sftWith("train/loss", 300, () => 6), factsOf("sft")).anomalies)).toEqual(["LOSS_SPIKE LOW", "LOSS_SPIKE MEDIUM", "LOSS_SPIKE HIGH"]);
  expect(told(watched(sftWith("train/loss", 300, (step, chance) => (step === 300 ? 6 : healthySft(600)["train/loss"]!(step, chance))), factsOf("sft")).anomalies)).toEqual(["LOSS_SPIKE LOW"]);
});

test("a validation loss that stops falling is told, worse when it rises, and a training loss that never falls once, long after", () => {
  const { anomalies } = watched(drawn({ "train/loss": (_, { normal }) => 2 + 0.1 * normal(), "val/loss": (step) => (step % 50 === 0 ? 1 + Math.abs(step - 400) / 1000 : null) }, 3000), factsOf("sft"));
  expect(anomalies.map(({ metric, severity }) => `${metric} ${severity}`)).toEqual(["val/loss LOW", "val/loss MEDIUM", "train/loss LOW"]);
  expect(anomalies[0]).toMatchObject({ kind: "LOSS_PLATEAU", step: 800 });
  expect(anomalies[0]!.message).toMatch(/best was 1\.\d+ at step 400; of 8 values since none is clearly better \(below 1\.\d+\)/);
  expect(anomalies[1]!.message).toMatch(/values later it has risen past 1\.\d+/);
});

test("a loss next to zero is no plateau: there is nothing left to learn", () => {
  expect(watched(drawn({ "train/loss": (_, { uniform }) => 0.005 + 0.001 * uniform() }, 4000), factsOf("sft")).anomalies).toEqual([]);
});

test("a critic that never learns is told, one that came down is not, and one that bursts is", () => {
  const critic = (curve: Curve) => told(watched(drawn({ "critic/vf_loss": curve }, 2500), factsOf("ppo")).anomalies);
  expect(critic((_, { normal }) => 2 + 0.2 * normal())).toEqual(["LOSS_PLATEAU LOW"]);
  expect(critic((step, { normal }) => (0.2 + 3 * Math.exp(-step / 40)) * (1 + 0.2 * normal()))).toEqual([]);
  expect(critic((step, { normal }) => (step > 2400 ? 90 : (0.2 + 3 * Math.exp(-step / 40)) * (1 + 0.2 * normal())))).toEqual(["LOSS_SPIKE MEDIUM"]);
});

test("gradients that fade to a thousandth are told lowly", () => {
  expect(told(watched(drawn({ "train/grad_norm": (step) => Math.max(2e-4, Math.exp(-step / 40)) }, 700), factsOf("sft")).anomalies)).toEqual(["GRADIENT_VANISHING LOW"]);
});

test("an anomaly is told once per episode, and again after it has recovered", () => {
  const clipped = (step: number) => ((step >= 50 && step < 100) || (step >= 200 && step < 250) ? 0.35 : 0.02);
  const { anomalies } = watched(drawn({ "response_length/clip_ratio": clipped }, 400));
  expect(told(anomalies)).toEqual(["RESPONSE_LENGTH_CLIPPED LOW", "RESPONSE_LENGTH_CLIPPED LOW"]);
  const wavering = (step: number) => (step < 50 ? 0.02 : step % 2 === 0 ? 0.16 : 0.28); // about the threshold, never well below it
  expect(told(watched(drawn({ "response_length/clip_ratio": wavering }, 2000)).anomalies)).toEqual(["RESPONSE_LENGTH_CLIPPED LOW"]);
});

test("a new level that lasts becomes the usual, and a leap from there is told again", () => {
  const stairs: Curve = (step, { normal }) => (step < 200 ? 1 : step < 600 ? 8 : 90) * (1 + 0.05 * normal());
  expect(told(watched(drawn({ "train/grad_norm": stairs }, 700), factsOf("sft")).anomalies)).toEqual(["GRADIENT_EXPLOSION MEDIUM", "GRADIENT_EXPLOSION HIGH"]);
});

test("metrics that tell the same story tell it once: score and reward, the three KLs", () => {
  const falling: Curve = (step, { normal }) => (step < 200 ? 0.6 : 0) + 0.02 * normal();
  const { anomalies } = watched(drawn({ "critic/rewards/mean": falling, "critic/score/mean": falling, "actor/ppo_kl": (step) => (step < 220 ? 0 : 4), "actor/kl_loss": (step) => (step < 225 ? 0.01 : 9) }, 300));
  expect(told(anomalies).filter((text) => text.startsWith("REWARD"))).toEqual(["REWARD_COLLAPSE MEDIUM", "REWARD_COLLAPSE HIGH", "REWARD_COLLAPSE CRITICAL"]);
  expect(anomalies.filter(({ kind }) => kind === "KL_EXPLOSION").map(({ metric, severity }) => `${metric} ${severity}`)).toEqual(["actor/ppo_kl CRITICAL"]);
});

test("NaN and infinities are told at once, at the first step too, once for the whole flock, the loss first", () => {
  const { anomalies } = detect(newHealthState(), [
    { name: "actor/grad_norm", step: 1, at: 5, value: NaN }, { name: "actor/pg_loss", step: 1, at: 5, value: -Infinity }, { name: "actor/entropy", step: 1, at: 5, value: NaN },
    { name: "actor/pg_loss", step: 2, at: 6, value: NaN },
  ], factsOf());
  expect(anomalies).toEqual([{
    key: "1:NON_FINITE:actor/pg_loss:1:CRITICAL", kind: "NON_FINITE", severity: "CRITICAL", step: 1, metric: "actor/pg_loss", value: -Infinity, threshold: null,
    message: "actor/pg_loss is -Infinity at step 1, and 2 more metrics with it.", suggestion: expect.stringContaining("reward function"),
  }]);
});

test.each([
  ["train/loss", "CRITICAL"], ["train/grad_norm", "CRITICAL"], ["loss", "CRITICAL"], ["critic/advantages/mean", "CRITICAL"], ["actor/my_own", "CRITICAL"], ["val/loss", "HIGH"],
  ["perf/mfu/actor", null], ["timing_s/gen", null], ["critic/vf_explained_var", null], ["val-core/math/acc/mean@1", null], [`actor/${"x".repeat(300)}`, null],
])("a NaN of %s is %s", (name, severity) => {
  expect(detect(newHealthState(), [{ name, step: 3, at: 0, value: NaN }], factsOf()).anomalies.map((anomaly) => anomaly.severity)).toEqual(severity === null ? [] : [severity]);
});

test("after five sound steps a NaN may be told again, before that it may not", () => {
  const nanAt = (...steps: number[]) => watched(drawn({ "train/loss": (step) => (steps.includes(step) ? NaN : 1 + step / 1000), "train/grad_norm": (step) => (steps.includes(step) ? NaN : 1) }, 30), factsOf("sft")).anomalies.map(({ step }) => step);
  expect(nanAt(5, 6, 9)).toEqual([5]);
  expect(nanAt(5, 11)).toEqual([5, 11]);
});

test("an attempt that resumed begins anew at its step, and what the replaced one still says is passed over", () => {
  const nan = (step: number) => [{ name: "train/loss", step, at: step, value: NaN }];
  const first = detect(newHealthState(), nan(100), factsOf("sft"));
  const second = detect(first.state, nan(60), factsOf("sft", { attempt: 2, resumedFrom: 50 }));
  expect(second.anomalies.map(({ key }) => key)).toEqual(["2:NON_FINITE:train/loss:60:CRITICAL"]);
  expect(second.state).toMatchObject({ attempt: 2, from: 50 });
  expect(detect(second.state, nan(40), factsOf("sft", { attempt: 2, resumedFrom: 50 }))).toEqual({ state: second.state, anomalies: [] });
  const late = detect(second.state, nan(101), factsOf("sft"));
  expect(late.anomalies).toEqual([]);
  expect(late.state).toBe(second.state);
});

test("where nothing is new the very same state comes back, and a given state is never changed", () => {
  const points = drawn(healthyGrpo, 60);
  const { state } = watched(points);
  const copy = structuredClone(state);
  expect(detect(state, points, factsOf()).state).toBe(state);
  expect(detect(state, [], factsOf()).state).toBe(state);
  detect(state, drawn(healthyGrpo, 60, 2, 61), factsOf());
  expect(state).toEqual(copy);
});

test("a stored state goes on where it was; of another version, or none, it begins anew", () => {
  const { state } = watched(drawn(healthyGrpo, 60));
  expect(restoreHealthState(JSON.parse(JSON.stringify(state)))).toEqual(state);
  for (const stored of [null, undefined, 3, {}, { ...state, version: 99 }]) expect(restoreHealthState(stored)).toEqual(newHealthState());
});

test("every rule of the table has rising severities, and advice for every algorithm in whole sentences", () => {
  const rank = (severity: string) => ["LOW", "MEDIUM", "HIGH", "CRITICAL"].indexOf(severity);
  const names = WATCHES.flatMap((watch) => watch.names);
  expect(new Set(names).size).toBe(names.length);
  for (const watch of WATCHES) {
    for (const rule of watch.rules) {
      expect(ANOMALY_KINDS).toContain(rule.kind);
      for (const [index, level] of rule.levels.entries()) if (index > 0) expect(rank(level.severity)).toBeGreaterThanOrEqual(rank(rule.levels[index - 1]!.severity));
      for (const algorithm of ALGORITHMS) for (const name of watch.names) expect(suggestionFor(rule.kind as "LOSS_SPIKE", name, algorithm)).toMatch(/^[A-Z].{30,}\.$/);
    }
  }
});

test("advice differs where the algorithm does", () => {
  expect(suggestionFor("GRADIENT_VANISHING", "actor/grad_norm", "grpo")).toContain("answers");
  expect(suggestionFor("GRADIENT_VANISHING", "train/grad_norm", "sft")).toContain("masked");
  expect(suggestionFor("REWARD_COLLAPSE", "critic/rewards/mean", "ppo")).toContain("critic/vf_loss");
  expect(suggestionFor("KL_EXPLOSION", "actor/ppo_kl", "gspo")).toContain("3e-4");
  expect(suggestionFor("LOSS_SPIKE", "train/loss", "dpo")).toContain("max_grad_norm");
});
