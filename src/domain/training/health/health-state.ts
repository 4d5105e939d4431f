// What is remembered of a run between two batches of metrics: plain JSON of bounded size, whatever the run's length.
//   H1. Series exist for the exact names of WATCHES only, and every list in them has a fixed longest length.
//   H2. Numbers kept are finite and of at most nine digits, so that a round trip through JSON changes nothing.
//   H3. A state of another version is begun anew: some alarms come late or a second time, nothing breaks.

import type { AnomalyKind } from "./anomaly.js";
import type { NonFiniteWatch } from "./thresholds.js";

export const HEALTH_STATE_VERSION = 1;

/** One rule on one metric. */
export interface Episode {
  /** Per level: observations in a row beyond it, counted up to its hold. */
  runs: number[];
  /** Rank of the worst severity reached since it began; 0: well. */
  told: number;
  /** Observations in a row beyond the recovery line. */
  good: number;
}

export interface SeriesState {
  /** Watermark: points up to this step are known. */
  step: number;
  /** Finite values seen. */
  count: number;
  /** Newest values by which the usual is known, oldest first; at most WINDOW. */
  window: number[];
  /** Newest values, at most as many as smoothing takes the median of. */
  recent: number[];
  settled: number | null;
  smoothed: number | null;
  best: number | null;
  bestStep: number | null;
  /** Spread when the best was set. */
  bestSpread: number;
  /** Values since. */
  sinceBest: number;
  /** Remarkable values in a row. */
  remarkable: number;
  episodes: Partial<Record<AnomalyKind, Episode>>;
}

export interface NonFiniteState {
  /** Watermark. */
  step: number;
  /** Metric that it was told of; null: well. */
  metric: string | null;
  good: number;
}

export interface PaceState {
  /** Newest step, its first and the newest sign of it; milliseconds since 1970. -1: none yet. */
  step: number;
  stepAt: number;
  lastAt: number;
  /** Milliseconds per step, newest last; at most SILENCE.steps. */
  durations: number[];
  /** Rank of the severity that this silence was told with. */
  told: number;
}

export interface HealthState {
  version: typeof HEALTH_STATE_VERSION;
  attempt: number;
  /** Points of earlier steps are passed over: the attempt went on from here. */
  from: number;
  series: Record<string, SeriesState>;
  nonFinite: Record<NonFiniteWatch["group"], NonFiniteState>;
  pace: PaceState;
  /** Causes that log lines of the attempt have been told for. */
  logCauses: string[];
}

/** The state before anything is known of an attempt. */
export function newHealthState(attempt = 0, from = 0): HealthState {
  const well = (): NonFiniteState => ({ step: -1, metric: null, good: 0 });
  return {
    version: HEALTH_STATE_VERSION, attempt, from, series: {}, nonFinite: { training: well(), validation: well() },
    pace: { step: -1, stepAt: 0, lastAt: 0, durations: [], told: 0 }, logCauses: [],
  };
}

/** The state as it was stored; a new one where nothing was, or something that this version does not know (H3). */
export function restoreHealthState(stored: unknown): HealthState {
  return typeof stored === "object" && stored !== null && (stored as { version?: unknown }).version === HEALTH_STATE_VERSION ? (stored as HealthState) : newHealthState();
}

/** The state that a batch of this attempt is judged on (the very same object where nothing changes), or null when the batch is of an attempt that was replaced. */
export function stateForAttempt(state: HealthState, facts: { readonly attempt: number; readonly resumedFrom?: number | null }): HealthState | null {
  if (facts.attempt < state.attempt) return null;
  return facts.attempt === state.attempt ? state : newHealthState(facts.attempt, facts.resumedFrom ?? 0);
}

export function newSeries(): SeriesState {
  return { step: -1, count: 0, window: [], recent: [], settled: null, smoothed: null, best: null, bestStep: null, bestSpread: 0, sinceBest: 0, remarkable: 0, episodes: {} };
}

const LARGEST = 1e150;

/** H2. Products of two such numbers are finite. */
export function kept(value: number): number {
  const number = Number(Math.min(LARGEST, Math.max(-LARGEST, value)).toPrecision(9));
  return number === 0 ? 0 : number;
}
