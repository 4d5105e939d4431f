import fc from "fast-check";
import { expect, test } from "vitest";
import { compareSamples, type ScoredSample } from "../../src/evaluation/comparison.js";

const scored = (scores: Readonly<Record<string, number | null>>): ScoredSample[] => Object.entries(scores).map(([id, score]) => ({ id, score }));

test("rows are compared by id: what got better is fixed, what got worse broken; rows of one side only are counted apart", () => {
  const found = compareSamples(scored({ a: 0, b: 1, c: 1, d: 0, e: null, f: 1 }), scored({ b: 0, a: 1, c: 1, d: 0, e: 1, g: 1 }));
  expect(found).toMatchObject({ compared: 4, fixed: ["a"], broken: ["b"], unchanged: 2, onlyInFirst: 1, onlyInSecond: 2, means: { first: 0.5, second: 0.5, difference: 0 }, test: { method: "mcnemar", p: 1 } });
});

test("ten fixed and none broken is significant; scores in between count by their direction", () => {
  const ids = Array.from({ length: 10 }, (_, index) => `r${index}`);
  const all = (score: number) => ids.map((id) => ({ id, score }));
  expect(compareSamples(all(0), all(1)).test).toEqual({ method: "mcnemar", p: 2 / 1_024 });
  expect(compareSamples(all(0.2), all(0.4))).toMatchObject({ fixed: ids, test: { method: "sign", p: 2 / 1_024 }, means: { difference: expect.closeTo(0.2, 9) } });
  expect(compareSamples([], all(1))).toMatchObject({ compared: 0, means: null, confidence: null, onlyInSecond: 10 });
});

test("turned round, fixed and broken change places and everything else stays", () => {
  const side = fc.dictionary(fc.constantFrom(..."abcdefghij"), fc.constantFrom(0, 0.5, 1, null)).map(scored);
  fc.assert(fc.property(side, side, (first, second) => {
    const [there, back] = [compareSamples(first, second), compareSamples(second, first)];
    expect([...there.fixed].sort()).toEqual([...back.broken].sort());
    expect([...there.broken].sort()).toEqual([...back.fixed].sort());
    expect([there.compared, there.unchanged, there.onlyInFirst, there.test]).toEqual([back.compared, back.unchanged, back.onlyInSecond, back.test]);
    expect(there.fixed.length + there.broken.length + there.unchanged).toBe(there.compared);
  }));
});
