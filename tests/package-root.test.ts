import { createRequire } from "node:module";
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { GraphQLSchema } from "graphql";
import { expect, inject, test } from "vitest";
import { packagePath, packageRoot } from "../src/package-root.js";

test("the package is found from its sources", () => {
  expect(JSON.parse(readFileSync(packagePath("package.json"), "utf8"))).toMatchObject({ name: "trainyard" });
});

test("it is found from a chunk at any depth of the bundle, past package.json files of others", () => {
  const root = mkdtempSync(join(inject("runFolder"), "package-"));
  mkdirSync(join(root, "dist", "cli", "deep"), { recursive: true });
  writeFileSync(join(root, "package.json"), '{ "name": "trainyard" }');
  writeFileSync(join(root, "dist", "cli", "package.json"), '{ "type": "module" }');
  for (const file of ["dist/chunk-A.js", "dist/cli/main.js", "dist/cli/deep/b.js"]) expect(packageRoot(pathToFileURL(join(root, file)).href)).toBe(root);
  expect(() => packageRoot(pathToFileURL(join(inject("runFolder"), "elsewhere.js")).href)).toThrow(/install trainyard again/);
});

test("tests and packages share one copy of graphql", () => {
  expect((createRequire(import.meta.url)("graphql") as { GraphQLSchema: unknown }).GraphQLSchema).toBe(GraphQLSchema);
});
