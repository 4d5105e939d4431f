// NO_PROGRESS: a run whose steps took minutes and that has said nothing for hours. Judged between batches, by the clock.
//   N1. The time of a step is its first sign, so that a batch cut anywhere between steps gives the same durations.
//   N2. A silence is told once, and once more when it is three times as long; the next step ends it.

import { anomalyKey, inWords, rankOf, type Anomaly, type HealthPoint } from "./anomaly.js";
import type { HealthState, PaceState } from "./health-state.js";
import { median } from "./series.js";
import { SILENCE } from "./thresholds.js";

/** Takes the times of one step's points in. Changes the state in place; returns whether it did. */
export function followPace(pace: PaceState, step: number, points: readonly HealthPoint[]): boolean {
  const times = points.map(({ at }) => at).filter(Number.isFinite);
  if (times.length === 0 || step < pace.step) return false;
  const first = wholeMs(times.reduce((a, b) => Math.min(a, b))), last = wholeMs(times.reduce((a, b) => Math.max(a, b)));
  if (step === pace.step) {
    if (last <= pace.lastAt) return false;
    pace.lastAt = last;
    return true;
  }
  if (pace.step >= 0) pace.durations = [...pace.durations, wholeMs(Math.max(0, first - pace.stepAt) / (step - pace.step))].slice(-SILENCE.steps);
  Object.assign(pace, { step, stepAt: first, lastAt: Math.max(pace.lastAt, last), told: 0 });
  return true;
}

/** Milliseconds of silence after which it is told; null while too few steps are known. */
export function silenceLimitMs({ durations }: PaceState): number | null {
  if (durations.length < SILENCE.fewestSteps) return null;
  return Math.max(SILENCE.leastMs, SILENCE.medians * median(durations), SILENCE.longest * Math.max(...durations));
}

/** Judges a running attempt's silence; ask only for attempts that run and are not paused. `now`: milliseconds since 1970. The state comes back as it was where nothing is told. */
export function judgeSilence(state: HealthState, now: number): { readonly state: HealthState; readonly anomalies: readonly Anomaly[] } {
  const { pace, attempt } = state;
  const limitMs = silenceLimitMs(pace);
  const silentMs = now - pace.lastAt;
  const level = limitMs === null ? undefined : SILENCE.levels.findLast(({ times }) => silentMs >= times * limitMs);
  if (level === undefined || rankOf(level.severity) <= pace.told) return { state, anomalies: [] };
  const threshold = level.times * limitMs!;
  const anomaly: Anomaly = {
    key: anomalyKey(attempt, "NO_PROGRESS", "silence", pace.step, level.severity), kind: "NO_PROGRESS", severity: level.severity, step: pace.step, metric: null, value: silentMs, threshold,
    message: `Nothing has been heard of the run for ${inSeconds(silentMs)} s since step ${pace.step}: more than ${inSeconds(threshold)} s, where a step takes ${inSeconds(median(pace.durations))} s (median).`,
    suggestion: "Look at the last lines of the log, at the GPUs' load and at the host's disk and network: a worker that died, a peer that is waited for, a full disk or an endless answer stop a run like this. If it is stuck, cancel and retry: the stage goes on from its last checkpoint. noProgressTimeoutSeconds does so by itself.",
  };
  return { state: { ...state, pace: { ...pace, told: rankOf(level.severity) } }, anomalies: [anomaly] };
}

/** Within what a date can be. */
function wholeMs(time: number): number {
  return Math.round(Math.min(8.64e15, Math.max(0, time)));
}

function inSeconds(ms: number): string {
  return inWords(ms / 1000);
}
