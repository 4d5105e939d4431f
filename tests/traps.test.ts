import { existsSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { packagePath } from "../src/package-root.js";

interface Line { readonly trap: string; readonly file: string; readonly name: string }

/** The rows of the table in traps.md. */
function lines(): Line[] {
  const rows = readFileSync(packagePath("tests", "traps.md"), "utf8").split("\n").filter((line) => line.startsWith("|")).slice(2);
  return rows.map((row) => {
    const cells = row.split(" | ").map((cell) => cell.replace(/^\| | \|$/g, "").trim());
    expect(cells, row).toHaveLength(3);
    return { trap: cells[0]!, file: cells[1]!.replaceAll("`", ""), name: cells[2]! };
  });
}

/** The names that a test file gives: the first argument of each `test(…)`, as text. */
function namesIn(file: string): string[] {
  const source = readFileSync(packagePath(file), "utf8");
  return [...source.matchAll(/^\s*test(?:\.\w+(?:\([^\n]*?\))?)*\((["'`])(.*?)(?<!\\)\1,/gm)].map((match) => match[2]!.replace(/\\(["'`])/g, "$1"));
}

test("the table of traps names tests that exist, each trap once", () => {
  const table = lines();
  expect(table.length).toBeGreaterThan(30);
  expect(new Set(table.map((line) => line.trap)).size).toBe(table.length);
  const missing = table.filter(({ file, name }) => !existsSync(packagePath(file)) || !namesIn(file).includes(name));
  expect(missing).toEqual([]);
});
