import { existsSync, readFileSync, readdirSync } from "node:fs";
import { basename } from "node:path";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { MAX_PROBLEMS } from "../../../src/domain/errors.js";
import { validateSpec } from "../../../src/domain/pipeline/validate.js";
import { stage } from "./story.js";

const here = (path: string) => new URL(path, import.meta.url);
const pipeline = (...stages: unknown[]) => ({ name: "p", stages });
const judged = (input: unknown) => validateSpec(input).problems.map(({ path, code, hint }) => [path, code, hint]);
const messages = (input: unknown) => validateSpec(input).problems.map((problem) => problem.message);

describe("a sound document", () => {
  test("is answered with defaults filled in, and with its layers", () => {
    const { spec, problems, layers } = validateSpec(pipeline({ name: "b", kind: "command", dependsOn: ["a"], params: { run: ["x", 1, true] } }, { name: "a", kind: "approval" }));
    expect(problems).toEqual([]);
    expect(layers).toEqual([["a"], ["b"]]);
    expect(spec).toMatchObject({ labels: {}, stages: [{ name: "b", priority: 0, resources: { gpus: 0, nodes: 1 }, retry: { maxAttempts: 1, backoffSeconds: 10, backoffFactor: 2, maxBackoffSeconds: 600 }, startTimeoutSeconds: 86_400 }, { dependsOn: [], params: {} }] });
  });

  test("judged again as stored is the same document", () => {
    const { spec } = validateSpec(pipeline(stage("a"), stage("b", ["a"], { when: { value: "${stages.a.outputs.x}", atLeast: 1 }, retry: { maxAttempts: 2, on: ["NETWORK"] } })));
    expect(validateSpec(JSON.parse(JSON.stringify(spec))).spec).toEqual(spec);
  });
});

const file = (name: string, read: (text: string) => string = (text) => text) => parse(read(readFileSync(here(name), "utf8"))) as unknown;
const GOOD = here("../../fixtures/pipelines/good/"), BAD = here("../../fixtures/pipelines/bad/"), CONTRACT = here("../../../../shared/contract/pipelines/");

test.each(readdirSync(GOOD))("the good file %s is sound", (name) => expect(validateSpec(file(new URL(name, GOOD).href)).problems).toEqual([]));

test.each(readdirSync(BAD))("the bad file %s is refused for what its first line says", (name) => {
  const url = new URL(name, BAD).href;
  const expected = /^# (.*)\n/.exec(readFileSync(here(url), "utf8"))![1]!;
  expect(validateSpec(file(url))).toMatchObject({ spec: null });
  expect(validateSpec(file(url)).problems.map(({ path, code }) => `${code} at ${path}`).join("; ")).toBe(expected);
});

test("the example of a tiny language model is sound once its directory is filled in", () => {
  const read = (text: string) => text.replaceAll("${pipeline.directory}", "/somewhere");
  const { problems, layers } = validateSpec(file("../../../examples/tiny-lm/pipeline.yaml", read));
  expect(problems).toEqual([]);
  expect(layers.map((layer) => layer.length)).toEqual([1, 2, 2, 1, 1]);
  expect(judged(file("../../../examples/tiny-lm/pipeline.yaml"))).toContainEqual([expect.any(String), "INVALID_REFERENCE", null]);
});

const contract = existsSync(CONTRACT) ? readdirSync(CONTRACT) : [];
if (contract.length === 0) console.warn(`\nNOT RUN: validation of the contract's pipelines: no folder shared/contract/pipelines beside the repository\n`);
test.skipIf(contract.length === 0)("every pipeline of the contract is sound", () => {
  for (const name of contract) expect({ [basename(name)]: validateSpec(file(new URL(name, CONTRACT).href)).problems }).toEqual({ [basename(name)]: [] });
});

