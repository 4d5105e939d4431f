// The Python environments that scripts/python/environment.mjs keeps, and programs run in them. Never made here: a test run does not fetch gigabytes.

import { execFile, spawnSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { inject } from "vitest";
import { packagePath } from "../../src/package-root.js";

const PATIENCE_MS = 240_000;

/** The environment's python; null, said aloud, where it has not been made. */
export function findPython(name: "data" | "verl" | "verl-0.9", forWhat: string): string | null {
  const asked = spawnSync(process.execPath, [packagePath("scripts", "python", "environment.mjs"), name, "--check"], { encoding: "utf8" });
  if (asked.status === 0) return asked.stdout.trim();
  console.warn(`\nNOT RUN: ${forWhat}: ${asked.stderr.trim()}\n`);
  return null;
}

/** Runs a program of this folder; gives what it printed as JSON on its last line. Throws with its error output. */
export async function runPython<T>(python: string, program: string, args: readonly string[]): Promise<T> {
  const home = join(inject("runFolder"), "hugging-face");
  mkdirSync(home, { recursive: true });
  const environment = { ...process.env, HF_HOME: home, HF_HUB_OFFLINE: "1", HF_DATASETS_DISABLE_PROGRESS_BARS: "1", TOKENIZERS_PARALLELISM: "false", PYTHONWARNINGS: "ignore", PYTHONNOUSERSITE: "1" };
  const { stdout } = await promisify(execFile)(python, [packagePath("tests", "python", program), ...args], { env: environment, timeout: PATIENCE_MS, maxBuffer: 256 * 1_048_576 });
  return JSON.parse(stdout.trimEnd().split("\n").at(-1)!) as T;
}
