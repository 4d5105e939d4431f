// Intervals and comparisons, against known values and as properties.
import fc from "fast-check";
import { expect, test } from "vitest";
import { compareSamples, type ScoredSample } from "../../../src/domain/evaluation/comparison.js";
import { bootstrap, confidenceOf, meanOf, signTest, wilson } from "../../../src/domain/evaluation/statistics.js";

test("Wilson's interval has the known values", () => {
  const { low, high } = wilson(15, 50); // R: binom.confint(15, 50, method = "wilson")
  expect(low).toBeCloseTo(0.19106, 4);
  expect(high).toBeCloseTo(0.43750, 3);
  expect(wilson(0, 10)).toMatchObject({ low: 0, high: expect.closeTo(0.27753, 4) });
  expect(wilson(10, 10)).toMatchObject({ low: expect.closeTo(0.72247, 4), high: 1 });
});

test("the interval holds the mean, stays within what is possible and shrinks with n", () => {
  fc.assert(fc.property(fc.integer({ min: 1, max: 400 }).chain((n) => fc.tuple(fc.integer({ min: 0, max: n }), fc.constant(n))), ([right, n]) => {
    const { low, high } = wilson(right, n);
    expect(low).toBeGreaterThanOrEqual(0);
    expect(high).toBeLessThanOrEqual(1);
    expect(low).toBeLessThanOrEqual(right / n);
    expect(high).toBeGreaterThanOrEqual(right / n);
    const more = wilson(right * 4, n * 4);
    expect(more.high - more.low).toBeLessThan(high - low);
  }));
});

test("the method follows from the scores, and the bootstrap repeats itself", () => {
  const scores = Array.from({ length: 200 }, (_, i) => (i % 5) / 4);
  expect(confidenceOf([0, 1, 1])?.method).toBe("wilson");
  expect(confidenceOf(scores)?.method).toBe("bootstrap");
  expect(confidenceOf([])).toBeNull();
  expect(bootstrap(scores)).toEqual(bootstrap(scores));
  const { low, high } = bootstrap(scores); // normal approximation: 0.5 ± 1.96·0.3545/√200
  expect(low).toBeCloseTo(0.4509, 1);
  expect(high).toBeCloseTo(0.5491, 1);
  expect(low).toBeLessThan(0.5);
  expect(high).toBeGreaterThan(0.5);
  expect(bootstrap([0.3, 0.3])).toMatchObject({ low: expect.closeTo(0.3, 9), high: expect.closeTo(0.3, 9) });
});

test("means lose nothing to rounding", () => {
  expect(meanOf(Array<number>(1_000_000).fill(0.1))).toBeCloseTo(0.1, 15);
  expect(meanOf([])).toBeNull();
});

test("the sign test has the known values and knows no direction", () => {
  expect(signTest(0, 0)).toBe(1);
  expect(signTest(1, 9)).toBeCloseTo(0.021484375, 9);
  expect(signTest(5, 5)).toBe(1);
  expect(signTest(2, 10)).toBeCloseTo(0.03857421875, 9);
  expect(signTest(520, 480)).toBeCloseTo(0.2174, 3); // exact: 2·P(X ≤ 480), n = 1000
  expect(signTest(1_100, 1_000)).toBeCloseTo(0.0307, 3); // with continuity correction
  fc.assert(fc.property(fc.nat(3_000), fc.nat(3_000), (a, b) => {
    const p = signTest(a, b);
    expect(p).toBe(signTest(b, a));
    expect(p).toBeGreaterThanOrEqual(0);
    expect(p).toBeLessThanOrEqual(1);
  }));
});

const sample = (id: number, score: number | null): ScoredSample => ({ id: String(id), score });

test("fixed, broken and unchanged rows are told apart, and rows of one side only are counted", () => {
  const first = [sample(1, 0), sample(2, 1), sample(3, 1), sample(4, 0), sample(5, null), sample(6, 1)];
  const second = [sample(4, 1), sample(1, 1), sample(2, 0), sample(3, 1), sample(5, 1), sample(7, 1)];
  expect(compareSamples(first, second)).toMatchObject({
    compared: 4, fixed: ["4", "1"], broken: ["2"], unchanged: ["3"], onlyInFirst: 1, onlyInSecond: 2, means: { first: 0.5, second: 0.75, difference: 0.25 }, test: { method: "mcnemar", p: signTest(2, 1) },
  });
});

const scores = fc.array(fc.constantFrom(0, 0.5, 1), { minLength: 1, maxLength: 60 });

test("comparing the other way round turns fixed and broken round and nothing else", () => {
  fc.assert(fc.property(scores, scores, (a, b) => {
    const [first, second] = [a.map((score, id) => sample(id, score)), b.map((score, id) => sample(id, score))];
    const [there, back] = [compareSamples(first, second), compareSamples(second, first)];
    expect([...there.fixed].sort()).toEqual([...back.broken].sort());
    expect([...there.unchanged].sort()).toEqual([...back.unchanged].sort());
    expect(there.test).toEqual(back.test);
    expect(there.compared).toBe(there.fixed.length + there.broken.length + there.unchanged.length);
    expect(there.means!.difference).toBeCloseTo(-back.means!.difference, 12);
  }), { numRuns: 50 });
});

test("an evaluation compared with itself has changed nothing", () => {
  fc.assert(fc.property(scores, (values) => {
    const samples = values.map((score, id) => sample(id, score));
    expect(compareSamples(samples, samples)).toMatchObject({ fixed: [], broken: [], unchanged: values.map((_, id) => String(id)), confidence: null, test: { p: 1 } });
  }));
});
