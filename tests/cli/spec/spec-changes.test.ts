import { describe, expect, test } from "vitest";
import { applySets, fillDirectory, overridesFrom, simulateTraining } from "../../../src/cli/spec/spec-changes.js";

const SPEC = { name: "p", stages: [{ name: "train", params: { steps: 10, list: [1, 2] } }, { name: "train.big", params: {} }] };

describe("--set", () => {
  test("changes the params of a named stage, and leaves the given value alone", () => {
    const { spec, changes } = applySets(SPEC, ["stages.train.params.steps=20"]);
    expect(spec).toMatchObject({ stages: [{ params: { steps: 20 } }, {}] });
    expect(SPEC.stages[0]!.params.steps).toBe(10);
    expect(changes).toEqual([{ path: "stages[0].params.steps", typed: "--set stages.train.params.steps=20" }]);
  });
  test("finds the stage with the longest fitting name", () => expect(applySets(SPEC, ["stages.train.big.params.x=1"]).spec).toMatchObject({ stages: [{}, { params: { x: 1 } }] }));
  test("reads values as YAML", () => {
    const { spec } = applySets(SPEC, ["labels.a=true", "labels.b=1e-5", "labels.c=[x, 2]", "labels.d=text with = in it", "labels.e="]);
    expect(spec).toMatchObject({ labels: { a: true, b: 1e-5, c: ["x", 2], d: "text with = in it", e: null } });
  });
  test("takes indices and quoted keys", () => expect(applySets(SPEC, ["stages[0].params.list[1]=7", 'stages.train.params["a.b"]=1']).spec).toMatchObject({ stages: [{ params: { list: [1, 7], "a.b": 1 } }, {}] }));
  test("makes the way to what it sets", () => expect(applySets(SPEC, ["stages.train.retry.maxAttempts=3"]).spec).toMatchObject({ stages: [{ retry: { maxAttempts: 3 } }, {}] }));
  test.each(["novalue", "=1", "stages.unknown.x=1", "name.deeper=1", "labels.x=[1", "stages.train.__proto__.x=1"])("refuses %s as wrong usage", (typed) => {
    expect(() => applySets(SPEC, [typed])).toThrow(expect.objectContaining({ exitCode: 2 }) as Error);
  });
});

describe("--simulate", () => {
  const TRAINING = { stages: [{ name: "prepare", kind: "preprocess", params: {} }, { name: "a", kind: "train", resources: { gpus: 8, gpuModel: "H100", labels: { site: "b" } }, params: { algorithm: "grpo" } }] };
  test("simulates every train stage, takes its GPUs away, and touches nothing else", () => {
    const { spec, changes, names } = simulateTraining(TRAINING);
    expect(spec).toEqual({ stages: [TRAINING.stages[0], { name: "a", kind: "train", resources: { labels: { site: "b" } }, params: { algorithm: "grpo", simulate: true } }] });
    expect([changes, names]).toEqual([[{ path: "stages[1].params.simulate", typed: "--simulate" }], ["a"]]);
    expect(TRAINING.stages[1]!.params).not.toHaveProperty("simulate");
  });
  test("takes along the merge and evaluate stages of what is trained, and no others", () => {
    const { spec, names } = simulateTraining({ stages: [
      { name: "a", kind: "train", params: {} },
      { name: "m", kind: "merge", params: { checkpoint: "${stages.a.outputs.checkpoint}" } },
      { name: "e", kind: "evaluate", resources: { gpus: 2 }, params: { model: "${stages.m.outputs.model}" } },
      { name: "base", kind: "evaluate", resources: { gpus: 2 }, params: { model: "Qwen/Qwen3-8B" } },
      { name: "own", kind: "evaluate", params: { run: ["score", "${stages.m.outputs.model}"] } },
    ] });
    expect(names).toEqual(["a", "m", "e"]);
    expect(spec).toMatchObject({ stages: [{}, {}, { resources: {}, params: { simulate: true } }, { resources: { gpus: 2 } }, {}] });
  });
  test("is wrong usage where nothing is trained", () => expect(() => simulateTraining({ stages: [TRAINING.stages[0]] })).toThrow("has no train stage"));
});

test("overrides of a fork are the params themselves", () => expect(overridesFrom(["learningRate=1e-5", "params.env.A=b"])).toEqual({ learningRate: 1e-5, env: { A: "b" } }));

test("${pipeline.directory} is filled in everywhere in params, and nowhere else", () => {
  const spec = { name: "${pipeline.directory}", stages: [{ name: "a", params: { run: ["node", "${pipeline.directory}/a.mjs"], env: { D: "${pipeline.directory}" } } }] };
  expect(fillDirectory(spec, "/home/me")).toEqual({ name: "${pipeline.directory}", stages: [{ name: "a", params: { run: ["node", "/home/me/a.mjs"], env: { D: "/home/me" } } }] });
});
