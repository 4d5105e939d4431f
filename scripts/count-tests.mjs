// Usage: node scripts/count-tests.mjs RESULTS.json… Prints what vitest's JSON reporter counted in all of them, the last line as `N passed, N failed`. A test file that
// could not even be loaded counts as one failure. Exits with 1 when anything failed, when nothing ran, or when results are missing.
import { readFileSync } from "node:fs";

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

for (const test of notRun) console.log(`not run: ${test.fullName}`);
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed > 0 || passed === 0 ? 1 : 0;
