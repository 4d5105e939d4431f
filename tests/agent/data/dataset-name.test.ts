// Names of data sets that a stage did not name: always ones that a reference and the protocol can carry.
import fc from "fast-check";
import { expect, test } from "vitest";
import { datasetNameOf } from "../../../src/agent/data/dataset-name.js";
import { parseDatasetRef } from "../../../src/domain/data/dataset.js";

test.each([["gsm8k-qwen-0.5b", "gsm8k-qwen-0.5b/prep"], ["Größe: ein / zwei!", "Größe-ein-zwei/prep"], ["数据 v2", "数据-v2/prep"], ["@@@", "pipeline/prep"], ["../../etc", "etc/prep"]])("%s gives %s", (pipeline, name) => {
  expect(datasetNameOf(pipeline, "prep")).toBe(name);
});

test("any pipeline name gives a name of at most 300 characters that a reference finds again", () => {
  fc.assert(fc.property(fc.string({ unit: "binary", minLength: 1, maxLength: 200 }), (pipeline) => {
    const name = `${datasetNameOf(pipeline, "s".repeat(100))}-validation`;
    expect(name.length).toBeLessThanOrEqual(300);
    expect(/\p{Surrogate}/u.test(name)).toBe(false);
    expect(parseDatasetRef(`dataset:${name}`)).toEqual({ name, version: null });
    expect(parseDatasetRef(`dataset:${name}@7`)).toEqual({ name, version: 7 });
  }));
});

test("a long name of letters beyond the basic plane is cut between two of them", () => {
  const name = `${datasetNameOf("𐐀".repeat(200), "s".repeat(100))}-validation`;
  expect(name.length).toBeLessThanOrEqual(300);
  expect(/\p{Surrogate}/u.test(name)).toBe(false);
});
