// What one run of the tests shares: a built command line, one PostgreSQL with a migrated template database, and one Redis where this machine has one.
//   G1. Everything of a run lies in one temporary folder that says who owns it; the next run ends and removes what a killed run left behind.
//   G2. What cannot run here is said aloud, never skipped in silence.
import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import pg from "pg";
import type { TestProject } from "vitest/node";
import { migrate } from "../../src/db/migrator.js";
import { startEmbeddedPostgres } from "../../src/server/embedded/postgres.js";
import { identifyProcess, isAlive, type ProcessIdentity } from "../../src/process-identity.js";
import { startEmbeddedRedis } from "../../src/server/embedded/redis.js";
import { endProcess } from "../../src/server/embedded/server-process.js";
import { buildCommandLine } from "./built-cli.js";
import { TEMPLATE_DATABASE } from "./postgres.js";
import { processesBelow } from "./processes.js";

declare module "vitest" {
  export interface ProvidedContext {
    /** Superuser URL of the shared PostgreSQL; tests take a database of their own with createTestDatabase(). */
    postgresUrl: string;
    /** The shared Redis, or null where this machine has none; tests take a prefix of their own with testRedis(). */
    redisUrl: string | null;
    /** A folder of this run, removed at its end even if the run is killed. Make temporary folders of tests in it; every account may enter it. */
    runFolder: string;
  }
}

const RUN_FOLDER = "trainyard-tests-";
const quiet = { info: () => undefined, warn: (facts: object, message: string) => console.warn(message, facts) };

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  await removeAbandonedRuns();
  const folder = mkdtempSync(join(tmpdir(), RUN_FOLDER));
  chmodSync(folder, 0o711); // root's servers run under another account
  writeFileSync(join(folder, "owner.json"), JSON.stringify(identifyProcess(process.pid)));
  project.provide("runFolder", folder);

  if (await someTestStartsTheCommandLine(project)) await buildCommandLine();
  const postgres = await startEmbeddedPostgres({ dataDir: folder, log: quiet, durability: "none", maxConnections: 200 });
  project.provide("postgresUrl", postgres.url);
  await createTemplate(postgres.url);

  const redis = await startEmbeddedRedis({ dataDir: folder, log: quiet });
  project.provide("redisUrl", redis?.url ?? null);
  if (redis === null) console.warn("\nNOT RUN: tests over Redis streams: no redis-server or valkey-server on PATH\n");

  return async () => {
    await redis?.stop();
    await postgres.stop();
    rmSync(folder, { recursive: true, force: true });
  };
}

async function createTemplate(url: string): Promise<void> {
  const admin = new pg.Client({ connectionString: url });
  await admin.connect();
  await admin.query(`CREATE DATABASE ${TEMPLATE_DATABASE}`);
  await admin.end();
  const template = new URL(url);
  template.pathname = `/${TEMPLATE_DATABASE}`;
  await migrate(template.href);
}

/** G1. Only processes that stand in the abandoned folder itself are ended. */
async function removeAbandonedRuns(): Promise<void> {
  for (const name of readdirSync(tmpdir()).filter((entry) => entry.startsWith(RUN_FOLDER))) {
    const folder = join(tmpdir(), name);
    try {
      const owner = JSON.parse(readFileSync(join(folder, "owner.json"), "utf8")) as ProcessIdentity;
      if (isAlive(owner)) continue;
      for (const pid of processesBelow(folder)) {
        const identity = identifyProcess(pid);
        if (identity !== null) await endProcess(identity, [{ signal: "SIGKILL", patienceMs: 5_000 }]);
      }
      rmSync(folder, { recursive: true, force: true });
    } catch {
      // Being made by another run just now, or another user's: theirs to remove.
    }
  }
}

/** Whether a selected test file, or a support file it imports, names the program. */
async function someTestStartsTheCommandLine(project: TestProject): Promise<boolean> {
  const filters = (project.vitest as unknown as { filenamePattern?: string[] }).filenamePattern;
  const { testFiles } = await project.globTestFiles(filters);
  const names = (file: string) => existsSync(file) && /trainyard\.mjs|built-cli/.test(readFileSync(file, "utf8"));
  return testFiles.some((file) => {
    const imports = [...readFileSync(file, "utf8").matchAll(/from "((?:\.\.\/)+support\/[\w-]+)\.js"/g)];
    return names(file) || imports.some(([, path]) => names(resolve(file, "..", `${path}.ts`)));
  });
}
