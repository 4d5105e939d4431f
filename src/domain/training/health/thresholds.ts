// What counts as unwell, as one table. A level is reached when all its terms hold for `hold` observations in a row; the numbers err towards silence, because an
// alarm that is wrong once a night is switched off. Where a number is our own judgement the table says so; what verl computes is named by its metric.
//   "usual": median of the last 32 values, remarkable ones left out or bounded. "spread": robust standard deviation of the same (the larger of 1.4826·MAD and 1.2533·mean absolute deviation, so
//   that metrics which mostly stand still do not have none). "settled": the usual value when the first 20 values were in.
//   "jitter": deviation that the steps from value to value show; unlike the spread it does not grow where the curve falls.

import type { AnomalyKind, AnomalySeverity } from "./anomaly.js";

interface AnyLevel {
  readonly severity: AnomalySeverity;
  /** Observations in a row. */
  readonly hold: number;
}

/** All terms given must hold. Those but `atLeast` wait for the warm-up. */
export interface AboveLevel extends AnyLevel {
  /** Value. */
  readonly atLeast?: number;
  /** Usual plus so many spreads. */
  readonly deviations?: number;
  /** Multiple of the usual. */
  readonly ratio?: number;
  /** Multiple of the settled. */
  readonly overSettled?: number;
}
export interface BelowLevel extends AnyLevel {
  readonly atMost?: number;
  /** Share of the settled. */
  readonly share?: number;
}
/** Below the best smoothed value by the largest of these. */
export interface DropLevel extends AnyLevel {
  /** Share of what was gained since the settled value, or of the best itself where that is more. */
  readonly share: number;
  /** Spreads at the time of the best. */
  readonly deviations: number;
  readonly atLeast: number;
}
/** `hold` counts observations since the last improvement of the smoothed value. */
export interface StallLevel extends AnyLevel {
  /** And so much of the whole run: a curve that flattens by nature needs longer for the same gain. */
  readonly shareOfRun: number;
  /** And the smoothed value is above the best by this share and by four jitters, three times in a row. */
  readonly worse?: number;
}

interface AnyRule<Shape extends string, Level> {
  readonly shape: Shape;
  readonly kind: AnomalyKind;
  /** Metrics of one group tell one story: while it is told of one, another is silent unless it is worse. Absent: each metric for itself. */
  readonly group?: string;
  /** By rising severity. */
  readonly levels: readonly Level[];
}
export type Rule =
  | (AnyRule<"above", AboveLevel> & { readonly on: "value" | "smoothed" })
  | (AnyRule<"below", BelowLevel> & { readonly on: "value" | "smoothed" })
  | AnyRule<"drop", DropLevel>
  | (AnyRule<"stall", StallLevel> & {
    /** Smallest improvement that counts: share of the best, or so many jitters, whichever is more. */
    readonly improvement: number;
    readonly jitters: number;
    /** Not told once the best is at or below this share of the settled: there it has learnt. */
    readonly learntAt?: number;
    /** Not told once the best is at or below this: there is nothing left to learn. */
    readonly floor: number;
  });

export interface Watch {
  /** Exact names; each is followed for itself. */
  readonly names: readonly string[];
  /** The smoothed value: an average with this weight for the newest, over the median of so many values (single outliers vanish). */
  readonly smoothing: { readonly weight: number; readonly medianOf: 1 | 3 | 5 };
  readonly rules: readonly Rule[];
}

/** Values remembered per metric. */
export const WINDOW = 32;
/** Values before anything is compared with what is usual. */
export const WARM_UP = 20;
/** Observations in a row on the good side of the recovery line, after which an anomaly is over and may be told again. */
export const RECOVERY = 10;
/** The recovery line: so much of the way from the usual (or zero) to the threshold. */
export const RECOVERY_SHARE = 0.7;
/** Spreads from the usual, as far as which a remarkable value counts in it. */
export const OUTLIER = 20;
/** Remarkable values in a row after which they are the new usual: data and schedules change for good reasons. */
export const SETTLE = 100;

const LOSS_SMOOTHING = { weight: 0.03, medianOf: 5 } as const;
const VANISHING: Rule = {
  // verl logs the norm before clipping. Zero in group algorithms: every answer of a prompt scored the same, so no advantage is left. 1e-6 is below what a bf16 forward
  // pass resolves; a thousandth of the settled norm is our own judgement.
  shape: "below", kind: "GRADIENT_VANISHING", on: "value", levels: [{ severity: "LOW", share: 1e-3, hold: 20 }, { severity: "MEDIUM", atMost: 1e-6, hold: 10 }],
};

