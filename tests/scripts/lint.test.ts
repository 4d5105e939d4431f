// The rules of eslint.config.js that are ours: what they must refuse, and what they must let pass.
import { ESLint, Linter } from "eslint";
import tseslint from "typescript-eslint";
import { expect, test } from "vitest";
import { MAY_IMPORT, importDirection } from "../../scripts/lint/import-direction.js";
import { packagePath } from "../../src/package-root.js";

const linter = new Linter();
const config = [{
  files: ["**/*.ts"],
  languageOptions: { parser: tseslint.parser as Linter.Parser },
  plugins: { trainyard: { rules: { direction: importDirection } } },
  rules: { "trainyard/direction": ["error", { sourceRoot: packagePath("src") }] },
}] as unknown as Linter.Config[];

function wrongImports(file: string, code: string): string[] {
  return linter.verify(code, config, { filename: packagePath(file) }).map(({ message }) => message);
}

test.each([
  ["src/domain/x.ts", "../db/tables.js"],
  ["src/domain/pipeline/x.ts", "../../config.js"],
  ["src/agent/x.ts", "../db/tables.js"],
  ["src/agent/x.ts", "../actors/engine.js"],
  ["src/agent/x.ts", "../server/embedded/redis.js"],
  ["src/db/x.ts", "../actors/engine.js"],
  ["src/schema/x.ts", "../server/x.js"],
  ["src/server/x.ts", "../cli/main.js"],
])("%s may not import %s", (file, target) => {
  expect(wrongImports(file, `import { a } from "${target}";`)).toHaveLength(1);
  expect(wrongImports(file, `export * from "${target}";`)).toHaveLength(1);
  expect(wrongImports(file, `const a = await import("${target}");`)).toHaveLength(1);
});

test.each([
  ["src/cli/commands/x.ts", "../../server/x.js"],
  ["src/cli/x.ts", "../agent/daemon.js"],
  ["src/schema/streams/x.ts", "../../actors/control-plane.js"],
  ["src/agent/link/x.ts", "../../bus/streams.js"],
  ["src/server/x.ts", "./embedded/agent/x.js"],
  ["src/domain/x.ts", "zod"],
  ["src/db/x.ts", "../package-root.js"],
])("%s may import %s", (file, target) => {
  expect(wrongImports(file, `import { a } from "${target}";`)).toEqual([]);
});

test("a folder that nobody has given a place is refused", () => {
  expect(wrongImports("src/helpers/x.ts", 'import { a } from "../domain/ids.js";')[0]).toContain("src/helpers is no known layer");
});

test("the directions have no circle", () => {
  const reaches = (from: string, seen: string[] = []): void => {
    expect(seen, `${[...seen, from].join(" → ")}`).not.toContain(from);
    for (const to of MAY_IMPORT[from]!) reaches(to, [...seen, from]);
  };
  for (const layer of Object.keys(MAY_IMPORT)) reaches(layer);
});

test.each([
  ['import { exec } from "node:child_process"; exec("ls");', "no-restricted-imports"],
  ['import { execSync } from "child_process"; execSync("ls");', "no-restricted-imports"],
  ['import { spawn } from "node:child_process"; spawn("ls", [], { shell: true });', "no-restricted-syntax"],
  ["export const options = { rejectUnauthorized: false };", "no-restricted-syntax"],
  ['import { sql } from "kysely"; export const raw = sql.raw("drop table x");', "no-restricted-syntax"],
  ['process.env["NODE_TLS_REJECT_UNAUTHORIZED"] = "0";', "no-restricted-syntax"],
])("refused anywhere: %s", async (code, rule) => {
  const [result] = await new ESLint({ cwd: packagePath() }).lintText(code, { filePath: packagePath("scripts/x.mjs") });
  expect(result!.messages.map(({ ruleId }) => ruleId)).toContain(rule);
});
