import fc from "fast-check";
import { expect, test } from "vitest";
import { createDistribution } from "../../../src/data/rows/distribution.js";
import { createStatistics } from "../../../src/data/rows/statistics.js";
import { RL, rowWith, sftRow } from "./recipes.js";

const value = fc.oneof(fc.nat(50), fc.nat(20_000), fc.nat(), fc.maxSafeNat());

test("percentiles are those of the sorted values: exactly below 16,384, and at most 0.4 % low above", () => {
  fc.assert(fc.property(fc.array(value, { minLength: 1, maxLength: 200 }), (values) => {
    const distribution = createDistribution();
    for (const one of values) distribution.add(one);
    const sorted = values.toSorted((left, right) => left - right);
    const result = distribution.result()!;
    expect(result).toMatchObject({ count: values.length, min: sorted[0], max: sorted.at(-1) });
    expect(Math.abs(result.mean - values.reduce((sum, one) => sum + one, 0) / values.length)).toBeLessThanOrEqual(0.001 + result.mean * 1e-9);
    for (const [name, share] of [["p5", 5], ["p25", 25], ["p50", 50], ["p75", 75], ["p95", 95], ["p99", 99]] as const) {
      const right = sorted[Math.max(1, Math.ceil(share * values.length / 100)) - 1]!;
      if (right < 16_384) expect(result[name]).toBe(right);
      else expect(right - result[name], `${name} of ${right}`).toSatisfy((low: number) => low >= -1 && low <= right / 250 + 1);
    }
  }), { numRuns: 500 });
  expect(createDistribution().result()).toBeNull();
});

test("sft rows are counted by role, code point by code point", () => {
  const statistics = createStatistics({ countBy: [], tokens: null });
  statistics.add(sftRow("s: Be.", "u: 😀😀", "a: ab", "u: c", "a: d"));
  statistics.add(sftRow("u: abcd", "a: efgh"));
  const result = statistics.result();
  expect(result.rows).toBe(2);
  expect(Object.keys(result.characters)).toEqual(["assistant", "system", "user"]);
  expect(result.characters.user).toMatchObject({ count: 2, min: 3, max: 4, mean: 3.5 });
  expect(result.characters.system).toMatchObject({ count: 1, max: 3 });
  expect(result.turns).toMatchObject({ min: 2, max: 4 });
  expect(result.tokens).toMatchObject({ by: "estimate", total: 8 });
});

test("rl rows count the ground truth, preference rows their columns, and a tokenizer counts exactly", () => {
  const tokens = { count: (text: string) => text.length * 10 };
  const rl = createStatistics({ countBy: [], tokens });
  rl.add(rowWith(RL, { question: "abc", answer: "1,000" }));
  expect(rl.result()).toMatchObject({ characters: { user: { max: 3 }, ground_truth: { max: 4 } }, tokens: { by: "tokenizer", total: 30 }, turns: { max: 1 } });
  const preference = createStatistics({ countBy: [], tokens });
  preference.add(rowWith({ task: "preference" }, { prompt: "abc", chosen: "a", rejected: "ab" }));
  expect(preference.result()).toMatchObject({ characters: { prompt: { max: 3 }, chosen: { max: 1 }, rejected: { max: 2 } }, tokens: { total: 60 }, turns: { max: 2 } });
});

test("values are counted, most frequent first, the hundredth and later together, whatever they are called", () => {
  const statistics = createStatistics({ countBy: ["topic", "none"], tokens: null });
  const add = (topic: unknown) => statistics.add(rowWith({ task: "sft", countBy: ["topic", "none"] }, { question: "q", answer: "a", topic }));
  for (let n = 0; n < 150; n++) add(n === 3 ? "__proto__" : `t${n}`);
  add("t7");
  add("t120");
  add(null);
  const { topic, none } = statistics.result().categories;
  expect(none).toEqual({ null: 153 });
  expect(Object.keys(topic!)).toHaveLength(101);
  expect(Object.entries(topic!).slice(0, 3)).toEqual([["…", 52], ["t7", 2], ["__proto__", 1]]);
});

test("no rows, no figures", () => {
  expect(createStatistics({ countBy: ["a"], tokens: null }).result()).toEqual({ rows: 0, characters: {}, turns: null, tokens: null, categories: { a: {} } });
});

test("rows for reinforcement learning are counted by data_source without being asked for", () => {
  const statistics = createStatistics({ countBy: [], tokens: null });
  const row = (dataSource: string) => ({ task: "rl" as const, prompt: [{ role: "user" as const, content: "q" }], dataSource, ability: "math", style: "rule" as const, groundTruth: "1", question: null, answer: null, extra: null, promptKey: "q", categories: [] });
  for (const source of ["openai/gsm8k", "math", "openai/gsm8k"]) statistics.add(row(source));
  expect(statistics.result().categories).toEqual({ data_source: { "openai/gsm8k": 2, math: 1 } });
});
