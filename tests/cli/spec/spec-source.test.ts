import fc from "fast-check";
import { stringify } from "yaml";
import { describe, expect, test } from "vitest";
import { parseSpec } from "../../../src/cli/spec/spec-source.js";

const YAML = `name: demo
stages:
  - name: a
    kind: command
    dependsOn: [x, y]
    params:
      env: { A.B: 1 }
      run: [node, -e, "1"]
  - name: b
    params: &shared
      deep:
        list:
          - one
          - two
  - name: c
    params: *shared
`;

describe("where a JSON path stands in the text", () => {
  const source = parseSpec(YAML, "demo.yaml");
  const at = (path: string, preferKey?: boolean) => {
    const position = source.locate(path, preferKey)!;
    return source.lines[position.line - 1]!.slice(position.column - 1, position.column - 1 + position.length);
  };

  test("a plain value is shown itself", () => {
    expect(at("name")).toBe("demo");
    expect(at("stages[0].dependsOn[1]")).toBe("y");
    expect(at("stages[1].params.deep.list[1]")).toBe("two");
  });
  test("an object is shown by its key", () => expect(at("stages[0].params")).toBe("params"));
  test("an unknown field is shown by its key", () => expect(at("stages[0].kind", true)).toBe("kind"));
  test("a key may hold dots", () => expect(at("stages[0].params.env.A.B")).toBe("1"));
  test("a quoted key is understood", () => expect(at('stages[0].params.env["A.B"]')).toBe("1"));
  test("what is missing is shown at the head of the object that lacks it", () => {
    expect(at("stages[1].kind")).toBe("name");
    expect(source.locate("stages[1].kind")!.line).toBe(9);
  });
  test("a path through an alias is found where the value stands", () => expect(at("stages[2].params.deep.list[0]")).toBe("one"));
  test("a path into nothing shows the deepest part that exists", () => expect(at("stages[0].dependsOn[7]")).toBe("dependsOn"));

  test("every value of any document is found at its own text", () => {
    const name = fc.stringMatching(/^[a-z][a-z0-9]{0,6}$/);
    const tree = fc.letrec<{ node: unknown; leaf: unknown }>((tie) => ({
      leaf: fc.oneof(fc.integer(), fc.stringMatching(/^[a-z]{1,8}$/), fc.boolean()),
      node: fc.oneof({ maxDepth: 4 }, tie("leaf"), fc.array(tie("node"), { minLength: 1, maxLength: 3 }), fc.dictionary(name, tie("node"), { minKeys: 1, maxKeys: 3, noNullPrototype: true })),
    })).node;
    fc.assert(fc.property(fc.dictionary(name, tree, { minKeys: 1, maxKeys: 3, noNullPrototype: true }), fc.boolean(), (value, asJson) => {
      const text = asJson ? JSON.stringify(value, null, 2) : stringify(value);
      const parsed = parseSpec(text, "x");
      expect(parsed.value).toEqual(value);
      for (const [path, leaf] of leaves(value, "")) {
        const position = parsed.locate(path)!;
        const shown = parsed.lines[position.line - 1]!.slice(position.column - 1, position.column - 1 + position.length);
        expect(shown.replaceAll(/["']/g, "")).toBe(String(leaf));
      }
    }), { numRuns: 200 });
  });
});

describe("what cannot be parsed", () => {
  test("a syntax error says where", () => {
    const source = parseSpec("name: x\nstages:\n  - name: a\n   kind: b\n", "x.yaml");
    expect(source.value).toBeUndefined();
    expect(source.syntaxErrors[0]).toMatchObject({ line: 4 });
  });
  test("a key given twice is an error at the second one", () => expect(parseSpec("name: a\nname: b\n", "x").syntaxErrors[0]).toMatchObject({ line: 2, column: 1 }));
  test("an empty file holds no pipeline", () => expect(parseSpec("# nothing\n", "x").syntaxErrors[0]!.message).toContain("no pipeline"));
  test("a second document is refused", () => expect(parseSpec("name: a\n---\nname: b\n", "x").syntaxErrors[0]).toMatchObject({ line: 2, message: expect.stringContaining("second document") as string }));
  test("aliases that would grow without end are refused", () => {
    const bomb = ["a: &a [1,1,1,1,1,1,1,1,1]", ..."bcdefgh".split("").map((name, index) => `${name}: &${name} [${Array(9).fill(`*${"abcdefgh"[index]}`).join(",")}]`)].join("\n");
    expect(parseSpec(bomb, "x").syntaxErrors).not.toEqual([]);
  });
  test("JSON is read too, with positions", () => {
    const source = parseSpec('{\n  "name": "x",\n  "stages": [{ "name": "a" }]\n}\n', "x.json");
    expect(source.locate("stages[0].name")).toMatchObject({ line: 3, column: 24 });
  });
});

function* leaves(value: unknown, path: string): Generator<[string, unknown]> {
  if (Array.isArray(value)) for (const [index, item] of value.entries()) yield* leaves(item, `${path}[${index}]`);
  else if (typeof value === "object" && value !== null) for (const [key, item] of Object.entries(value)) yield* leaves(item, path === "" ? key : `${path}.${key}`);
  else yield [path, value];
}
