// The metrics of one step of RL, with the names that verl gives them and in its order.
//   V1. Every value is a function of seed, step and settings alone (chance.ts).
//   V2. With NumPy 2 (0.9) what went through its mean shows its type.

import type { KnownRelease } from "../verl/releases.js";
import { around, noise } from "./chance.js";
import type { Metrics } from "./metric-log.js";
import { Float } from "./python-text.js";
import { hasBegun, type Incident, type Scenario } from "./scenario.js";

export interface RlRun {
  readonly release: KnownRelease;
  readonly scenario: Scenario;
  readonly resumed: boolean;
  readonly seed: number;
  readonly total: number;
  readonly gpus: number;
  /** Answers per step. */
  readonly answers: number;
  readonly maxPromptLength: number;
  readonly maxResponseLength: number;
  readonly critic: boolean;
  /** Coefficients; null where that term is off. */
  readonly klLoss: number | null;
  readonly klReward: number | null;
  readonly remax: boolean;
  readonly reference: boolean;
}

export interface StepFacts { readonly step: number; readonly epoch: number; readonly actorRate: number; readonly criticRate: number; readonly saved: boolean; readonly validation: Metrics | null }

/** How well the model would be doing, 0 to 1. */
export function scoreAt(run: Pick<RlRun, "seed" | "total" | "scenario" | "resumed">, step: number): number {
  const good = 0.12 + 0.55 * (1 - Math.exp((-3 * step) / Math.max(1, run.total)));
  return around(hasBegun(run.scenario, "reward-collapse", step, run.resumed) ? 0.001 : good, 0.06, run.seed, "score", step);
}

export function stepMetrics(run: RlRun, facts: StepFacts): Metrics {
  const { seed, release } = run;
  const { step } = facts;
  const going = (kind: Incident["kind"]): boolean => hasBegun(run.scenario, kind, step, run.resumed);
  const plain = (name: string, value: number, share = 0.05): Float => new Float(around(value, share, seed, name, step));
  const mean = (name: string, value: number, share = 0.05): Float => meanOf(release, around(value, share, seed, name, step)); // V2
  const broken = going("nan");
  const done = step / Math.max(1, run.total);
  const score = scoreAt(run, step);
  const entropy = going("entropy-collapse") ? 1e-4 : 0.35 + 0.6 * Math.exp(-3 * done);
  const drift = going("kl-explosion") ? 40 + step : 0.0004 + 0.004 * done;
  const length = Math.min(run.maxResponseLength, run.maxResponseLength * (0.3 + 0.2 * done));
  const prompt = run.maxPromptLength * 0.25;
  const tokens = Math.round((length + prompt) * run.answers);
  const seconds = Math.max(0.001, run.scenario.stepMs / 1_000);
  const timing = timings(run, facts, seconds);
  return {
    "global_seqlen/min": Math.round(tokens / run.gpus * 0.9), "global_seqlen/max": Math.round(tokens / run.gpus * 1.1), "global_seqlen/minmax_diff": Math.round(tokens / run.gpus * 0.2),
    "global_seqlen/balanced_min": Math.round(tokens / run.gpus * 0.99), "global_seqlen/balanced_max": Math.round(tokens / run.gpus * 1.01), "global_seqlen/mean": new Float(tokens / run.gpus),
    "actor/entropy": plain("actor/entropy", entropy),
    ...(release === "0.7.0" ? {} : { "perf/mfu/actor_infer": plain("perf/mfu/actor_infer", 0.28) }),
    ...(run.klReward === null ? {} : { "actor/reward_kl_penalty": plain("actor/reward_kl_penalty", drift), "actor/reward_kl_penalty_coeff": new Float(run.klReward) }),
    ...(run.critic ? {
      "critic/vf_loss": mean("critic/vf_loss", 0.4 * Math.exp(-2 * done) + 0.02), "critic/vf_clipfrac": mean("critic/vf_clipfrac", 0.02, 0.5), "critic/vpred_mean": mean("critic/vpred_mean", score * 0.9), "critic/grad_norm": mean("critic/grad_norm", 2.2, 0.2),
      "perf/mfu/critic": mean("perf/mfu/critic", 0.3), "critic/lr": meanOf(release, facts.criticRate),
    } : {}),
    "actor/pg_loss": broken ? meanOf(release, Number.NaN) : mean("actor/pg_loss", 0.02 * (noise(seed, "sign", step) - 0.5), 0.5),
    ...(run.klLoss === null ? {} : { "actor/kl_loss": mean("actor/kl_loss", drift), "actor/kl_coef": meanOf(release, run.klLoss) }),
    "actor/pg_clipfrac": mean("actor/pg_clipfrac", 0.004, 0.5), "actor/ppo_kl": mean("actor/ppo_kl", going("kl-explosion") ? drift : 0.0002, 0.5), "actor/pg_clipfrac_lower": mean("actor/pg_clipfrac_lower", 0.0001, 0.9),
    "actor/grad_norm": broken ? meanOf(release, Number.NaN) : mean("actor/grad_norm", going("gradient-explosion") ? 5_000 : 0.35, 0.2),
    "perf/mfu/actor": mean("perf/mfu/actor", 0.34), "perf/max_memory_allocated_gb": mean("allocated", 42, 0.01), "perf/max_memory_reserved_gb": mean("reserved", 48, 0.01), "perf/cpu_memory_used_gb": mean("cpu", 118, 0.01), "actor/lr": meanOf(release, facts.actorRate),
    ...facts.validation,
    "training/global_step": step, "training/epoch": facts.epoch,
    ...spread("critic/score", score, 1, 0), ...spread("critic/rewards", score - (run.klReward === null ? 0 : run.klReward * drift), 1, 0),
    ...spread("critic/advantages", around(0.001, 1, seed, "adv", step), 1.7, -1.7), ...spread("critic/returns", run.critic ? score : around(0.001, 1, seed, "ret", step), 1.7, -1.7),
    ...(run.critic ? { ...spread("critic/values", score * 0.9, 1.2, -0.2), "critic/vf_explained_var": plain("critic/vf_explained_var", 0.6 * (1 - Math.exp(-4 * done)) + 0.05) } : {}),
    ...spread("response_length", around(length, 0.04, seed, "length", step), run.maxResponseLength, Math.max(1, Math.floor(length / 6))), "response_length/clip_ratio": plain("response_length/clip_ratio", 0.02, 0.6),
    ...spread("response_length_non_aborted", around(length, 0.04, seed, "length", step), run.maxResponseLength, Math.max(1, Math.floor(length / 6))), "response_length_non_aborted/clip_ratio": plain("response_length/clip_ratio", 0.02, 0.6),
    "response/aborted_ratio": new Float(0),
    ...spread("prompt_length", prompt, Math.ceil(prompt * 2), Math.max(1, Math.floor(prompt / 2))), "prompt_length/clip_ratio": new Float(0),
    "num_turns/min": numpyWhole(release, 2), "num_turns/max": numpyWhole(release, 2), "num_turns/mean": meanOf(release, 2),
    ...Object.fromEntries(Object.entries(timing).map(([name, value]) => [`timing_s/${name}`, new Float(value)])),
    ...Object.fromEntries(Object.entries(timing).filter(([name]) => PER_TOKEN.has(name)).map(([name, value]) => [`timing_per_token_ms/${name}`, new Float((value * 1_000) / tokens)])),
    "perf/total_num_tokens": tokens, "perf/time_per_step": new Float(seconds), "perf/throughput": new Float(tokens / (seconds * run.gpus)),
  };
}

