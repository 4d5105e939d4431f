import fc from "fast-check";
import { expect, test } from "vitest";
import type { Anomaly, HealthPoint } from "../../../../src/domain/training/health/anomaly.js";
import { detect } from "../../../../src/domain/training/health/detect.js";
import { newHealthState, type HealthState } from "../../../../src/domain/training/health/health-state.js";
import { judgeSilence } from "../../../../src/domain/training/health/silence.js";
import { WATCHES } from "../../../../src/domain/training/health/thresholds.js";
import { chanceOf, drawn, factsOf, healthyPpo, healthySft, watched, type Chance, type Curve } from "./curves.js";

const NAMES = [...WATCHES.flatMap(({ names }) => names), "actor/other", "perf/mfu"];
const anyNumber = fc.oneof(fc.double(), fc.constantFrom(NaN, Infinity, -Infinity, 0, -0, Number.MAX_VALUE, -Number.MAX_VALUE, Number.MIN_VALUE), fc.double({ min: -10, max: 10, noNaN: true }));
const anyPoint = fc.record({ name: fc.constantFrom(...NAMES), step: fc.integer({ min: 0, max: 60 }), at: fc.integer({ min: 0, max: 1e6 }), value: anyNumber });

/** Runs with something wrong at random places, so that there is something to tell. */
const anyRun = fc.record({ seed: fc.nat(), steps: fc.integer({ min: 1, max: 220 }), ill: fc.array(fc.record({ name: fc.constantFrom(...Object.keys(healthyPpo), "train/loss"), from: fc.nat(200), length: fc.integer({ min: 1, max: 60 }), value: fc.constantFrom(NaN, Infinity, 0, 1e-9, 0.5, 50, 1e6, -3) }), { maxLength: 4 }) })
  .map(({ seed, steps, ill }) => drawn({ ...healthySft(300), ...healthyPpo }, steps, seed).map((point) => {
    const wrong = ill.find(({ name, from, length }) => name === point.name && point.step >= from && point.step < from + length);
    return wrong === undefined ? point : { ...point, value: wrong.value };
  }));

/** Cuts between steps; `cuts` says after which, `again` how many steps each batch repeats. */
function inBatches(points: readonly HealthPoint[], cuts: ReadonlySet<number>, again: number, order: Chance): { state: HealthState; anomalies: Anomaly[] } {
  let state = newHealthState(), from = 0;
  const anomalies: Anomaly[] = [];
  const last = points.at(-1)!.step;
  for (let step = 0; step <= last; step++) {
    if (!cuts.has(step) && step !== last) continue;
    const batch = points.filter((point) => point.step >= from - again && point.step <= step).map((point) => ({ point, place: order.uniform() })).sort((a, b) => a.place - b.place).map(({ point }) => point);
    const result = detect(state, batch, factsOf("ppo"));
    state = JSON.parse(JSON.stringify(result.state)) as HealthState;
    expect(state).toEqual(result.state);
    anomalies.push(...result.anomalies);
    from = step + 1;
  }
  return { state, anomalies };
}

test("however the steps are cut into batches, repeated and shuffled within them, the same is told and remembered", () => {
  let tellings = 0;
  fc.assert(fc.property(anyRun, fc.array(fc.nat(220)), fc.nat(15), fc.nat(), (points, cuts, again, seed) => {
    const whole = detect(newHealthState(), points, factsOf("ppo"));
    const cut = inBatches(points, new Set(cuts), again, chanceOf(seed));
    expect(cut.anomalies).toEqual(whole.anomalies);
    expect(cut.state).toEqual(whole.state);
    expect(new Set(whole.anomalies.map(({ key }) => key)).size).toBe(whole.anomalies.length);
    tellings += whole.anomalies.length;
  }), { numRuns: 60 });
  expect(tellings).toBeGreaterThan(10);
}, 60_000);

