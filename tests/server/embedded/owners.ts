// Owners of embedded stores as real processes, as root and as an ordinary user. The owner program is bundled into a folder that every account can enter, so that
// the tests also run from a checkout that only root can read.
import { spawn, type ChildProcess } from "node:child_process";
import { chmodSync, chownSync, cpSync, mkdirSync, mkdtempSync, readlinkSync, rmSync } from "node:fs";
import { once } from "node:events";
import { basename, join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { build } from "esbuild";
import { inject } from "vitest";
import { processesBelow } from "../../support/processes.js";
import { packagePath } from "../../../src/package-root.js";
import { installedNativeDir } from "../../../src/server/embedded/postgres-binaries.js";
import { identifyProcess } from "../../../src/process-identity.js";
import { namedAccount, unreachableBecauseOf } from "../../../src/server/embedded/server-account.js";
import { endProcess } from "../../../src/server/embedded/server-process.js";
import type { OwnerOrder } from "./owner.js";

export const weAreRoot = process.getuid?.() === 0;

/** An account that the system knows and that is neither root nor the one root hands its servers to; undefined when the tests run as an ordinary user already. */
export const ordinary = weAreRoot ? (namedAccount({ uid: 1, gid: 1 }) ?? { uid: 1, gid: 1 }) : undefined;

/** An account that the system has no name for, as in a container started with a bare uid. */
export const nameless = { uid: 61_234, gid: 61_234 };

/** False where an ordinary account could not even start node. */
export const ordinaryCanRun = ordinary === undefined || unreachableBecauseOf(process.execPath, ordinary) === null;
if (!weAreRoot) console.warn("NOT RUN: tests of embedded stores under root: the tests run as an ordinary user");
if (!ordinaryCanRun) console.warn(`NOT RUN: tests of embedded stores under an ordinary user: ${process.execPath} is closed to others`);

export interface Owner {
  readonly process: ChildProcess;
  readonly facts: { url: string; pid: number; adopted: boolean; tookMs: number; kind?: string };
  /** SIGKILL, as the machine's memory killer would; resolves when it is gone. */
  kill(): Promise<void>;
  /** Clean stop; resolves with the exit code. */
  stop(): Promise<number | null>;
}

export interface Yard {
  /** A folder that every account can enter. */
  readonly folder: string;
  /** A new data directory path; not made yet unless it is for an account. */
  dataDir(account?: { uid: number; gid: number }): string;
  /** A copy of the installed PostgreSQL package; resolves with its `native` folder. `withLinks` false leaves it as npm does without install scripts. */
  copyNative(parent: string, withLinks: boolean): string;
  /** Starts an owner; rejects with `{ code, message }` when it reports an error. */
  own(order: OwnerOrder, account?: { uid: number; gid: number }): Promise<Owner>;
  /** Starts an owner and kills it this long after, in milliseconds, whatever it is doing then. */
  killedAfter(order: OwnerOrder, afterMs: number): Promise<void>;
  /** Ends every process of every store and removes all folders. */
  close(): Promise<void>;
}

export async function openYard(): Promise<Yard> {
  const folder = mkdtempSync(join(inject("runFolder"), "yard-"));
  chmodSync(folder, 0o755);
  const program = join(folder, "owner.mjs");
  await build({
    entryPoints: [packagePath("tests", "server", "embedded", "owner.ts")],
    outfile: program,
    bundle: true,
    format: "esm",
    platform: "node",
    target: "node20",
    external: ["pg-native"],
    banner: { js: 'import { createRequire as makeRequire } from "node:module"; const require = makeRequire(import.meta.url);' },
    logLevel: "warning",
  });
  chmodSync(program, 0o644);
  const nativeDir = installedNativeDir();
  let made = 0;
  const owners: Owner[] = [];
  const start = (order: OwnerOrder, account?: { uid: number; gid: number }) => {
    const request = order.store === "postgres" ? { nativeDir, ...order } : order;
    return spawn(process.execPath, [program, JSON.stringify(request)], { cwd: folder, detached: true, stdio: ["pipe", "pipe", "ignore"], ...account });
  };
  return {
    folder,
    dataDir(account) {
      const path = join(folder, `data-${++made}`);
      if (account !== undefined) {
        mkdirSync(path, { mode: 0o700 });
        chownSync(path, account.uid, account.gid);
      }
      return path;
    },
    copyNative(parent, withLinks) {
      const copy = join(parent, `package-${++made}`);
      cpSync(join(nativeDir, ".."), copy, { recursive: true, verbatimSymlinks: true, filter: (path) => !path.endsWith(".a") && (withLinks || !isLink(path)) });
      return join(copy, "native");
    },
    async killedAfter(order, afterMs) {
      const child = start(order);
      await delay(afterMs);
      child.kill("SIGKILL");
      await once(child, "exit");
    },
    async own(order, account) {
      const child = start(order, account);
      const gone = new Promise<number | null>((resolve) => child.once("exit", resolve));
      const line = await new Promise<string>((resolve, reject) => {
        createInterface({ input: child.stdout }).once("line", resolve).once("close", () => reject(new Error("the owner ended without a word")));
        child.once("error", reject);
      });
      const facts = JSON.parse(line) as Owner["facts"] & { code?: string; message?: string };
      if (facts.code !== undefined) {
        await gone;
        throw Object.assign(new Error(facts.message), { code: facts.code });
      }
      const owner: Owner = {
        process: child,
        facts,
        async kill() {
          child.kill("SIGKILL");
          await gone;
        },
        async stop() {
          child.stdin.end();
          return gone;
        },
      };
      owners.push(owner);
      return owner;
    },
    async close() {
      for (const owner of owners) await owner.kill();
      for (const pid of processesBelow(folder)) {
        const identity = identifyProcess(pid);
        if (identity !== null) await endProcess(identity, [{ signal: "SIGKILL", patienceMs: 10_000 }]);
      }
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Library links end in a version that a real file repeats longer: they are what npm leaves out. */
function isLink(path: string): boolean {
  try {
    readlinkSync(path);
    return basename(path).includes(".so") || basename(path).includes(".dylib");
  } catch {
    return false;
  }
}