describe("each problem is told with its path", () => {
  test.each<[string, unknown, (string | null)[][]]>([
    ["no document", null, [["", "INVALID_FIELD", null]]],
    ["a list", [], [["", "INVALID_FIELD", null]]],
    ["nothing in it", {}, [["name", "MISSING_FIELD", null], ["stages", "MISSING_FIELD", null]]],
    ["no stages", { name: "p", stages: [] }, [["stages", "INVALID_FIELD", null]]],
    ["a stage that is none", pipeline("train"), [["stages[0]", "INVALID_FIELD", null]]],
    ["a stage without a name", pipeline({ kind: "command", params: { run: ["x"] } }), [["stages[0].name", "MISSING_FIELD", null]]],
    ["an unknown kind", pipeline({ name: "a", kind: "comand", params: { run: ["x"] } }), [["stages[0].kind", "INVALID_FIELD", 'Did you mean "command"?']]],
    ["a misspelt field", pipeline(stage("a", [], { dependson: [] })), [["stages[0].dependson", "UNKNOWN_FIELD", 'Did you mean "dependsOn"?']]],
    ["a misspelt field of the whole", { ...pipeline(stage("a")), label: {} }, [["label", "UNKNOWN_FIELD", 'Did you mean "labels"?']]],
    ["a misspelt field of retry", pipeline(stage("a", [], { retry: { maxAttempt: 2 } })), [["stages[0].retry.maxAttempt", "UNKNOWN_FIELD", 'Did you mean "maxAttempts"?']]],
    ["a misspelt field of resources", pipeline(stage("a", [], { resources: { gpu: 1 } })), [["stages[0].resources.gpu", "UNKNOWN_FIELD", 'Did you mean "gpus"?']]],
    ["a misspelt field of when", pipeline(stage("b"), stage("a", ["b"], { when: { value: "${stages.b.outputs.x}", atleast: 1 } })), [["stages[1].when.atleast", "UNKNOWN_FIELD", 'Did you mean "atLeast"?']]],
    ["a misspelt field of params", pipeline({ name: "a", kind: "command", params: { run: ["x"], workingDir: "/" } }), [["stages[0].params.workingDir", "UNKNOWN_FIELD", expect.stringContaining("Known fields: run, env, workingDirectory") as unknown as string]]],
    ["an upper-case name", pipeline(stage("A")), [["stages[0].name", "INVALID_FIELD", null]]],
    ["a name that climbs directories", pipeline(stage("../../etc")), [["stages[0].name", "INVALID_FIELD", null]]],
    ["a cause that is none", pipeline(stage("a", [], { retry: { maxAttempts: 2, on: ["OUT_OF_MEMROY"] } })), [["stages[0].retry.on[0]", "INVALID_FIELD", 'Did you mean "OUT_OF_MEMORY"?']]],
    ["no run", pipeline({ name: "a", kind: "command" }), [["stages[0].params.run", "MISSING_FIELD", null]]],
    ["a shell line for an argv", pipeline({ name: "a", kind: "command", params: { run: "rm -rf /" } }), [["stages[0].params.run", "INVALID_FIELD", null]]],
    ["an environment name no program could read", pipeline(stage("a", [], { params: { run: ["x"], env: { "A-B": "x" } } })), [["stages[0].params.env.A-B", "INVALID_FIELD", null]]],
    ["a program to evaluate with an unknown field", pipeline({ name: "a", kind: "evaluate", params: { run: ["x"], datasets: "d" } }), [["stages[0].params.datasets", "UNKNOWN_FIELD", 'Did you mean "dataset"?']]],
    ["an approval on a GPU", pipeline({ name: "a", kind: "approval", resources: { gpus: 1 } }), [["stages[0].resources", "INVALID_FIELD", "Remove resources."]]],
    ["cleanup of an unknown stage", pipeline(stage("train"), { name: "tidy", kind: "cleanup", params: { stages: ["train", "trian"] } }), [["stages[1].params.stages[1]", "UNKNOWN_STAGE", 'Did you mean "train"?']]],
    ["keepBest without a metric", pipeline(stage("train"), { name: "tidy", kind: "cleanup", params: { stages: ["train"], keepBest: 2 } }), [["stages[1].params.metric", "MISSING_FIELD", "Add metric (and mode: min or max)."]]],
    ["cleanup of nothing", pipeline({ name: "tidy", kind: "cleanup" }), [["stages[0].params.stages", "MISSING_FIELD", null]]],
    ["a reference to an unknown stage", pipeline(stage("train"), stage("b", ["train"], { params: { run: ["${stages.trian.outputs.x}"] } })), [["stages[1].params.run[0]", "UNKNOWN_REFERENCE", 'Did you mean "train"?']]],
    ["a reference to a stage that is not upstream", pipeline(stage("a"), stage("b", [], { params: { run: ["x"], env: { A: "${stages.a.outputs.x}" } } })), [["stages[1].params.env.A", "REFERENCE_NOT_UPSTREAM", 'Add "a" to dependsOn of "b".']]],
    ["a reference to a stage downstream", pipeline(stage("a", [], { params: { run: ["${stages.b.outputs.x}"] } }), stage("b", ["a"])), [["stages[0].params.run[0]", "REFERENCE_NOT_UPSTREAM", expect.any(String) as unknown as string]]],
    ["a reference to its own outputs", pipeline(stage("a", [], { params: { run: ["${stages.a.outputs.x}"] } })), [["stages[0].params.run[0]", "REFERENCE_NOT_UPSTREAM", expect.stringContaining("later stage") as unknown as string]]],
    ["a reference that does not read as one", pipeline(stage("a"), stage("b", ["a"], { params: { run: ["${stages.a.output.x}"] } })), [["stages[1].params.run[0]", "INVALID_REFERENCE", null]]],
    ["a condition on an unknown stage", pipeline(stage("a", [], { when: { value: "${stages.z.outputs.x}" } })), [["stages[0].when.value", "UNKNOWN_REFERENCE", null]]],
    ["a condition on a fixed text", pipeline(stage("a", [], { when: { value: "true" } })), [["stages[0].when.value", "INVALID_CONDITION", expect.any(String) as unknown as string]]],
  ])("%s", (_, input, expected) => {
    expect(validateSpec(input).spec).toBeNull();
    expect(judged(input)).toEqual(expected);
  });

  test("a reference through a stage in between is upstream", () => {
    expect(judged(pipeline(stage("a"), stage("b", ["a"]), stage("c", ["b"], { params: { run: ["${stages.a.outputs.x}"] } })))).toEqual([]);
  });

  test("a number may be a reference, which is judged when it is filled in; a text that holds one may not", () => {
    const given = (totalSteps: string) => judged(pipeline(stage("a"), stage("b", ["a"], { params: { run: ["x"], totalSteps } })));
    expect(given("${stages.a.outputs.n}")).toEqual([]);
    expect(given("1${stages.a.outputs.n}")).toEqual([["stages[1].params.totalSteps", "INVALID_FIELD", null]]);
  });

  test("a message says what was expected", () => {
    expect(messages({ name: "p" })).toEqual(['"stages" is missing. A list is needed.']);
    expect(messages(pipeline(stage("A")))).toEqual(["stages[0].name: must be lower-case letters, digits, '.', '_' or '-', beginning with a letter or digit"]);
  });

  test.each<[more: Record<string, unknown>, words: string]>([
    [{ params: { run: [] } }, "stages[0].params.run: At least 1 entry is needed, and there is none."],
    [{ params: { run: "node x" } }, 'stages[0].params.run: A list is needed, not the text "node x".'],
    [{ dependsOn: { a: 1 } }, "stages[0].dependsOn: A list is needed, not an object."],
    [{ retry: { maxAttempts: 0 } }, "stages[0].retry.maxAttempts: At least 1 is needed, not 0."],
    [{ retry: { maxAttempts: 1.5 } }, "stages[0].retry.maxAttempts: A whole number is needed, not 1.5."],
    [{ resources: { gpus: null } }, "stages[0].resources.gpus: A number is needed, not null."],
  ])("%j is refused in plain words", (more, words) => {
    expect(messages(pipeline(stage("a", [], more)))).toEqual([words]);
  });
  test("a kind that does not exist is answered with those that do", () => {
    const [words] = messages(pipeline(stage("a", [], { kind: "comand" })));
    expect(words).toMatch(/^stages\[0\]\.kind: One of preprocess, .*command.* is needed, not the text "comand"\.$/);
  });
});

