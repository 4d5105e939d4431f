import fc from "fast-check";
import { expect, test } from "vitest";
import { downSample, LEAST_POINTS } from "../../../src/db/telemetry/down-sample.js";
import { blockOf, pointsOf, rollUp, type Point } from "../../../src/db/telemetry/metric-block.js";

const value = fc.oneof({ weight: 9, arbitrary: fc.double({ noNaN: true, noDefaultInfinity: true }) }, { weight: 1, arbitrary: fc.constantFrom(NaN, Infinity, -Infinity) });
const series = fc.uniqueArray(fc.tuple(fc.integer({ min: -3_000, max: 10_000 }), value), { selector: ([step]) => step, maxLength: 400 })
  .map((rows): Point[] => rows.sort(([a], [b]) => a - b).map(([step, v]) => ({ step, at: step * 1000, value: v })));
const finite = (points: readonly Point[]) => points.map((point) => point.value).filter(Number.isFinite);

test("down-sampling gives at most maxPoints, all of them points of the series in their order, the newest among them", () => {
  fc.assert(fc.property(series, fc.integer({ min: 1, max: 500 }), (points, maxPoints) => {
    const kept = downSample(points, maxPoints);
    expect(kept.length).toBeLessThanOrEqual(Math.max(LEAST_POINTS, maxPoints));
    let at = -1;
    for (const point of kept) expect((at = points.indexOf(point, at + 1))).not.toBe(-1);
    expect(kept.at(-1)).toBe(points.at(-1));
  }));
});

test("down-sampling keeps the extremes, and shows that there are values which are no number", () => {
  fc.assert(fc.property(series, fc.integer({ min: 1, max: 500 }), (points, maxPoints) => {
    const kept = downSample(points, maxPoints);
    if (finite(points).length > 0) {
      expect(Math.min(...finite(kept))).toBe(Math.min(...finite(points)));
      expect(Math.max(...finite(kept))).toBe(Math.max(...finite(points)));
    }
    expect(kept.some((point) => !Number.isFinite(point.value))).toBe(points.some((point) => !Number.isFinite(point.value)));
  }));
});

test("a lone spike and a lone NaN survive among ten thousand quiet points", () => {
  const points = Array.from({ length: 10_000 }, (_, step) => ({ step, at: step, value: step === 4_321 ? 99 : step === 6_543 ? NaN : Math.sin(step) }));
  const kept = downSample(points, 50);
  expect(kept.length).toBeLessThanOrEqual(50);
  expect(kept).toContain(points[4_321]);
  expect(kept).toContain(points[6_543]);
});

test("roll-ups name real points, hold every extreme of their block and count what is no number", () => {
  fc.assert(fc.property(series, (points) => {
    const blocks = rollUp(points);
    expect(blocks.reduce((sum, block) => sum + block.points, 0)).toBe(points.length);
    for (const block of blocks) {
      const own = points.filter(({ step }) => blockOf(step) === block.block);
      expect(own).toEqual(expect.arrayContaining(pointsOf(block)));
      expect([block.firstStep, block.last.step, block.points]).toEqual([own[0]!.step, own.at(-1)!.step, own.length]);
      expect(block.nonFinite).toBe(own.length - finite(own).length);
      expect([block.min?.value, block.max?.value]).toEqual(finite(own).length === 0 ? [undefined, undefined] : [Math.min(...finite(own)), Math.max(...finite(own))]);
    }
  }));
});
