// The learning rate over the steps, as verl's schedulers compute it.

import type { EffectiveConfig } from "../verl/effective-config.js";

export interface LearningRate {
  readonly warmupSteps: number;
  /** After `step` updates. */
  at(step: number): number;
}

/** `prefix`: where the optimiser's keys stand, e.g. "optim". */
export function learningRateOf(config: EffectiveConfig, prefix: string, totalSteps: number): LearningRate {
  const base = config.number(`${prefix}.lr`) ?? 1e-3;
  const schedule = config.text(`${prefix}.lr_scheduler_type`) ?? config.text(`${prefix}.lr_decay_style`) ?? "constant";
  const lowest = base * (config.number(`${prefix}.min_lr_ratio`) ?? 0);
  const given = config.number(`${prefix}.lr_warmup_steps`) ?? -1;
  const warmupSteps = given > 0 ? given : Math.floor((config.number(`${prefix}.lr_warmup_steps_ratio`) ?? 0) * totalSteps);
  return {
    warmupSteps,
    at(step) {
      if (step < warmupSteps) return (base * step) / Math.max(1, warmupSteps);
      if (schedule !== "cosine") return base;
      const share = Math.min(1, (step - warmupSteps) / Math.max(1, totalSteps - warmupSteps));
      return lowest + (base - lowest) * 0.5 * (1 + Math.cos(Math.PI * share));
    },
  };
}
