// How fast a stage advances. Pure.
//   A1. Times are the agent's own: a backlog that arrives in one burst after an outage looks no faster than it was.
//   A2. A step never goes back within an attempt; a new attempt starts from nothing.

/** Time constant of the smoothing: steps of longer ago hardly count. Milliseconds. */
const RECENT_MS = 30_000;
/** Steps reported within the same millisecond still took some time. */
const SHORTEST_MS = 1;

export interface Progress {
  readonly attempt: number;
  readonly step: number;
  readonly totalSteps: number | null;
  /** Steps per second; null before the second step. */
  readonly pace: number | null;
  /** First and newest advance, milliseconds since 1970. */
  readonly since: number;
  readonly advancedAt: number;
}

/** The highest step that a report shows, or the total alone. `at`: milliseconds since 1970. */
export interface ProgressSample {
  readonly attempt: number;
  readonly step: number;
  readonly totalSteps: number | null;
  readonly at: number;
}

/** Takes a sample in. Samples of attempts that were replaced change nothing. */
export function advance(before: Progress | null, sample: ProgressSample): Progress {
  if (before === null || sample.attempt > before.attempt) {
    return { attempt: sample.attempt, step: sample.step, totalSteps: sample.totalSteps, pace: null, since: sample.at, advancedAt: sample.at };
  }
  if (sample.attempt < before.attempt) return before;
  const totalSteps = sample.totalSteps ?? before.totalSteps;
  if (sample.step <= before.step) return totalSteps === before.totalSteps ? before : { ...before, totalSteps };
  const tookMs = Math.max(SHORTEST_MS, sample.at - before.advancedAt);
  const rate = ((sample.step - before.step) * 1000) / tookMs;
  const advancedAt = Math.max(before.advancedAt, sample.at);
  // In the first half minute a plain mean, so that two quick steps are not taken for the pace of the whole run.
  const weight = Math.max(1 - Math.exp(-tookMs / RECENT_MS), Math.min(1, tookMs / Math.max(SHORTEST_MS, advancedAt - before.since)));
  return { ...before, step: sample.step, totalSteps, pace: before.pace === null ? rate : before.pace + weight * (rate - before.pace), advancedAt };
}

/** Seconds to the end at the recent pace; null when the end or the pace is not known. */
export function etaSeconds(progress: Pick<Progress, "step" | "totalSteps" | "pace">): number | null {
  if (progress.totalSteps === null || progress.pace === null || !(progress.pace > 0)) return null;
  return Math.max(0, progress.totalSteps - progress.step) / progress.pace;
}
