// What is said about an anomaly and what to do about it. Fields are those of a train stage (train-params.ts); keys with dots go into its `overrides`.

import { ALGORITHM_FACTS, type Algorithm } from "../algorithms.js";
import { inWords, type AnomalyKind } from "./anomaly.js";
import type { SeriesState } from "./health-state.js";
import type { LevelStanding } from "./rules.js";
import type { Usual } from "./series.js";
import type { Rule } from "./thresholds.js";

type LevelKind = Exclude<AnomalyKind, "NON_FINITE" | "NO_PROGRESS" | "OUT_OF_MEMORY">;

/** One sentence with the numbers. */
export function messageFor(rule: Rule, metric: string, step: number, value: number, level: LevelStanding, series: SeriesState, usual: Usual | null): string {
  const is = `${metric} is ${inWords(value)} at step ${step}`;
  const lasted = level.hold > 1 ? ` for ${level.hold} values in a row` : "";
  const usually = usual === null ? "" : ` Usual are ${inWords(usual.median)} ± ${inWords(usual.spread)}.`;
  switch (rule.shape) {
    case "above": return `${is}${rule.on === "smoothed" ? " (smoothed)" : ""}: at or above ${inWords(level.threshold)}${lasted}.${rule.on === "value" ? usually : ""}`;
    case "below": {
      const settled = series.settled === null ? "" : ` It had settled at ${inWords(series.settled)}.`;
      return `${is}${rule.on === "smoothed" ? " (smoothed)" : ""}: at or below ${inWords(level.threshold)}${lasted}.${settled}`;
    }
    case "drop": return `${is} (smoothed), down from its best of ${inWords(series.best!)} at step ${series.bestStep!}: at or below ${inWords(level.threshold)}${lasted}.`;
    case "stall": {
      const best = `${is} (smoothed). Its best was ${inWords(series.best!)} at step ${series.bestStep!}`;
      return level.threshold > series.best! ? `${best}; ${series.sinceBest} values later it has risen past ${inWords(level.threshold)}.` : `${best}; of ${series.sinceBest} values since none is clearly better (below ${inWords(level.threshold)}).`;
    }
  }
}

/** What to do, as sentences. */
export function suggestionFor(kind: LevelKind | "NON_FINITE", metric: string, algorithm: Algorithm): string {
  return SUGGESTIONS[kind](algorithm, metric);
}

const isGroup = (algorithm: Algorithm): boolean => (ALGORITHM_FACTS[algorithm].fewestAnswers ?? 0) >= 2;
const clipping = (algorithm: Algorithm, metric: string): string => {
  if (algorithm === "dpo") return "max_grad_norm";
  return algorithm === "sft" ? "optim.clip_grad" : metric.startsWith("critic/") ? "critic.grad_clip" : "actor_rollout_ref.actor.grad_clip";
};
const rate = (metric: string): string => (metric.startsWith("critic/") ? "criticLearningRate" : "learningRate");