test("several problems are told together, whatever their kind", () => {
  const input = pipeline(
    stage("a", ["a"]), stage("a"), stage("B", [], { retrys: {} }), stage("c", ["x"]), { name: "d", kind: "command", params: { run: [] } }, { name: "tidy", kind: "cleanup", params: { stages: ["q"] } },
  );
  expect(judged(input).map(([path, code]) => `${code} at ${path}`)).toEqual([
    "INVALID_FIELD at stages[2].name", "UNKNOWN_FIELD at stages[2].retrys", "DUPLICATE_STAGE at stages[1].name", "SELF_DEPENDENCY at stages[0].dependsOn[0]", "UNKNOWN_DEPENDENCY at stages[3].dependsOn[0]",
    "INVALID_FIELD at stages[4].params.run", "UNKNOWN_STAGE at stages[5].params.stages[0]",
  ]);
});

test("a misspelt field of one stage does not hide a wrong reference of another", () => {
  expect(judged(pipeline(stage("a", [], { timeout: 5 }), stage("b", [], { params: { run: ["${stages.a.outputs.x}"] } }))).map(([path, code]) => `${code} at ${path}`)).toEqual(["UNKNOWN_FIELD at stages[0].timeout", "REFERENCE_NOT_UPSTREAM at stages[1].params.run[0]"]);
});

