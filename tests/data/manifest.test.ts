import { expect, test } from "vitest";
import { preprocessParamsSchema } from "../../src/domain/data/preprocess-params.js";
import { cacheKeyOf, manifestParams } from "../../src/data/manifest.js";

const paramsOf = (params: object) => preprocessParamsSchema.parse({ input: "rows.jsonl", task: "sft", ...params });

test("two stages share a key when their content and params are equal, whatever their cache and name", () => {
  const key = cacheKeyOf(paramsOf({}), ["a"], "1");
  expect(key).toMatch(/^[0-9a-f]{64}$/);
  expect(cacheKeyOf(paramsOf({ cache: false, dataset: "named", seed: 0 }), ["a"], "1")).toBe(key);
  expect(cacheKeyOf(Object.fromEntries(Object.entries(paramsOf({})).reverse()) as ReturnType<typeof paramsOf>, ["a"], "1")).toBe(key);
});

test("another param, content, order of contents or version gives another key", () => {
  const keys = [
    cacheKeyOf(paramsOf({}), ["a", "b"], "1"), cacheKeyOf(paramsOf({}), ["b", "a"], "1"), cacheKeyOf(paramsOf({}), ["ab"], "1"), cacheKeyOf(paramsOf({}), ["a", "b"], "2"),
    cacheKeyOf(paramsOf({ seed: 1 }), ["a", "b"], "1"), cacheKeyOf(paramsOf({ filter: { maxChars: 1 } }), ["a", "b"], "1"),
  ];
  expect(new Set(keys).size).toBe(keys.length);
});

test("the manifest's params name files by what is no absolute path, and leave the cache out", () => {
  expect(manifestParams(paramsOf({ input: ["/data/a.jsonl", { path: "/data/b.jsonl", weight: 1 }, "c/d.jsonl"], tokenizer: "/models/tokenizer.json" }))).toMatchObject({
    input: ["a.jsonl", { path: "b.jsonl", weight: 1 }, "c/d.jsonl"], tokenizer: "tokenizer.json", dedupe: "none",
  });
  expect(manifestParams(paramsOf({ input: "/data/a.jsonl" }))["input"]).toBe("a.jsonl");
  expect(manifestParams(paramsOf({}))).not.toHaveProperty("cache");
});