export const WATCHES: readonly Watch[] = [
  {
    // Held-out loss. Eight validations without a gain is a common patience of early stopping; well above the best for three is overfitting rather than noise.
    names: ["val/loss", "eval_loss", "eval/loss"], smoothing: { weight: 0.4, medianOf: 3 },
    rules: [{
      shape: "stall", kind: "LOSS_PLATEAU", improvement: 0.002, jitters: 1.5, floor: 0.005,
      levels: [{ severity: "LOW", hold: 8, shareOfRun: 0.4 }, { severity: "MEDIUM", hold: 5, shareOfRun: 0.3, worse: 0.05 }],
    }],
  },
  {
    // SFT and DPO. One bad batch is usual: alone it is told only when far out (20 spreads and twice the usual). Training loss flattens by nature, so its patience is long.
    names: ["train/loss", "loss"], smoothing: LOSS_SMOOTHING,
    rules: [
      {
        shape: "above", kind: "LOSS_SPIKE", on: "value",
        levels: [{ severity: "LOW", atLeast: 0.1, deviations: 20, ratio: 2, hold: 1 }, { severity: "MEDIUM", atLeast: 0.1, deviations: 8, ratio: 1.5, hold: 3 }, { severity: "HIGH", atLeast: 0.1, deviations: 8, ratio: 3, hold: 5 }],
      },
      { shape: "stall", kind: "LOSS_PLATEAU", improvement: 0.005, jitters: 0.25, floor: 0.02, levels: [{ severity: "LOW", hold: 1000, shareOfRun: 0.5 }] },
    ],
  },
  {
    // The policy loss hovers around zero and says little by its course; only what is far out and stays there is worth a word.
    names: ["actor/pg_loss"], smoothing: LOSS_SMOOTHING,
    rules: [{ shape: "above", kind: "LOSS_SPIKE", on: "value", levels: [{ severity: "LOW", atLeast: 0.5, deviations: 12, hold: 2 }, { severity: "MEDIUM", atLeast: 2, deviations: 12, hold: 3 }] }],
  },
  {
    // The critic's regression error follows the rewards, which move: wide ratios. A critic that came down to half of where it settled has learnt.
    names: ["critic/vf_loss"], smoothing: LOSS_SMOOTHING,
    rules: [
      { shape: "above", kind: "LOSS_SPIKE", on: "value", levels: [{ severity: "LOW", atLeast: 0.1, deviations: 12, ratio: 5, hold: 3 }, { severity: "MEDIUM", atLeast: 1, deviations: 12, ratio: 20, hold: 3 }] },
      { shape: "stall", kind: "LOSS_PLATEAU", improvement: 0.005, jitters: 0.25, floor: 1e-4, learntAt: 0.5, levels: [{ severity: "LOW", hold: 1000, shareOfRun: 0.5 }] },
    ],
  },
  {
    // Norm before clipping; verl clips at 1 by default, so below 1 nothing explodes. Spikes of one or two steps are what clipping is for, hence three in a row.
    names: ["actor/grad_norm", "train/grad_norm", "grad_norm"], smoothing: { weight: 0.2, medianOf: 5 },
    rules: [
      {
        shape: "above", kind: "GRADIENT_EXPLOSION", on: "value", levels: [
          { severity: "MEDIUM", atLeast: 1, deviations: 8, ratio: 5, hold: 3 }, { severity: "HIGH", atLeast: 5, deviations: 10, ratio: 10, hold: 3 },
          { severity: "HIGH", atLeast: 5, overSettled: 100, hold: 5 }, { severity: "CRITICAL", atLeast: 50, deviations: 10, ratio: 100, hold: 2 },
        ],
      },
      VANISHING,
    ],
  },
  {
    // A critic's head starts from noise and its targets from rewards of any scale: wider than the actor's.
    names: ["critic/grad_norm"], smoothing: { weight: 0.2, medianOf: 5 },
    rules: [
      { shape: "above", kind: "GRADIENT_EXPLOSION", on: "value", levels: [{ severity: "MEDIUM", atLeast: 10, deviations: 10, ratio: 10, hold: 5 }, { severity: "HIGH", atLeast: 100, deviations: 10, ratio: 100, hold: 5 }] },
      VANISHING,
    ],
  },
  {
    // Between the policy that drew the answers and the one being updated: usually 1e-4 to 1e-2 (PPO implementations that stop early do so at 0.015 to 0.03 per token), and
    // exactly 0 with one update per batch. An estimate that may be negative. 2 nats per token is past every clip range.
    names: ["actor/ppo_kl"], smoothing: { weight: 0.2, medianOf: 3 },
    rules: [{
      shape: "above", kind: "KL_EXPLOSION", group: "KL_EXPLOSION", on: "value",
      levels: [{ severity: "MEDIUM", atLeast: 0.1, deviations: 8, ratio: 5, hold: 3 }, { severity: "HIGH", atLeast: 0.3, deviations: 8, ratio: 5, hold: 3 }, { severity: "CRITICAL", atLeast: 2, hold: 2 }],
    }],
  },
  {
    // Against the reference: grows slowly by nature (to some tenths of a nat per token), so only a jump counts, or 5 nats, where nothing of the reference is left. verl
    // bounds low_var_kl at 10 per token.
    names: ["actor/kl_loss", "actor/reward_kl_penalty"], smoothing: { weight: 0.2, medianOf: 3 },
    rules: [{
      shape: "above", kind: "KL_EXPLOSION", group: "KL_EXPLOSION", on: "value",
      levels: [{ severity: "MEDIUM", atLeast: 0.5, deviations: 8, ratio: 4, hold: 3 }, { severity: "HIGH", atLeast: 2, deviations: 8, ratio: 4, hold: 3 }, { severity: "CRITICAL", atLeast: 5, hold: 3 }],
    }],
  },
  {
    // Nats per token, usually 0.2 to 2 at the start and falling in every healthy RL run; a tenth of the start and little in itself is collapse. A peaked model may start
    // low: then only next to nothing is told, and lowly. The numbers are our own judgement.
    names: ["actor/entropy"], smoothing: { weight: 0.2, medianOf: 5 },
    rules: [{
      shape: "below", kind: "ENTROPY_COLLAPSE", on: "smoothed",
      levels: [{ severity: "LOW", atMost: 0.005, hold: 20 }, { severity: "MEDIUM", atMost: 0.1, share: 0.1, hold: 5 }, { severity: "HIGH", atMost: 0.02, share: 0.05, hold: 5 }],
    }],
  },
  {
    // Rewards of a batch are noisy and of any scale: what counts is the smoothed course against its own best. Chance alone moves it by about two spreads in a million steps.
    names: ["critic/rewards/mean", "critic/score/mean"], smoothing: { weight: 0.1, medianOf: 5 },
    rules: [{
      shape: "drop", kind: "REWARD_COLLAPSE", group: "REWARD_COLLAPSE",
      levels: [
        { severity: "MEDIUM", share: 0.35, deviations: 4, atLeast: 0.02, hold: 5 }, { severity: "HIGH", share: 0.5, deviations: 4, atLeast: 0.02, hold: 5 },
        { severity: "CRITICAL", share: 0.9, deviations: 4, atLeast: 0.02, hold: 10 },
      ],
    }],
  },
  {
    // Share of answers cut at the longest length. They end without an answer, so most scorers give them nothing: from a fifth on the reward measures length.
    names: ["response_length/clip_ratio"], smoothing: { weight: 0.2, medianOf: 1 },
    rules: [{
      shape: "above", kind: "RESPONSE_LENGTH_CLIPPED", on: "smoothed",
      levels: [{ severity: "LOW", atLeast: 0.2, hold: 5 }, { severity: "MEDIUM", atLeast: 0.5, hold: 5 }, { severity: "HIGH", atLeast: 0.9, hold: 10 }],
    }],
  },
];

