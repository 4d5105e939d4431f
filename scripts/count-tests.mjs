// Usage: node scripts/count-tests.mjs RESULTS.json… Prints what vitest's JSON reporter counted in all of them: which tests failed and why, which did not run, and as
// last line `N passed, N failed`. A test file that could not even be loaded counts as one failure. Exits with 1 when anything failed, when nothing ran, or when results
// are missing.
import { readFileSync } from "node:fs";
import { relative } from "node:path";

/** Characters of a failure's message that are shown; the whole of it stands where the test ran. */
const SHOWN = 600;

function readResults(file) {
  try {
    return JSON.parse(readFileSync(file, "utf8"));
  } catch {
    console.log("The tests left no results: the run ended before its summary.");
    return { testResults: [{ status: "failed", assertionResults: [] }] };
  }
}

const files = (process.argv.length > 2 ? process.argv.slice(2) : [undefined]).flatMap((file) => readResults(file).testResults);
const tests = files.flatMap((suite) => suite.assertionResults);
const passed = tests.filter((test) => test.status === "passed").length;
const broken = files.filter((suite) => suite.status === "failed" && !suite.assertionResults.some((test) => test.status === "failed")).length;
const failed = tests.filter((test) => test.status === "failed").length + broken;
const notRun = tests.filter((test) => test.status !== "passed" && test.status !== "failed");

const told = (text) => (text ?? "").replace(/\u001b\[[0-9;]*m/g, "").trim().slice(0, SHOWN).replaceAll("\n", "\n    ");
for (const suite of files) {
  const names = suite.assertionResults.filter((test) => test.status === "failed");
  const file = suite.name === undefined ? "no test file" : relative(process.cwd(), suite.name);
  for (const test of names) console.log(`FAILED: ${file} > ${test.fullName}\n    ${told(test.failureMessages?.[0])}`);
  if (names.length === 0 && suite.status === "failed") console.log(`FAILED: ${file}\n    ${told(suite.message)}`);
}
for (const test of notRun) console.log(`not run: ${test.fullName}`);
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed > 0 || passed === 0 ? 1 : 0;
