// The course of one metric, with constant memory: what is usual, how widely it spreads, its smoothed value and the best of that.

import { kept, type SeriesState } from "./health-state.js";
import { OUTLIER, SETTLE, WARM_UP, WINDOW, type Watch } from "./thresholds.js";

/** What is usual for the metric by its newest unremarkable values. */
export interface Usual {
  readonly median: number;
  /** Robust standard deviation; never 0. */
  readonly spread: number;
}

/** Null until enough is known. */
export function usualOf(series: SeriesState): Usual | null {
  if (series.window.length < WARM_UP) return null;
  const middle = median(series.window);
  const distances = series.window.map((value) => Math.abs(value - middle));
  const mean = distances.reduce((sum, distance) => sum + distance, 0) / distances.length;
  return { median: middle, spread: Math.max(1.4826 * median(distances), 1.2533 * mean, 0.01 * Math.abs(middle), 1e-12) };
}

/** Deviation of single values by the differences between neighbours: a trend hardly adds to it. 0 while there are fewer than three. */
export function jitterOf({ window }: SeriesState): number {
  if (window.length < 3) return 0;
  return (0.8862 * window.slice(1).reduce((sum, value, index) => sum + Math.abs(value - window[index]!), 0)) / (window.length - 1);
}

/** Takes a value into what is usual. Of remarkable ones in a row the first counts as far as OUTLIER spreads (outliers that come and go widen the spread), the others stay out;
 *  SETTLE of them in a row begin a new usual. */
export function remember(series: SeriesState, value: number, isRemarkable: boolean, usual: Usual | null): void {
  series.remarkable = isRemarkable ? series.remarkable + 1 : 0;
  if (series.remarkable >= SETTLE) {
    series.window = [];
    series.remarkable = 0;
  }
  if (isRemarkable && series.remarkable !== 1) return;
  const reach = OUTLIER * (usual?.spread ?? Infinity);
  const counted = isRemarkable && usual !== null ? kept(Math.min(usual.median + reach, Math.max(usual.median - reach, value))) : value;
  series.window = [...series.window, counted].slice(-WINDOW);
}

/** Takes a value into the smoothed course. */
export function smooth(series: SeriesState, value: number, { weight, medianOf }: Watch["smoothing"]): void {
  series.count++;
  series.recent = [...series.recent, value].slice(-medianOf);
  const newest = median(series.recent);
  const before = series.smoothed ?? newest;
  series.smoothed = kept(before + Math.max(weight, 1 / series.count) * (newest - before)); // a plain mean at first, so that one early value does not linger
}

/** Follows the best of the smoothed course. A gain smaller than `least` is none. */
export function followBest(series: SeriesState, step: number, spread: number, direction: "up" | "down", least: number): void {
  const value = series.smoothed!;
  const gain = series.best === null ? Infinity : direction === "up" ? value - series.best : series.best - value;
  series.sinceBest++;
  if (gain <= least) return;
  series.best = value;
  series.bestStep = step;
  series.bestSpread = kept(spread);
  series.sinceBest = 0;
}

/** Of a list that is not empty. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[half]! : (sorted[half - 1]! + sorted[half]!) / 2;
}
