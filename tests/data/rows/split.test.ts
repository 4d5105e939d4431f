import fc from "fast-check";
import { expect, test } from "vitest";
import { sideOf } from "../../../src/data/rows/split.js";

const keys = Array.from({ length: 20_000 }, (_, n) => `question ${n}`);
const side = (promptKey: string, validation: number, seed = 0) => sideOf({ promptKey }, { validation }, seed);

test("adding rows moves no old row, and equal questions stay together", () => {
  fc.assert(fc.property(fc.array(fc.string()), fc.array(fc.string()), fc.double({ min: 0.01, max: 0.99, noNaN: true }), fc.nat(), (old, added, share, seed) => {
    const sides = (questions: readonly string[]) => new Map(questions.map((question) => [question, side(question, share, seed)]));
    const [before, after] = [sides(old), sides([...added, ...old])];
    for (const [question, which] of before) expect(after.get(question)).toBe(which);
  }));
});

test.each([0.001, 0.02, 0.1, 0.5, 0.9])("about %d of the rows are validation, for any seed", (share) => {
  for (const seed of [0, 1, 4_294_967_295]) {
    const found = keys.filter((key) => side(key, share, seed) === "validation").length;
    expect(Math.abs(found - share * keys.length)).toBeLessThan(5 * Math.sqrt(share * (1 - share) * keys.length));
  }
});

test("a larger share keeps the rows of a smaller one; another seed chooses others; the split's own seed wins", () => {
  expect(keys.filter((key) => side(key, 0.1) === "validation").every((key) => side(key, 0.2) === "validation")).toBe(true);
  expect(keys.some((key) => side(key, 0.5, 1) !== side(key, 0.5, 2))).toBe(true);
  expect(keys.every((key) => sideOf({ promptKey: key }, { validation: 0.5, seed: 9 }, 1) === side(key, 0.5, 9))).toBe(true);
});
