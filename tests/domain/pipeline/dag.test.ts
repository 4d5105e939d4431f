import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ancestorsOf, buildDag, dagProblems, descendantsOf, layersOf, nearestName, upstreamTest } from "../../../src/domain/pipeline/dag.js";
import { dagOf } from "./random-pipelines.js";

const nodes = (graph: Record<string, string[]>) => Object.entries(graph).map(([name, dependsOn]) => ({ name, dependsOn }));
const judged = (graph: Record<string, string[]>) => dagProblems(nodes(graph)).map(({ path, code, message, hint }) => ({ path, code, message, hint }));

describe("what is wrong with a graph", () => {
  test("nothing", () => expect(judged({ a: [], b: ["a"], c: ["a", "b"], d: ["a", "a"] })).toEqual([]));

  test("a duplicate name, beside the place that has it already", () => {
    expect(dagProblems([{ name: "a", dependsOn: [] }, { name: "a", dependsOn: [] }])).toMatchObject([{ path: "stages[1].name", code: "DUPLICATE_STAGE", message: 'Stage name "a" is already used by stages[0].' }]);
  });

  test("an unknown dependency, with the name that was meant", () => {
    expect(judged({ train: [], score: ["trian"], other: ["nothing-like-it"] })).toEqual([
      { path: "stages[1].dependsOn[0]", code: "UNKNOWN_DEPENDENCY", message: 'Stage "score" depends on "trian", which is no stage of this pipeline.', hint: 'Did you mean "train"?' },
      { path: "stages[2].dependsOn[0]", code: "UNKNOWN_DEPENDENCY", message: expect.any(String), hint: "Name an existing stage." },
    ]);
  });

  test("a stage that depends on itself", () => {
    expect(judged({ a: [], b: ["a", "b"] })).toEqual([{ path: "stages[1].dependsOn[1]", code: "SELF_DEPENDENCY", message: 'Stage "b" depends on itself.', hint: "Remove the dependency." }]);
  });

  test("a cycle, named in full, without the stages that only hang on it", () => {
    const [problem] = judged({ before: [], x: ["before", "z"], y: ["x"], z: ["y"], after: ["z"] });
    expect(problem).toMatchObject({ code: "CYCLE", hint: "Remove one of these dependencies." });
    const names = /circle: (.*) \(each/.exec(problem!.message)![1]!.split(" → ");
    expect(names).toHaveLength(4);
    expect(names[0]).toBe(names[3]);
    expect(new Set(names)).toEqual(new Set(["x", "y", "z"]));
  });

  test("several at once", () => {
    expect(dagProblems([{ name: "a", dependsOn: ["a", "q"] }, { name: "a", dependsOn: [] }]).map((problem) => problem.code)).toEqual(["DUPLICATE_STAGE", "SELF_DEPENDENCY", "UNKNOWN_DEPENDENCY"]);
  });

  test("a cycle of two points at the dependency that closes it", () => {
    const graph = nodes({ a: ["b"], b: ["a"] });
    const { path, message } = dagProblems(graph)[0]!;
    expect(path).toMatch(/^stages\[[01]\]\.dependsOn\[0\]$/);
    expect(message).toMatch(/a → b → a|b → a → b/);
  });
});

test("layers hold each stage below all of its needs", () => {
  expect(layersOf(buildDag(nodes({ d: ["b", "c"], b: ["a"], c: ["a"], a: [], e: [] })))).toEqual([["a", "e"], ["b", "c"], ["d"]]);
});

test("ancestors and descendants leave out the stage itself", () => {
  const dag = buildDag(nodes({ a: [], b: ["a"], c: ["b"], d: ["a"] }));
  expect([...ancestorsOf(dag, 2)].sort()).toEqual([0, 1]);
  expect([...descendantsOf(dag, 0)].sort()).toEqual([1, 2, 3]);
});

test("a random graph is sound, its layers respect every need, and the upstream test agrees with a walk", () => {
  fc.assert(fc.property(dagOf({ maxStages: 40 }), (graph) => {
    expect(dagProblems(graph)).toEqual([]);
    const dag = buildDag(graph);
    const layers = layersOf(dag);
    const depth = new Map(layers.flatMap((layer, index) => layer.map((name) => [name, index] as const)));
    expect(depth.size).toBe(graph.length);
    for (const node of graph) for (const need of node.dependsOn) expect(depth.get(need)!).toBeLessThan(depth.get(node.name)!);
    const isUpstream = upstreamTest(dag, graph.keys());
    for (const index of graph.keys()) {
      const upstream = ancestorsOf(dag, index);
      for (const target of graph.keys()) expect(isUpstream(index, target)).toBe(upstream.has(target));
      for (const other of upstream) expect(descendantsOf(dag, other).has(index)).toBe(true);
    }
  }), { numRuns: 200 });
});

test("a random graph with one edge turned back has a cycle, and what is named is one", () => {
  fc.assert(fc.property(dagOf({ minStages: 2, maxStages: 30, minNeeds: 1 }), fc.nat(), (graph, pick) => {
    const edges = graph.flatMap((node) => node.dependsOn.map((need) => [need, node.name] as const));
    const [from, to] = edges[pick % edges.length]!;
    const broken = graph.map((node) => (node.name === from ? { ...node, dependsOn: [...node.dependsOn, to] } : node));
    const [problem] = dagProblems(broken);
    const names = /circle: (.*) \(each/.exec(problem!.message)![1]!.split(" → ");
    expect(names[0]).toBe(names.at(-1));
    const needs = new Map(broken.map((node) => [node.name, node.dependsOn]));
    for (let index = 1; index < names.length; index++) expect(needs.get(names[index - 1]!)).toContain(names[index]);
  }), { numRuns: 200 });
});

test.each<[string, string[], string | null]>([
  ["splt", ["split", "train"], "split"],
  ["trian", ["train", "score"], "train"],
  ["evalute-small", ["evaluate-wide", "evaluate-small"], "evaluate-small"],
  ["dependson", ["dependsOn"], "dependsOn"],
  ["x", ["a", "b"], null],
  ["abc", ["xyz"], null],
  ["", ["a"], null],
  ["train", [], null],
])("nearest to %j among %j is %j", (wanted, candidates, expected) => expect(nearestName(wanted, candidates)).toBe(expected));

test("the nearest name is never farther than what a plain comparison finds", () => {
  const distance = (a: string, b: string): number => {
    const table = Array.from({ length: a.length + 1 }, (_, i) => Array.from({ length: b.length + 1 }, (_, j) => (i === 0 ? j : i)));
    for (let i = 1; i <= a.length; i++) for (let j = 1; j <= b.length; j++) table[i]![j] = Math.min(table[i - 1]![j]! + 1, table[i]![j - 1]! + 1, table[i - 1]![j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1));
    return table[a.length]![b.length]!;
  };
  const word = fc.string({ unit: fc.constantFrom("a", "b", "c"), minLength: 1, maxLength: 12 });
  fc.assert(fc.property(word, fc.array(word, { minLength: 1, maxLength: 8 }), (wanted, candidates) => {
    const found = nearestName(wanted, candidates);
    const least = Math.min(...candidates.map((candidate) => distance(wanted, candidate)));
    const allowed = Math.min(4, Math.max(2, Math.floor(wanted.length / 3)), Math.floor(wanted.length / 2));
    if (least <= allowed) expect(distance(wanted, found!)).toBe(least);
    else expect(found).toBeNull();
  }), { numRuns: 1000 });
});