const SUGGESTIONS: Readonly<Record<LevelKind | "NON_FINITE", (algorithm: Algorithm, metric: string) => string>> = {
  NON_FINITE: (algorithm, metric) => {
    if (/^(val|eval)/.test(metric)) return "The weights may be well while a validation row is not: look for empty or fully masked rows in valFiles, and at the training loss of the same step.";
    const common = "Go on from a checkpoint before this step: later ones may hold such weights. Lower the learning rate or warm up longer (warmupRatio), keep precision bf16, and look at the data of this step.";
    if (algorithm === "sft") return `${common} Rows whose answer is cut away whole (maxLength) leave no token to learn from and divide by zero.`;
    if (algorithm === "dpo") return `${common} Check for empty chosen or rejected answers, and raise beta.`;
    return `${common} Check that the reward function returns a finite number for every answer, also for empty ones.`;
  },
  KL_EXPLOSION: (algorithm, metric) => {
    if (metric === "actor/ppo_kl") {
      const clip = algorithm === "gspo" ? "GSPO's clip range is of the order of 3e-4: check actor_rollout_ref.actor.clip_ratio_low and clip_ratio_high." : "Lower actor_rollout_ref.actor.clip_ratio or use fewer updates per batch (a larger miniBatchSize, ppo_epochs 1).";
      return `The policy moves too far within one batch. Lower learningRate. ${clip} Go back to a checkpoint before this step.`;
    }
    const hold = metric === "actor/kl_loss" ? "raise klLoss" : "raise klReward";
    return `The policy leaves its reference. Go back to a checkpoint before this step, lower learningRate and ${hold}; read samples of this step: a reward that can be gamed looks like this too.`;
  },
  ENTROPY_COLLAPSE: (algorithm) => {
    const explore = "The policy hardly explores any more, so little more will be learnt. Go back to a checkpoint with more entropy, lower learningRate, and keep temperature at 1.";
    if (algorithm === "dapo") return `${explore} Raise actor_rollout_ref.actor.clip_ratio_high (0.28 is usual).`;
    if (algorithm === "grpo") return `${explore} Raise actor_rollout_ref.actor.clip_ratio_high above clip_ratio_low (0.28 against 0.2, as DAPO does), or give a small entropy bonus (entropy: 0.001).`;
    return `${explore} A small entropy bonus (entropy: 0.001) or a larger KL coefficient holds against it.`;
  },
  REWARD_COLLAPSE: (algorithm) => {
    const common = "Go back to the checkpoint of the best reward. Read samples of this step: empty, endless or repeated answers tell what broke; then lower learningRate";
    if (algorithm === "ppo") return `${common}, and look whether the critic broke first (critic/vf_loss, critic/vf_explained_var).`;
    if (isGroup(algorithm)) return `${common}, hold the policy nearer to its reference (${algorithm === "rloo" ? "klReward" : "klLoss"}), or draw more answers per prompt (answers).`;
    return `${common}, and hold the policy nearer to its reference (klReward).`;
  },
  GRADIENT_EXPLOSION: (algorithm, metric) => {
    const common = `Lower ${rate(metric)} or warm up longer, and clip lower (${clipping(algorithm, metric)}).`;
    if (algorithm === "sft" || algorithm === "dpo") return `${common} Look at the rows of this step for broken or very long ones. Go back to a checkpoint before it if the loss has risen as well.`;
    return metric.startsWith("critic/") ? `${common} Rewards of large scale make large value errors: scale them to about 1.` : `${common} Go back to a checkpoint before this step if actor/ppo_kl or the reward has moved as well.`;
  },
  GRADIENT_VANISHING: (algorithm, metric) => {
    if (metric.startsWith("critic/")) return "The critic learns nothing more: its targets may all be the same. Look at critic/score/min and max; if they are equal, the reward tells nothing apart.";
    if (isGroup(algorithm)) return "No advantage is left: all answers to a prompt score the same. Choose prompts that are solved sometimes but not always, check the scorer on some samples, draw more answers per prompt (answers) or at a higher temperature.";
    if (algorithm === "sft" || algorithm === "dpo") return "Nothing is learnt any more. Check that answers are not masked or cut away whole, that the learning rate is above 0 and that parameters are trainable (lora.targetModules); if the loss is near 0, stop here.";
    return "Nothing is learnt any more. Look whether rewards differ at all (critic/score/min and max), and that learningRate is above 0.";
  },
  LOSS_PLATEAU: (algorithm, metric) => {
    if (/^(val|eval)/.test(metric)) return "Held-out loss has stopped falling: take the checkpoint where it was lowest. More epochs only overfit; more or more varied data help.";
    if (metric.startsWith("critic/")) return "The critic does not get better at predicting rewards. Raise criticLearningRate or warm the critic up first (trainer.critic_warmup), and check that the rewards depend on the answer.";
    return algorithm === "dpo" ? "The loss has stopped falling. If rewards/accuracies is high, stop here; otherwise lower beta or raise learningRate, and check that chosen and rejected differ." : "The loss has stopped falling. If it is low enough, stop here and save the hours; otherwise raise learningRate, or look whether the data hold more to learn.";
  },
  LOSS_SPIKE: (algorithm, metric) => {
    if (metric === "critic/vf_loss") return "The critic's targets jumped. Look at the rewards of this step for outliers, bound them in the reward function, and lower criticLearningRate if it does not come down by itself.";
    if (metric === "actor/pg_loss") return "Look at actor/ppo_kl and the advantages of this step. If it does not come down by itself, lower learningRate; actor_rollout_ref.actor.clip_ratio_c bounds what a bad answer can add.";
    return `Look at the rows of this step (wrong language, broken text, very long). If the loss does not come down by itself, go back to a checkpoint before it, lower learningRate and clip lower (${clipping(algorithm, metric)}).`;
  },
  RESPONSE_LENGTH_CLIPPED: (algorithm) => {
    const common = "Answers are cut before they end, so the reward judges length. Raise maxResponseLength, or ask for shorter answers in the prompt; check that the chat template ends answers with the model's end token.";
    if (algorithm === "dapo") return `${common} DAPO's overlong buffer (reward_model.reward_kwargs.overlong_buffer_cfg) penalises length softly before the cut.`;
    return algorithm === "grpo" ? `${common} GRPO's mean per answer favours long wrong answers: loss_agg_mode token-mean does not.` : common;
  },
};
