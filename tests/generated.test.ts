// The generated files, and the check that tells when one has drifted.
import { mkdtempSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";
import { expect, inject, test } from "vitest";
import { z } from "zod";
import { agentConfigSchema, clientConfigSchema, serverConfigSchema } from "../src/config.js";
import { packagePath } from "../src/package-root.js";
import { stageSchema } from "../src/domain/pipeline/spec.js";
import { fill } from "../scripts/documents/document.js";
import { fieldTable, type FieldSchema } from "../scripts/documents/field-table.js";
import { COMPOSE_VARIABLES, variablesOf } from "../scripts/documents/configuration.js";
import { DOCUMENTS, driftedDocuments } from "../scripts/generate.js";

test("every generated file says what its sources say; otherwise run `npm run generate`", { timeout: 60_000 }, async () => {
  expect(await driftedDocuments()).toEqual([]);
});

test("a file that differs and a file that is missing are both named", async () => {
  const missing = join("docs", `${mkdtempSync(join(inject("runFolder"), "d-")).slice(-6)}.md`);
  expect(await driftedDocuments([{ path: "LICENSE", render: () => "MIT" }, { path: missing, render: () => "new" }])).toEqual([
    "LICENSE differs from what its sources say",
    `${missing} is missing`,
  ]);
});

test("each generated file is listed once", () => {
  const paths = DOCUMENTS.map(({ path }) => path);
  expect(new Set(paths).size).toBe(paths.length);
});

test("a template that forgets a part is refused, and so is one that asks for an unknown part", () => {
  expect(fill("a\n{{one}}\nb", { one: "1" })).toBe("a\n1\nb");
  expect(() => fill("a\nb", { one: "1" })).toThrow("has no place for {{one}}");
  expect(() => fill("{{two}}", {})).toThrow("asks for {{two}}");
});

test("a field without a description cannot be documented, and the message names it", () => {
  const schema = z.toJSONSchema(z.strictObject({ speed: z.number() }), { io: "input" }) as FieldSchema;
  expect(() => fieldTable(schema)).toThrow('The field "speed" has no description');
});

test("every variable of the configuration is described, and its default is one that the schema accepts", () => {
  for (const schema of [serverConfigSchema, agentConfigSchema, clientConfigSchema]) {
    for (const { name, standard, description } of variablesOf(schema)) {
      expect(description, name).toMatch(/\.$/);
      if (standard !== null && standard !== "") expect(schema.safeParse({ [name]: standard }).error?.issues.filter((issue) => issue.path[0] === name) ?? [], name).toEqual([]);
    }
  }
});

test("what .env.example shows is a valid environment, and it has all that docker-compose.yml asks for", () => {
  const lines = readFileSync(packagePath(".env.example"), "utf8").split("\n");
  const names = lines.flatMap((line) => /^#?([A-Z][A-Z0-9_]+)=/.exec(line)?.[1] ?? []);
  expect(new Set(names).size).toBe(names.length);
  const composed = [...readFileSync(packagePath("docker-compose.yml"), "utf8").matchAll(/\$\{([A-Z0-9_]+)/g)].map((match) => match[1]!);
  for (const name of composed) expect(names, name).toContain(name);
  for (const name of COMPOSE_VARIABLES) expect(names, name).toContain(name);
  for (const name of [serverConfigSchema, agentConfigSchema, clientConfigSchema].flatMap((schema) => Object.keys(schema.shape))) expect(names, name).toContain(name);
});

test("the JSON Schema knows every field of a stage and what each kind needs", () => {
  const schema = JSON.parse(readFileSync(packagePath("docs/pipeline.schema.json"), "utf8")) as {
    $id: string; properties: { stages: { items: { properties: Record<string, unknown>; allOf: { if: { properties: { kind: { const: string } } }; then: { properties: { params: { $ref: string } }; required: string[] } }[] } } }; $defs: Record<string, { required?: string[] }>;
  };
  const stage = schema.properties.stages.items;
  expect(Object.keys(stage.properties)).toEqual(Object.keys(stageSchema.shape));
  expect(schema.$id).not.toMatch(/https?:/);
  const command = stage.allOf.find((rule) => rule.if.properties.kind.const === "command")!;
  expect(command.then.required).toEqual(["params"]);
  expect(schema.$defs[command.then.properties.params.$ref.replace("#/$defs/", "")]!.required).toEqual(["run"]);
});

test("the example in docs/pipeline.md is valid", async () => {
  const { validateSpec } = await import("../src/domain/pipeline/validate.js");
  const text = readFileSync(packagePath("docs/pipeline.md"), "utf8");
  const yaml = [...text.matchAll(/```yaml\n(name: [\s\S]*?)```/g)].map((match) => match[1]!);
  expect(yaml.length).toBeGreaterThan(0);
  for (const example of yaml) expect(validateSpec(parse(example)).problems).toEqual([]);
});