describe("hostile documents are refused with one clear problem", () => {
  const deep = (levels: number) => { let value: unknown = "x"; for (let i = 0; i < levels; i++) value = { a: value }; return value; };
  test.each<[string, unknown, string, string]>([
    ["__proto__", JSON.parse('{"name":"p","stages":[{"name":"a","kind":"command","params":{"run":["x"],"env":{"__proto__":{"polluted":1}}}}]}'), "stages[0].params.env", "INVALID_KEY"],
    ["__proto__ at the top", JSON.parse('{"__proto__":{"name":"p"},"stages":[]}'), "", "INVALID_KEY"],
    ["a NUL in a text", pipeline(stage("a", [], { params: { run: ["x\0y"] } })), "stages[0].params.run[0]", "INVALID_TEXT"],
    ["a NUL in a key", { ...pipeline(stage("a")), labels: { "a\0": "x" } }, "labels", "INVALID_KEY"],
    ["half a surrogate pair in a text", { ...pipeline(stage("a")), name: "x\ud800" }, "name", "INVALID_TEXT"],
    ["half a surrogate pair in a key", { ...pipeline(stage("a")), labels: { "\udc00": "x" } }, "labels", "INVALID_KEY"],
    ["endless nesting", pipeline(stage("a", [], { params: { run: ["x"], env: deep(100_000) } })), `stages[0].params.env${".a".repeat(29)}`, "TOO_DEEP"],
    ["NaN", pipeline(stage("a", [], { params: { run: [Number.NaN] } })), "stages[0].params.run[0]", "INVALID_VALUE"],
    ["a bigint", pipeline(stage("a", [], { params: { run: [1n] } })), "stages[0].params.run[0]", "INVALID_VALUE"],
    ["a key of a megabyte", { ...pipeline(stage("a")), labels: { ["k".repeat(1_000_000)]: "x" } }, "labels", "INVALID_KEY"],
    ["more stages than allowed", { name: "p", stages: Array.from({ length: 20_001 }, (_, index) => stage(`s${index}`)) }, "stages", "TOO_MANY_STAGES"],
    ["a million of nothing", { name: "p", stages: new Array(1_000_000).fill(null) }, "stages", "TOO_MANY_STAGES"],
  ])("%s", (_, input, path, code) => {
    expect(judged(input).map((problem) => problem.slice(0, 2))).toEqual([[path, code]]);
    expect(JSON.stringify(messages(input)).length).toBeLessThan(500);
    expect(({} as { polluted?: number }).polluted).toBeUndefined();
  });

  test("a document that contains itself", () => {
    const input: Record<string, unknown> = pipeline(stage("a"));
    input["labels"] = input;
    expect(judged(input)[0]![1]).toBe("TOO_DEEP");
  });

  test("names of ten megabytes", () => {
    const name = "a".repeat(10_000_000);
    const { problems } = validateSpec(pipeline({ name, kind: "command", dependsOn: [`${name}b`, name], params: { run: ["x"] } }, { name, kind: `${name}`, params: { run: ["${stages." + name + ".outputs.x}"] } }));
    expect(problems.map((problem) => problem.code)).toEqual(["INVALID_FIELD", "INVALID_FIELD", "INVALID_FIELD", "DUPLICATE_STAGE", "UNKNOWN_DEPENDENCY", "SELF_DEPENDENCY"]);
    expect(JSON.stringify(problems).length).toBeLessThan(5_000);
  });

  test("shell metacharacters, secrets by name and option-like words are inert data", () => {
    expect(judged(pipeline(stage("a", [], { params: { run: ["; rm -rf /", "$(id)", "`id`", "--", "../../x", "a\nb\u001b[31m"], env: { T: "secret://hf" } } })))).toEqual([]);
  });

  test("thousands of problems are cut off, and that is said", () => {
    const { problems } = validateSpec({ name: "p", stages: Array.from({ length: 10_000 }, (_, index) => stage(`s${index}`, [`t${index}`])) });
    expect(problems).toHaveLength(MAX_PROBLEMS);
    expect(problems.at(-1)).toMatchObject({ code: "MORE_PROBLEMS" });
    expect(problems.filter((problem) => problem.hint?.startsWith("Did you mean"))).toHaveLength(20);
  });

  test("a hundred thousand wrong references in one text are cut off too", () => {
    expect(validateSpec(pipeline(stage("a", [], { params: { run: ["${stages.z.outputs.x}".repeat(100_000)] } }))).problems).toHaveLength(MAX_PROBLEMS);
    expect(validateSpec(pipeline(stage("a", [], Object.fromEntries(Array.from({ length: 100_000 }, (_, index) => [`f${index}`, 1]))))).problems).toHaveLength(MAX_PROBLEMS);
  });

  test("a graph of a million edges is accepted, a cycle through all of it is refused", () => {
    const names = Array.from({ length: 2_000 }, (_, index) => `s${index}`);
    const stages = names.map((name, index) => stage(name, index < 1_000 ? [] : names.slice(0, 1_000)));
    expect(judged({ name: "p", stages })).toEqual([]);
    const ring = names.map((name, index) => stage(name, [...names.slice(Math.max(0, index - 500), index), ...(index === 0 ? ["s1999"] : [])]));
    const [problem] = validateSpec({ name: "p", stages: ring }).problems;
    expect(problem).toMatchObject({ code: "CYCLE" });
  });
});