/** What a validation gives, by data source and answers per prompt. */
export function validationMetrics(run: RlRun, step: number, sources: readonly string[], answers: number): Metrics {
  const found: Record<string, number | Float> = {};
  for (const source of [...new Set(sources)].sort()) {
    const score = scoreAt({ ...run, seed: run.seed + source.length }, step) * 0.95;
    found[`val-core/${source}/reward/mean@${answers}`] = meanOf(run.release, score);
    if (answers > 1) {
      found[`val-aux/${source}/reward/std@${answers}`] = meanOf(run.release, 0.3);
      found[`val-core/${source}/reward/best@${answers}/mean`] = meanOf(run.release, Math.min(1, score * 1.3));
      found[`val-aux/${source}/reward/worst@${answers}/mean`] = meanOf(run.release, score * 0.6);
    }
  }
  return { ...found, "val-aux/num_turns/min": numpyWhole(run.release, 2), "val-aux/num_turns/max": numpyWhole(run.release, 2), "val-aux/num_turns/mean": meanOf(run.release, 2) };
}

const PER_TOKEN: ReadonlySet<string> = new Set(["gen", "ref", "values", "adv", "update_critic", "update_actor"]);

function timings(run: RlRun, facts: StepFacts, seconds: number): Record<string, number> {
  return {
    start_profile: 0.0001, gen: seconds * 0.45, ...(run.remax ? { gen_max: seconds * 0.05 } : {}), reward: seconds * 0.02, old_log_prob: seconds * 0.1, ...(run.reference ? { ref: seconds * 0.1 } : {}), ...(run.critic ? { values: seconds * 0.05 } : {}), adv: seconds * 0.01,
    ...(run.critic ? { update_critic: seconds * 0.1 } : {}), update_actor: seconds * 0.25, ...(facts.saved ? { save_checkpoint: seconds * 0.2 } : {}), step: seconds, ...(facts.validation === null ? {} : { testing: seconds * 0.5 }), stop_profile: 0.0001,
  };
}

function spread(name: string, mean: number, max: number, min: number): Record<string, Float> {
  return { [`${name}/mean`]: new Float(Math.fround(mean)), [`${name}/max`]: new Float(max), [`${name}/min`]: new Float(min) };
}

function meanOf(release: KnownRelease, value: number): Float {
  return new Float(value, release.startsWith("0.9") ? "float64" : null);
}

function numpyWhole(release: KnownRelease, value: number): number | Float {
  return release.startsWith("0.9") ? new Float(value, "int32") : value;
}
