// A rule of the table applied to the newest value of a metric: how each level stands, and whether the metric is well again. Pure arithmetic; episodes are kept elsewhere.

import type { AnomalySeverity } from "./anomaly.js";
import type { SeriesState } from "./health-state.js";
import { jitterOf, type Usual } from "./series.js";
import { RECOVERY, RECOVERY_SHARE, type AboveLevel, type BelowLevel, type DropLevel, type Rule } from "./thresholds.js";

export interface LevelStanding {
  readonly severity: AnomalySeverity;
  readonly beyond: boolean;
  /** What the value was held against. */
  readonly threshold: number;
  /** Observations in a row that are needed. */
  readonly hold: number;
}

export interface Standing {
  /** What was judged. */
  readonly value: number;
  /** By rising severity; a level that cannot be judged yet is not beyond. */
  readonly levels: readonly LevelStanding[];
  /** Beyond the recovery line; null: says nothing either way. */
  readonly well: boolean | null;
  /** How many such observations, with none on the other side between them, end an episode. */
  readonly recovery: number;
}

/** Values in a row that have to be above the best before it counts as rising again. */
const RISEN_FOR = 3;
/** Gains that end a stall: a single one may be chance. */
const GAINS = 2;

/** Null while nothing can be said. `usual` is what it was before `value`. */
export function standingOf(rule: Rule, series: SeriesState, value: number, usual: Usual | null): Standing | null {
  switch (rule.shape) {
    case "above": {
      const subject = rule.on === "value" ? value : series.smoothed!;
      const thresholds = rule.levels.map((level) => aboveThreshold(level, series, usual));
      const lowest = Math.min(...thresholds);
      const isRelative = rule.levels.some(({ deviations, ratio }) => deviations !== undefined || ratio !== undefined);
      const base = isRelative && usual !== null && usual.median < lowest ? usual.median : 0;
      return compared(rule.levels, thresholds, subject, (threshold) => subject >= threshold, subject < base + RECOVERY_SHARE * (lowest - base));
    }
    case "below": {
      const subject = rule.on === "value" ? value : series.smoothed!;
      const thresholds = rule.levels.map((level) => belowThreshold(level, series));
      return compared(rule.levels, thresholds, subject, (threshold) => subject <= threshold, subject > Math.max(...thresholds) / RECOVERY_SHARE);
    }
    case "drop": {
      const { best, settled, smoothed } = series;
      if (best === null || settled === null || smoothed === null) return null;
      const drops = rule.levels.map((level) => leastDrop(level, best, settled, series.bestSpread));
      return compared(rule.levels, drops.map((drop) => best - drop), smoothed, (threshold) => smoothed <= threshold, smoothed > best - RECOVERY_SHARE * Math.min(...drops));
    }
    case "stall": {
      const { best, settled, smoothed } = series;
      if (best === null || smoothed === null) return null;
      const isDone = best <= rule.floor || (rule.learntAt !== undefined && settled !== null && best <= rule.learntAt * settled);
      const levels = rule.levels.map(({ severity, hold, shareOfRun, worse }): LevelStanding => {
        const threshold = worse === undefined ? best - leastGain(rule, series) : best + Math.max(worse * Math.abs(best), 4 * jitterOf(series));
        const isLong = series.sinceBest >= Math.max(hold, shareOfRun * series.count);
        return { severity, threshold, hold: worse === undefined ? 1 : RISEN_FOR, beyond: !isDone && isLong && (worse === undefined || smoothed >= threshold) };
      });
      return { value: smoothed, levels, well: series.sinceBest === 0 ? true : null, recovery: GAINS };
    }
  }
}

/** The smallest gain that a stall takes for one. */
export function leastGain(rule: Extract<Rule, { shape: "stall" }>, series: SeriesState): number {
  return series.best === null ? 0 : Math.max(rule.improvement * Math.abs(series.best), rule.jitters * jitterOf(series));
}

/** Infinite while it cannot be judged. */
function aboveThreshold({ atLeast, deviations, ratio, overSettled }: AboveLevel, { settled }: SeriesState, usual: Usual | null): number {
  const needsUsual = deviations !== undefined || ratio !== undefined || overSettled !== undefined;
  if (needsUsual && (usual === null || settled === null)) return Infinity;
  return Math.max(
    atLeast ?? -Infinity,
    usual === null || deviations === undefined ? -Infinity : usual.median + deviations * usual.spread,
    usual === null || ratio === undefined ? -Infinity : ratio * usual.median,
    settled === null || overSettled === undefined ? -Infinity : overSettled * settled,
  );
}

/** Minus infinity while it cannot be judged. */
function belowThreshold({ atMost, share }: BelowLevel, { settled }: SeriesState): number {
  if (share !== undefined && settled === null) return -Infinity;
  return Math.min(atMost ?? Infinity, share === undefined || settled === null ? Infinity : share * settled);
}

function leastDrop({ share, deviations, atLeast }: DropLevel, best: number, settled: number, spread: number): number {
  return Math.max(atLeast, deviations * spread, share * Math.max(best - settled, Math.abs(best)));
}

function compared(levels: readonly { severity: AnomalySeverity; hold: number }[], thresholds: readonly number[], value: number, isBeyond: (threshold: number) => boolean, well: boolean): Standing {
  const standings = levels.map(({ severity, hold }, index) => ({ severity, hold, threshold: thresholds[index]!, beyond: Number.isFinite(thresholds[index]!) && isBeyond(thresholds[index]!) }));
  return { value, levels: standings, well, recovery: RECOVERY };
}
