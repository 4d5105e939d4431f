import { expect, test } from "vitest";
import { advance, etaSeconds, type Progress } from "../../../src/db/telemetry/pace.js";

function run(samples: readonly (readonly [step: number, atSeconds: number])[], attempt = 1, before: Progress | null = null): Progress {
  return samples.reduce<Progress | null>((progress, [step, at]) => advance(progress, { attempt, step, totalSteps: null, at: at * 1000 }), before)!;
}

test("a steady run shows its pace and the time to its end", () => {
  const progress = run(Array.from({ length: 100 }, (_, i) => [i * 2, i] as const));
  expect(progress.pace).toBeCloseTo(2, 6);
  expect(etaSeconds({ ...progress, totalSteps: 398 })).toBeCloseTo(100, 4);
});

test("a run that slows down shows its recent pace, not its mean", () => {
  const fast = run(Array.from({ length: 200 }, (_, i) => [i, i * 0.1] as const));
  const slow = run(Array.from({ length: 120 }, (_, i) => [200 + i, 20 + i] as const), 1, fast);
  expect(slow.pace).toBeGreaterThan(0.95);
  expect(slow.pace).toBeLessThan(1.5);
});

test("the first two steps do not stand for the whole run, however quick they were", () => {
  const progress = run([[1, 0], [2, 0.001], [3, 10], [4, 20]]);
  expect(progress.pace).toBeLessThan(0.3);
});

test("steps never go back within an attempt, a new attempt starts from nothing, and an older one changes nothing", () => {
  const first = run([[10, 0], [20, 10]]);
  expect(advance(first, { attempt: 1, step: 5, totalSteps: null, at: 11_000 })).toBe(first);
  const second = advance(first, { attempt: 2, step: 3, totalSteps: 50, at: 30_000 });
  expect(second).toMatchObject({ attempt: 2, step: 3, totalSteps: 50, pace: null });
  expect(advance(second, { attempt: 1, step: 99, totalSteps: null, at: 40_000 })).toBe(second);
  expect(etaSeconds(second)).toBeNull();
});

test("steps of one millisecond and clocks that go back give a finite pace", () => {
  const progress = run([[0, 10], [1_000, 10], [2_000, 5], [3_000, 11]]);
  expect(Number.isFinite(progress.pace)).toBe(true);
  expect(progress.advancedAt).toBe(11_000);
});
