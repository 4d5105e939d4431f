// The answers that verl dumps: read, and chosen so that rows can be compared from step to step.
import { expect, test } from "vitest";
import { createAnswerPicker, keepsStep, readDumpLine } from "../../src/verl/output/sample-lines.js";

const dump = (step: number, prompts: number, answers: number): string[] =>
  Array.from({ length: prompts * answers }, (_, index) => JSON.stringify({ input: `question ${Math.floor(index / answers)}`, output: `answer ${index} at ${step}`, gts: "7", score: index % 2, step }));
const keysOf = (lines: readonly string[], rows: number): string[] => {
  const picker = createAnswerPicker(rows);
  for (const line of lines) picker.take(line);
  return picker.chosen().map(({ key }) => key);
};

test("the same validation rows are chosen at every step, in whatever order they come", () => {
  const first = keysOf(dump(0, 1_000, 1), 64);
  expect(first).toHaveLength(64);
  expect(keysOf(dump(10, 1_000, 1).reverse(), 64)).toEqual(first);
});

test("several answers to one prompt are chosen together, and no prompt takes more than four rows", () => {
  const prompts = keysOf(dump(3, 100, 8), 32).map((key) => key.split("-")[0]);
  expect(prompts).toHaveLength(32);
  expect(new Set(prompts).size).toBe(8);
});

test("bare NaN is a score, truths that are no text are written as JSON, and other lines are left out", () => {
  expect(readDumpLine('{"input": "NaN?", "output": "NaN", "gts": [1, 2], "score": NaN, "step": 1}')).toEqual({ prompt: "NaN?", output: "NaN", truth: "[1,2]", score: NaN });
  expect(readDumpLine('{"input": "q", "output": "a", "score": -Infinity}')).toEqual({ prompt: "q", output: "a", truth: null, score: -Infinity });
  for (const line of ["", "null", "[]", '{"input": 1, "output": "a"}', '{"input": "q"']) expect(readDumpLine(line)).toBeNull();
});

test("a run of 100,000 steps keeps the answers of some hundred of them, and of every validation", () => {
  const kept = Array.from({ length: 100_000 }, (_, index) => index + 1).filter((step) => keepsStep("train", step));
  expect(kept.length).toBeGreaterThan(300);
  expect(kept.length).toBeLessThan(500);
  expect(keepsStep("validation", 12_345)).toBe(true);
});
