import { describe, expect, test } from "vitest";
import { packPoints, parseMetricsLine, type MetricsLine } from "../../../src/agent/telemetry/metrics-lines.js";
import { reportSchema } from "../../../src/protocol/messages.js";

test.each([
  ['{"step":1,"data":{"a":1.5}}', [["a", 1.5]]],
  ['{"step":1,"data":{"a":NaN,"b":Infinity,"c":-Infinity}}', [["a", "NaN"], ["b", "Infinity"], ["c", "-Infinity"]]],
  ['{"step":1,"data":{"a":"nan","b":"inf","c":"-Infinity"}}', [["a", "NaN"], ["b", "Infinity"], ["c", "-Infinity"]]],
  ['{"step":1,"data":{"a":null,"b":1e999,"c":-1e999}}', [["a", "NaN"], ["b", "Infinity"], ["c", "-Infinity"]]],
  ['{"step":1,"data":{"NaN says \\"NaN\\"":NaN}}', [['NaN says "NaN"', "NaN"]]],
  ['{"step":5.0,"data":{"val-core/openai/gsm8k/acc/mean@1":0.25}}', [["val-core/openai/gsm8k/acc/mean@1", 0.25]]],
])("%s", (text, values) => {
  expect(parseMetricsLine(text)).toMatchObject({ values, leftOut: null });
});

test.each([
  ["not json", "{", /not JSON/], ["an array", "[]", /not a JSON object/], ["no step", '{"data":{}}', /"step"/], ["half a step", '{"step":1.5}', /"step"/],
  ["data that is a list", '{"step":1,"data":[1]}', /"data"/], ["an empty checkpoint", '{"step":1,"checkpoint":""}', /"checkpoint"/], ["no total", '{"step":1,"totalSteps":0}', /"totalSteps"/],
])("%s is no metrics line", (_, text, problem) => {
  expect(parseMetricsLine(text)).toEqual({ problem: expect.stringMatching(problem) });
});

test("values that are no numbers are left out, the others stay", () => {
  expect(parseMetricsLine('{"step":1,"data":{"a":"x","b":2,"c":true,"d\\u0000":1}}')).toMatchObject({ values: [["b", 2]], leftOut: expect.stringContaining('"a"') });
});

describe("packing", () => {
  const line = (step: number, count: number): MetricsLine => ({ step, values: Array.from({ length: count }, (_, i) => [`m${i}`, step]), totalSteps: null, checkpoint: null, leftOut: null });
  test("no report exceeds the protocol's limits, and no point is lost", () => {
    const packs = packPoints(Array.from({ length: 7 }, (_, i) => line(i, 3_000)), 0);
    expect(packs.reduce((sum, { points }) => sum + points.length, 0)).toBe(21_000);
    for (const pack of packs) expect(() => reportSchema.parse({ n: 1, attemptId: "att_x", fence: 1, at: 0, type: "metrics", ...pack })).not.toThrow();
  });
  test("a name stands in a report once", () => {
    expect(packPoints([line(1, 2), line(2, 2)], 9)).toEqual([{ names: ["m0", "m1"], points: [[0, 1, 9, 1], [1, 1, 9, 1], [0, 2, 9, 2], [1, 2, 9, 2]] }]);
  });
});
