// The bundled command line, as users run it, built at most once for all tests of a run.
import { execFile } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { packagePath } from "../../src/package-root.js";
import { acquireDirectoryLock } from "../../src/directory-lock.js";

/** The program to start with `process.execPath`. Builds dist/ first when a source file is newer than it. */
export async function builtCli(): Promise<string> {
  await buildCommandLine();
  return packagePath("bin", "trainyard.mjs");
}

/** Builds dist/ when it is missing or older than the sources; one build at a time, whoever else asks waits for it. */
export async function buildCommandLine(): Promise<void> {
  if (!existsSync(packagePath("src", "cli", "main.ts")) || isFresh()) return;
  const cache = packagePath("node_modules", ".cache");
  mkdirSync(cache, { recursive: true });
  for (;;) {
    const outcome = await acquireDirectoryLock(join(cache, "trainyard-build.lock"));
    if (outcome.kind === "refused") {
      await delay(50); // the holder builds, or dies: both end the wait
      continue;
    }
    try {
      if (!isFresh()) await promisify(execFile)(process.execPath, [packagePath("scripts", "build.mjs")]);
      return;
    } finally {
      outcome.lock.release();
    }
  }
}

function isFresh(): boolean {
  const built = statSync(packagePath("dist", "cli", "main.js"), { throwIfNoEntry: false });
  if (built === undefined) return false;
  const sources = readdirSync(packagePath("src"), { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return sources.every((entry) => statSync(join(entry.parentPath, entry.name)).mtimeMs <= built.mtimeMs);
}
