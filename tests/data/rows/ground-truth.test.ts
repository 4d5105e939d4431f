import fc from "fast-check";
import { expect, test } from "vitest";
import { asGroundTruth, createTruthFinder } from "../../../src/data/rows/ground-truth.js";

test.each([
  ["1,234", "1234"], [" 1,234,567.50 ", "1234567.50"], ["+5", "5"], ["-1,000.", "-1000"], ["12.", "12"], ["1,00,000", "100000"], [".5", ".5"], ["0", "0"],
  ["1,2", "1,2"], ["1234,5", "1234,5"], ["12,345,6", "12,345,6"], ["$1,234", "$1,234"], ["1,234 apples", "1,234 apples"], ["+", "+"], [".", "."], ["", ""], [" (1, 2) ", "(1, 2)"], ["1,234,", "1,234,"],
])("%j is compared as %j", (text, truth) => {
  expect(asGroundTruth(text)).toBe(truth);
});

test("whatever a number is written like, its digits stay", () => {
  fc.assert(fc.property(fc.integer({ min: -1_000_000_000, max: 1_000_000_000 }), (number) => {
    expect(asGroundTruth(` ${number.toLocaleString("en-US")}. `)).toBe(String(number));
  }));
});

test("the last match counts, its first group that took part, or the whole", () => {
  expect(createTruthFinder("#### (\\S+)")("#### 1 then #### 2,000")).toBe("2000");
  expect(createTruthFinder("(?:A: (\\d)|B: (\\d))")("A: 1, B: 2")).toBe("2");
  expect(createTruthFinder("\\d+")("1 or 22")).toBe("22");
  expect(createTruthFinder("#### (.*)")("#### ")).toBeNull();
  expect(createTruthFinder("#### (.*)")("none")).toBeNull();
  expect(createTruthFinder("")("any")).toBeNull();
});