test("no number makes it throw, whatever the order, and the state stays JSON", () => {
  fc.assert(fc.property(fc.array(fc.array(anyPoint, { maxLength: 120 }), { maxLength: 4 }), fc.double(), (batches, now) => {
    let state = newHealthState();
    for (const batch of batches) {
      state = judgeSilence(detect(state, batch, factsOf()).state, now).state;
      expect(JSON.parse(JSON.stringify(state))).toEqual(state);
    }
  }), { numRuns: 150 });
  const odd = [{ name: "train/loss", step: NaN, at: NaN, value: 1 }, { name: "train/loss", step: -1, at: 0, value: NaN }, { name: "train/loss", step: 0.5, at: 0, value: NaN }, { name: "__proto__", step: 1, at: Infinity, value: NaN }];
  expect(detect(newHealthState(), odd, factsOf()).anomalies).toEqual([]);
}, 60_000);

test("a series of huge and tiny numbers of any length keeps to finite numbers", () => {
  fc.assert(fc.property(fc.nat(), (seed) => {
    const wild: Curve = (_, { uniform, normal }) => normal() * 10 ** (600 * uniform() - 300);
    const { state } = watched(drawn(Object.fromEntries(NAMES.map((name) => [name, wild])), 200, seed));
    expect(JSON.parse(JSON.stringify(state))).toEqual(state);
  }), { numRuns: 10 });
}, 60_000);

test("the state does not grow with the run, nor with the number of metrics", () => {
  const curves = Object.fromEntries(NAMES.map((name) => [name, (_: number, { normal }: Chance) => 1.2345678 + 0.123 * normal()]));
  const early = watched(drawn(curves, 200)).state;
  let state = early;
  for (let from = 1e6; from < 2e9; from *= 1.5) state = detect(state, drawn(curves, 100, from, Math.round(from)), factsOf()).state; // steps leap, as far as a state can tell
  const foreign = Array.from({ length: 2_000 }, (_, index) => ({ name: `actor/of_mine_${index}`, step: 3e9, at: 3e12, value: index % 2 === 0 ? NaN : 1 }));
  state = detect(state, foreign, factsOf()).state;
  const sizeOf = (value: HealthState) => JSON.stringify(value).length;
  expect(sizeOf(state)).toBeLessThan(sizeOf(early) * 1.2);
  expect(sizeOf(state)).toBeLessThan(500 * NAMES.length + 3_000);
}, 60_000);

const NOISES: readonly [string, (chance: Chance) => number][] = [
  ["normal", ({ normal }) => normal()],
  ["even", ({ uniform }) => (uniform() - 0.5) * 3.4],
  ["with heavy tails", ({ uniform }) => { const u = uniform() - 0.5; return -Math.sign(u) * Math.log(1 - 2 * Math.abs(u)) * 0.7; }],
  ["in lumps", ({ uniform }) => (uniform() < 0.1 ? 2.5 : uniform() < 0.1 ? -2.5 : 0)],
];

test.each(NOISES)("noise about a constant, %s, is told at most once in 10 000 steps", (kind, noise) => {
  const STEPS = 20_000;
  const names = WATCHES.flatMap((watch) => watch.names);
  let told = 0;
  for (const [index, name] of names.entries()) {
    const isSparse = /^(val|eval)/.test(name); // a mean over a fixed set, every 20 steps
    const [mean, width] = isSparse ? [1, 0.05] : name.endsWith("clip_ratio") ? [0.3, 0.1] : ([[1, 0.1], [0.3, 0.1], [20, 6]] as const)[(index + kind.length) % 3]!;
    const isSigned = name === "actor/pg_loss" || name === "actor/ppo_kl" || name.startsWith("critic/rewards") || name.startsWith("critic/score");
    const curve: Curve = (step, chance) => (isSparse && step % 20 !== 0 ? null : Math.max(isSigned ? -Infinity : mean / 10, mean + width * noise(chance)));
    const { anomalies } = watched(drawn({ [name]: curve }, STEPS, index + 1), factsOf(), 2_000);
    expect(anomalies.length, `${name} about ${mean}: ${anomalies.map(({ message }) => message).join(" ")}`).toBeLessThanOrEqual(2);
    told += anomalies.length;
  }
  expect(told / (STEPS * names.length)).toBeLessThan(1 / 10_000);
}, 120_000);
