import { expect, test } from "vitest";
import { parseLabels, parsePools } from "../../src/protocol/declaration.js";
import { agentConfigSchema, readConfig } from "../../src/config.js";

test("the default pools are what the design says", () => {
  expect(parsePools(readConfig(agentConfigSchema, {}).TRAINYARD_AGENT_POOLS)).toEqual([
    { queues: ["training"], concurrency: 1 }, { queues: ["default", "evaluation", "preprocessing", "maintenance"], concurrency: 4 },
  ]);
});

test.each([["training"], ["training=0"], ["a=1;a=2"], ["A=1"], [""], ["a,=1"], ["a=1000000"]])("%j is refused and the form named", (text) => {
  expect(() => parsePools(text)).toThrow(/TRAINYARD_AGENT_POOLS/);
});

test("labels are words, numbers and booleans", () => {
  expect(parseLabels("gpu=h100, spot=true,zone=3,version=1.2.3")).toEqual({ gpu: "h100", spot: true, zone: 3, version: "1.2.3" });
  expect(parseLabels("")).toEqual({});
  expect(() => parseLabels("gpu")).toThrow(/TRAINYARD_AGENT_LABELS/);
});