/** NON_FINITE. Of one step the first group and name that match tell it. */
export interface NonFiniteWatch {
  readonly group: "training" | "validation";
  readonly severity: AnomalySeverity;
  readonly names: readonly RegExp[];
  /** Statistics that may be NaN in a sound run. */
  readonly except: readonly RegExp[];
}
export const NON_FINITE_WATCHES: readonly NonFiniteWatch[] = [
  // verl skips the update, goes on, and ends with exit code 0. The explained variance is NaN for a single value by definition.
  { group: "training", severity: "CRITICAL", names: [/^(train\/)?loss$/, /loss$/, /grad_norm$/, /^(actor|critic)\//], except: [/^(val|eval)[/_]/, /^critic\/vf_explained_var$/] },
  // An empty validation set or a single broken row does that to weights that are well.
  { group: "validation", severity: "HIGH", names: [/^(val|eval)[/_]loss$/], except: [] },
];
/** Steps with the told metric finite, and none of its group not, after which it is over. */
export const NON_FINITE_RECOVERY = 5;
/** Longer names are not looked at: one is kept in the state. Characters. */
export const LONGEST_NAME = 200;

/** NO_PROGRESS: silence of `medians` times the median step, twice the longest recent step (saving and validating stand in between) and `leastMs`, whichever is longest. */
export const SILENCE = { steps: 31, fewestSteps: 5, medians: 10, longest: 2, leastMs: 300_000, levels: [{ severity: "MEDIUM", times: 1 }, { severity: "HIGH", times: 3 }] } as const;

/** OUT_OF_MEMORY: causes of failure-signatures.ts that mean it. HIGH: the program may have caught it and gone on. */
export const MEMORY_CAUSES: readonly string[] = ["GPU_OUT_OF_MEMORY", "KV_CACHE_TOO_SMALL", "HOST_OUT_OF_MEMORY"];
