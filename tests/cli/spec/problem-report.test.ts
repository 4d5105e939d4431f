import { expect, test } from "vitest";
import { countProblems, locateProblems, renderProblems, syntaxProblems } from "../../../src/cli/spec/problem-report.js";
import { parseSpec } from "../../../src/cli/spec/spec-source.js";
import { createStyle } from "../../../src/cli/style.js";

const plain = createStyle(false);
const problem = (path: string, message: string, code = "INVALID_FIELD") => ({ path, severity: "ERROR" as const, code, message, hint: "Do this." });

test("a problem is file:line:col, the line, and a caret under the place", () => {
  const source = parseSpec("name: x\nstages:\n  - name: a\n    dependsOn: [b]\n", "p.yaml");
  const lines = renderProblems(source, locateProblems(source, [problem("stages[0].dependsOn[0]", "There is no stage b.")]), plain);
  expect(lines).toEqual([
    "p.yaml:4:17: error: stages[0].dependsOn[0]: There is no stage b. [INVALID_FIELD]",
    "  4 |     dependsOn: [b]",
    "    |                 ^",
    "  help: Do this.",
  ]);
});

test("problems come in the order of the file", () => {
  const source = parseSpec("name: x\nstages:\n  - name: a\n", "p.yaml");
  expect(locateProblems(source, [problem("stages[0].name", "second"), problem("name", "first")]).map(({ message }) => message)).toEqual(["first", "second"]);
});

test("the caret stands under the place in a very long line", () => {
  const source = parseSpec(`{name: ${"x".repeat(500)}, stages: bad}`, "p.yaml");
  const [, line, caret] = renderProblems(source, locateProblems(source, [problem("stages", "no list")]), plain);
  expect(line!.slice(caret!.indexOf("^"), caret!.lastIndexOf("^") + 1)).toBe("bad");
  expect(line!.length).toBeLessThan(140);
});

test("tabs and escape sequences in the file neither shift the caret nor reach the terminal", () => {
  const source = parseSpec('name: "a\\e[31m"\nstages:\t"bad\u001b[2J"\n', "p.yaml");
  const lines = renderProblems(source, locateProblems(source, [problem("stages", "no list")]), plain);
  expect(lines.join("")).not.toContain("\u001b");
  expect(lines[2]!.indexOf("^")).toBe(lines[1]!.indexOf('"bad'));
});

test("a value that came from --set says so instead of a place", () => {
  const source = parseSpec("name: x\nstages: []\n", "p.yaml");
  const located = locateProblems(source, [problem("stages[0].retry.maxAttempts", "too many")], [{ path: "stages[0].retry", typed: "--set stages.a.retry.maxAttempts=1000" }]);
  expect(renderProblems(source, located, plain)[0]).toMatch(/^--set stages\.a\.retry\.maxAttempts=1000: error:/);
});

test("a syntax error is shown like any other problem", () => {
  const source = parseSpec("name: [x\n", "p.yaml");
  expect(renderProblems(source, syntaxProblems(source), plain)[0]).toMatch(/^p\.yaml:\d+:\d+: error: .* \[SYNTAX\]$/);
});

test("problems are counted in words", () => {
  const warning = { ...problem("a", "w"), severity: "WARNING" as const };
  expect(countProblems([problem("a", "x")])).toBe("1 error");
  expect(countProblems([problem("a", "x"), problem("b", "y"), warning])).toBe("2 errors and 1 warning");
});
