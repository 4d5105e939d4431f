import { expect, test } from "vitest";
import { backoffMs, nextTryAt, whyNot } from "../../../src/domain/pipeline/conditions.js";
import { retrySchema } from "../../../src/domain/pipeline/spec.js";
import type { Json } from "../../../src/domain/pipeline/state.js";
import { failure } from "./story.js";

const V = "${stages.a.outputs.v}";
test.each<[Record<string, unknown>, Json[], Json[]]>([
  [{}, [true, 1, -1, "x", "false", [], {}], [false, 0, "", null]],
  [{ equals: 3 }, [3], [4, "3", null, [3]]],
  [{ equals: "x" }, ["x"], ["X", 0]],
  [{ equals: null }, [null], [0, false, ""]],
  [{ equals: false }, [false], [true, 0, null]],
  [{ notEquals: "bad" }, ["good", null, 1], ["bad"]],
  [{ notEquals: null }, [0, false], [null]],
  [{ atLeast: 0.5 }, [0.5, 1], [0.49, "1", null, true]],
  [{ atMost: 0 }, [0, -1], [0.1, "0", null]],
  [{ greaterThan: 1 }, [1.1], [1, "2"]],
  [{ lessThan: 1 }, [0], [1, "0"]],
  [{ in: ["a", 2, null] }, ["a", 2, null], ["b", "2", []]],
  [{ atLeast: 0, lessThan: 1, notEquals: 0.5 }, [0, 0.9], [-1, 1, 0.5]],
])("a condition %j holds for %j and not for %j", (comparison, holds, fails) => {
  for (const value of holds) expect(whyNot({ value: V, ...comparison }, value), JSON.stringify(value)).toBeNull();
  for (const value of fails) expect(whyNot({ value: V, ...comparison }, value), JSON.stringify(value)).toContain(`${V} is ${JSON.stringify(value)}`);
});

test("why a condition does not hold names the comparison", () => {
  const why = (comparison: Record<string, unknown>, value: Json) => whyNot({ value: V, ...comparison }, value);
  expect(why({}, 0)).toBe(`${V} is 0`);
  expect(why({ equals: "x" }, "y")).toBe(`${V} is "y", not "x"`);
  expect(why({ greaterThan: 2 }, 2)).toBe(`${V} is 2, not greater than 2`);
  expect(why({ in: [1, 2] }, 3)).toBe(`${V} is 3, not one of [1,2]`);
});

test("back-off grows by its factor up to its bound", () => {
  const policy = retrySchema.parse({ maxAttempts: 9, backoffSeconds: 1.5, backoffFactor: 3, maxBackoffSeconds: 20 });
  expect([1, 2, 3, 4, 50].map((tries) => backoffMs(policy, tries))).toEqual([1_500, 4_500, 13_500, 20_000, 20_000]);
  expect(backoffMs(retrySchema.parse({ maxAttempts: 100, backoffFactor: 10 }), 99)).toBe(600_000);
  expect(backoffMs(retrySchema.parse({ backoffSeconds: 0 }), 3)).toBe(0);
});

test("the last try has none after it", () => {
  const policy = retrySchema.parse({ maxAttempts: 2, backoffSeconds: 0 });
  expect(nextTryAt(policy, 1, failure(), 100)).toBe(100);
  expect(nextTryAt(policy, 2, failure(), 100)).toBeNull();
});
