// Thins a series for a chart. Pure.
//   T1. Never more than `maxPoints` come out, and only points that went in, in their order.
//   T2. Each bucket keeps its lowest and its highest value, and where it has a value that is not finite, one of those: a spike or a NaN is never smoothed away.
//   T3. The newest point always stays.

import type { Point } from "./metric-block.js";

/** Fewest points that T2 and T3 can be kept with: one bucket and the newest point. */
export const LEAST_POINTS = 4;

/** Thins points, given in rising order of step, to at most `maxPoints` (taken as LEAST_POINTS when lower). Buckets hold equally many points. */
export function downSample(points: readonly Point[], maxPoints: number): readonly Point[] {
  const limit = Math.max(LEAST_POINTS, Math.floor(maxPoints));
  if (points.length <= limit) return points;
  const perBucket = points.some((point) => !Number.isFinite(point.value)) ? 3 : 2;
  const buckets = Math.floor((limit - 1) / perBucket);
  const kept: Point[] = [];
  for (let bucket = 0; bucket < buckets; bucket++) {
    keepOf(points, Math.floor((bucket * points.length) / buckets), Math.floor(((bucket + 1) * points.length) / buckets), kept);
  }
  const newest = points[points.length - 1]!;
  if (kept[kept.length - 1] !== newest) kept.push(newest);
  return kept;
}

/** T2, for points[from] up to but not including points[to]. */
function keepOf(points: readonly Point[], from: number, to: number, kept: Point[]): void {
  let low = -1, high = -1, odd = -1;
  for (let i = from; i < to; i++) {
    const { value } = points[i]!;
    if (!Number.isFinite(value)) odd = i;
    else {
      if (low === -1 || value < points[low]!.value) low = i;
      if (high === -1 || value > points[high]!.value) high = i;
    }
  }
  const chosen = [low, high, odd].filter((index) => index !== -1).sort((a, b) => a - b);
  chosen.forEach((index, place) => {
    if (place === 0 || chosen[place - 1] !== index) kept.push(points[index]!);
  });
}
