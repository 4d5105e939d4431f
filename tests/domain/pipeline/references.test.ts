import { describe, expect, test } from "vitest";
import { MissingOutputError, findReferences, resolveReferences } from "../../../src/domain/pipeline/references.js";
import type { Outputs } from "../../../src/domain/pipeline/state.js";

const OUTPUTS: Record<string, Outputs> = {
  a: { n: 20, text: "hi", flag: false, nothing: null, list: [1, { x: 2 }], nested: { deep: { er: "yes" } }, "with.dots": 1, "val-core/gsm8k/acc/mean@1": 0.5, "nested.deep": { er: "longer key" } },
  "data.v2-x_y": { file: "/data/x" },
};
const resolve = (value: unknown) => resolveReferences(value, (stage) => OUTPUTS[stage] ?? null);

test.each<[string, unknown, unknown]>([
  ["alone keeps its type: number", "${stages.a.outputs.n}", 20],
  ["alone keeps its type: false", "${stages.a.outputs.flag}", false],
  ["alone keeps its type: null", "${stages.a.outputs.nothing}", null],
  ["alone keeps its type: list", "${stages.a.outputs.list}", [1, { x: 2 }]],
  ["inside text is written out", "n=${stages.a.outputs.n}, ${stages.a.outputs.text}!", "n=20, hi!"],
  ["twice in a text", "${stages.a.outputs.n}${stages.a.outputs.n}", "2020"],
  ["of a structure inside text is JSON", "--x=${stages.a.outputs.list}", '--x=[1,{"x":2}]'],
  ["of a nested value", "${stages.a.outputs.list.1.x}", 2],
  ["of a key that holds dots", "${stages.a.outputs.with.dots}", 1],
  ["of a key that holds slashes", "${stages.a.outputs.val-core/gsm8k/acc/mean@1}", 0.5],
  ["takes the longest key that exists", "${stages.a.outputs.nested.deep.er}", "longer key"],
  ["of a stage whose name holds dots", "${stages.data.v2-x_y.outputs.file}", "/data/x"],
  ["in lists and objects", { run: ["x", ["${stages.a.outputs.n}"]], env: { N: "${stages.a.outputs.n}" } }, { run: ["x", [20]], env: { N: 20 } }],
  ["with $$ stays as text with one $", "$${stages.a.outputs.n} ${stages.a.outputs.n}", "${stages.a.outputs.n} 20"],
  ["with $$ alone stays as text", "$${stages.a.outputs.n}", "${stages.a.outputs.n}"],
  ["none: other ${…} are the program's own", "${HOME} $(x) ${} ${stage.a} $ {stages.a.outputs.n}", "${HOME} $(x) ${} ${stage.a} $ {stages.a.outputs.n}"],
  ["none: numbers, booleans and null pass", [1, true, null], [1, true, null]],
])("a reference %s", (_, value, expected) => expect(resolve(value)).toEqual(expected));

describe("a missing output", () => {
  test.each(["${stages.a.outputs.none}", "x${stages.a.outputs.n.deeper}", "${stages.a.outputs.list.7}", "${stages.a.outputs.toString}", "${stages.a.outputs.__proto__}"])("%s is named", (text) => {
    expect(() => resolve(text)).toThrow(MissingOutputError);
  });
  test("is told with what there is, or that there is nothing", () => {
    expect(() => resolve("${stages.data.v2-x_y.outputs.none}")).toThrow("It left: file.");
    expect(() => resolve("${stages.other.outputs.x}")).toThrow("It left no outputs at all.");
    const many = Object.fromEntries(Array.from({ length: 30 }, (_, index) => [`k${index}`, 1]));
    expect(() => resolveReferences("${stages.b.outputs.x}", () => many)).toThrow(/k19, …\.$/);
  });
});

test("a key that reaches prototypes is data like any other", () => {
  const outputs = JSON.parse('{"__proto__": {"polluted": 1}}') as Outputs;
  expect(resolveReferences("${stages.a.outputs.__proto__.polluted}", () => outputs)).toBe(1);
  expect(JSON.stringify(resolveReferences("${stages.a.outputs.__proto__}", () => outputs))).toBe('{"polluted":1}');
  expect(({} as { polluted?: number }).polluted).toBeUndefined();
});

test("references are found with their paths, escaped ones are not, malformed ones say why", () => {
  const found = findReferences({ run: ["${stages.a.outputs.x}", "$${stages.b.outputs.x}"], env: { E: "${stages.a}${pipeline.directory}${pipeline.name}" } }, "params");
  expect(found).toEqual([
    { path: "params.run[0]", reference: { stage: "a", key: "x", text: "${stages.a.outputs.x}" } },
    { path: "params.env.E", reference: { text: "${stages.a}", why: "must read ${stages.<name>.outputs.<key>}" } },
    { path: "params.env.E", reference: { text: "${pipeline.directory}", why: expect.stringContaining("filled in by the command line") } },
    { path: "params.env.E", reference: { text: "${pipeline.name}", why: "names nothing known" } },
  ]);
});
