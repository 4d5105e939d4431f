// The script that makes Python environments, without making one: it fetches packages only from an index that is not there.

import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { expect, inject, test } from "vitest";
import { packagePath } from "../../src/package-root.js";

const pythonIsHere = spawnSync("python3", ["-c", "import sys, venv, ensurepip; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))"]).status === 0;
const newerThan312 = spawnSync("python3", ["-c", "import sys; sys.exit(sys.version_info[:2] > (3, 12))"]).status === 1;
if (!pythonIsHere) console.warn("\nNOT RUN: an environment whose packages cannot be fetched: no python3 of 3.10 to 3.13 with venv on PATH\n");

function run(args: readonly string[], variables: Record<string, string> = {}) {
  const cache = mkdtempSync(join(inject("runFolder"), "python-cache-"));
  mkdirSync(join(cache, ".making-999999999-killed"));
  const { status, stdout, stderr } = spawnSync(process.execPath, [packagePath("scripts", "python", "environment.mjs"), ...args], { encoding: "utf8", env: { ...process.env, TRAINYARD_PYTHON_CACHE: cache, ...variables } });
  return { status, stdout, stderr, left: readdirSync(cache) };
}

test("an unknown environment is a usage error that names the known ones", () => {
  expect(run(["numpy"])).toMatchObject({ status: 2, stdout: "", stderr: expect.stringContaining("data|verl") as string });
});

test.skipIf(!pythonIsHere)("only looking makes nothing, and says how to make it", () => {
  expect(run(["data", "--check"])).toMatchObject({ status: 3, stdout: "", stderr: expect.stringContaining("node scripts/python/environment.mjs data") as string, left: [".making-999999999-killed"] });
});

test.skipIf(!pythonIsHere || newerThan312)("an environment that rests on another one says which is to be made first", () => {
  expect(run(["verl-0.9", "--check"])).toMatchObject({ status: 3, stdout: "", stderr: expect.stringMatching(/environment\.mjs verl` makes it/) as string });
});

test("without a Python the reason says which versions would do", () => {
  expect(run(["verl"], { TRAINYARD_PYTHON: "no-such-python" })).toMatchObject({ status: 3, stdout: "", stderr: expect.stringMatching(/NO PYTHON ENVIRONMENT "verl": no Python 3\.10 to 3\.12 .* TRAINYARD_PYTHON/) as string });
});

test.skipIf(!pythonIsHere)("a making that fails tells why and leaves nothing, nor does one that was killed before", () => {
  const nowhere = { PIP_INDEX_URL: "http://127.0.0.1:9/", PIP_EXTRA_INDEX_URL: "", PIP_FIND_LINKS: "", PIP_RETRIES: "0", PIP_CONFIG_FILE: "/dev/null" };
  const outcome = run(["data"], nowhere);
  expect(outcome).toMatchObject({ status: 3, stdout: "", left: [] });
  expect(outcome.stderr).toMatch(/installing the packages ended with status 1:/);
}, 60_000);
