// Runs as metrics show them, drawn from a seed: curves are functions of the step and of chance.

import type { Algorithm } from "../../../../src/domain/training/algorithms.js";
import type { Anomaly, HealthFacts, HealthPoint } from "../../../../src/domain/training/health/anomaly.js";
import { detect } from "../../../../src/domain/training/health/detect.js";
import { newHealthState, type HealthState } from "../../../../src/domain/training/health/health-state.js";

export interface Chance {
  /** 0 to 1. */
  uniform(): number;
  /** Mean 0, deviation 1. */
  normal(): number;
}
export type Curve = (step: number, chance: Chance) => number | null;

/** Same seed, same draws. */
export function chanceOf(seed: number): Chance {
  let state = (seed >>> 0) + 0x9e3779b9;
  const uniform = () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  return { uniform, normal: () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform()) };
}

export const STEP_MS = 20_000;

/** Points of steps 1 to `steps`. */
export function drawn(curves: Readonly<Record<string, Curve>>, steps: number, seed = 1, from = 1): HealthPoint[] {
  const chance = chanceOf(seed);
  const points: HealthPoint[] = [];
  for (let step = from; step < from + steps; step++) {
    for (const [name, curve] of Object.entries(curves)) {
      const value = curve(step, chance);
      if (value !== null) points.push({ name, step, at: 1_700_000_000_000 + step * STEP_MS, value });
    }
  }
  return points;
}

export const factsOf = (algorithm: Algorithm = "grpo", rest: Partial<HealthFacts> = {}): HealthFacts => ({ attempt: 1, algorithm, ...rest });

/** Everything told, the points coming in batches of so many steps. */
export function watched(points: readonly HealthPoint[], facts: HealthFacts = factsOf(), stepsPerBatch = 50): { state: HealthState; anomalies: Anomaly[] } {
  let state = newHealthState();
  const anomalies: Anomaly[] = [];
  let batch: HealthPoint[] = [];
  const flush = () => {
    const result = detect(state, batch, facts);
    state = result.state;
    anomalies.push(...result.anomalies);
    batch = [];
  };
  for (const point of points) {
    if (batch.length > 0 && point.step >= batch[0]!.step + stepsPerBatch) flush();
    batch.push(point);
  }
  flush();
  return { state, anomalies };
}

/** Kinds and severities in the order they were told. */
export const told = (anomalies: readonly Anomaly[]): string[] => anomalies.map(({ kind, severity }) => `${kind} ${severity}`);

const fading = (from: number, to: number, over: number) => (step: number) => to + (from - to) * Math.exp(-step / over);
const noisy = (curve: (step: number) => number, share: number): Curve => (step, chance) => curve(step) * (1 + share * chance.normal());
const every = (period: number, curve: Curve): Curve => (step, chance) => (step % period === 0 ? curve(step, chance) : null);

/** An SFT run over `steps` steps: loss falls to its end, gradients are large while the learning rate rises. */
export const healthySft = (steps: number): Record<string, Curve> => ({
  "train/loss": noisy((step) => 0.6 + 1.4 / Math.sqrt(1 + step / 20), 0.06),
  "train/grad_norm": (step, chance) => (step < 15 ? 40 / step : 1.2) * Math.exp(0.25 * chance.normal()) * (chance.uniform() < 0.01 ? 4 : 1),
  "train/lr": (step) => 1e-5 * Math.min(1, step / 15) * (0.5 + 0.5 * Math.cos((Math.PI * step) / steps)),
  "val/loss": every(Math.max(1, Math.floor(steps / 12)), noisy((step) => 0.65 + 1.4 / Math.sqrt(1 + step / 20), 0.003)),
  "train/mfu": () => 0.4,
});

/** A GRPO run: rewards climb through noise, entropy falls to a third, lengths grow, KL to the reference grows slowly. */
export const healthyGrpo: Record<string, Curve> = {
  "actor/pg_loss": (_, chance) => 0.02 * chance.normal(),
  "actor/kl_loss": (step, chance) => Math.max(0, 0.0008 * step * (1 + 0.2 * chance.normal())),
  "actor/ppo_kl": (_, chance) => 0.0005 * chance.normal(),
  "actor/entropy": noisy(fading(0.6, 0.2, 150), 0.08),
  "actor/grad_norm": (_, chance) => 0.25 * Math.exp(0.5 * chance.normal()) * (chance.uniform() < 0.01 ? 12 : 1),
  "critic/rewards/mean": (step, chance) => 0.15 + 0.5 * (1 - Math.exp(-step / 200)) + 0.08 * chance.normal(),
  "critic/score/mean": (step, chance) => 0.15 + 0.5 * (1 - Math.exp(-step / 200)) + 0.08 * chance.normal(),
  "response_length/clip_ratio": (step, chance) => Math.max(0, 0.05 + 0.0001 * step + 0.03 * chance.normal()),
  "response_length/mean": (step) => 300 + step,
};

/** PPO: as GRPO, with a critic. */
export const healthyPpo: Record<string, Curve> = {
  ...healthyGrpo,
  "actor/reward_kl_penalty": (step, chance) => 0.0005 * step * (1 + 0.3 * chance.normal()),
  "critic/vf_loss": noisy(fading(4, 0.3, 60), 0.3),
  "critic/grad_norm": (step, chance) => (2 + 60 * Math.exp(-step / 10)) * Math.exp(0.6 * chance.normal()),
};
