import { execFile } from "node:child_process";
import { mkdtempSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, inject, test } from "vitest";
import { packagePath } from "../../src/package-root.js";

/** `results` of as many files; null: a file that is not there. */
function count(...results: unknown[]): Promise<{ code: number; lastLine: string; text: string }> {
  const folder = mkdtempSync(join(inject("runFolder"), "count-"));
  const files = results.map((_, index) => join(folder, `results-${index}.json`));
  results.forEach((result, index) => { if (result !== null) writeFileSync(files[index]!, JSON.stringify(result)); });
  return new Promise((resolve) => {
    const child = execFile(process.execPath, [packagePath("scripts/count-tests.mjs"), ...files], (_, text) => resolve({ code: child.exitCode ?? -1, lastLine: text.trimEnd().split("\n").at(-1)!, text }));
  });
}

const suite = (status: string, ...tests: string[]) => ({ status, assertionResults: tests.map((test, index) => ({ status: test, fullName: `test ${index}` })) });

test("what passed and failed is counted, and a failure is a failure", async () => {
  expect(await count({ testResults: [suite("passed", "passed", "passed"), suite("failed", "passed", "failed")] })).toMatchObject({ code: 1, lastLine: "3 passed, 1 failed" });
});

test("tests that did not run are named, and are neither passed nor failed", async () => {
  const { code, lastLine, text } = await count({ testResults: [suite("passed", "passed", "skipped")] });
  expect({ code, lastLine }).toEqual({ code: 0, lastLine: "1 passed, 0 failed" });
  expect(text).toContain("not run: test 1");
});

test("what failed is named once more at the end, with its file and the beginning of the reason", async () => {
  const failed = { status: "failed", name: packagePath("tests/x.test.ts"), assertionResults: [{ status: "failed", fullName: "water is wet", failureMessages: ["\u001b[31mAssertionError\u001b[39m: it was dry"] }] };
  const unloadable = { status: "failed", name: packagePath("tests/y.test.ts"), message: "no such module", assertionResults: [] };
  const { text } = await count({ testResults: [suite("passed", "passed"), failed, unloadable] });
  expect(text).toMatch(/FAILED: .*tests\/x\.test\.ts > water is wet\n {4}AssertionError: it was dry\nFAILED: .*tests\/y\.test\.ts\n {4}no such module\n1 passed, 2 failed\n$/);
});

test("a file that could not be loaded counts as a failure", async () => {
  expect(await count({ testResults: [suite("passed", "passed"), suite("failed")] })).toMatchObject({ code: 1, lastLine: "1 passed, 1 failed" });
});

test("no results at all are a failure", async () => {
  expect(await count(null)).toMatchObject({ code: 1, lastLine: "0 passed, 1 failed" });
});

test("the results of several runs are counted together, and a missing one is a failure", async () => {
  const results = { testResults: [suite("passed", "passed", "passed")] };
  expect(await count(results, results)).toMatchObject({ code: 0, lastLine: "4 passed, 0 failed" });
  expect(await count(results, null)).toMatchObject({ code: 1, lastLine: "2 passed, 1 failed" });
});
