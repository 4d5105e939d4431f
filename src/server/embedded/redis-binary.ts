// Which Redis this machine has.
import { spawnSync } from "node:child_process";
import { accessSync, constants, statSync } from "node:fs";
import { delimiter, join } from "node:path";
import { cleanEnvironment } from "./server-process.js";

export interface RedisServerBinary {
  /** Absolute. */
  readonly path: string;
  readonly kind: "redis-server" | "valkey-server";
  /** As it says itself, e.g. "7.0.15". */
  readonly version: string;
}

/** Streams are read with XAUTOCLAIM, which came with 6.2. */
const OLDEST = [6, 2] as const;

/** The first redis-server or valkey-server on `path` that is new enough (6.2), or null. */
export function findRedisServer(path: string = process.env["PATH"] ?? ""): RedisServerBinary | null {
  for (const kind of ["redis-server", "valkey-server"] as const) {
    for (const folder of path.split(delimiter).filter((part) => part.startsWith("/"))) {
      const file = join(folder, kind);
      const version = isProgram(file) ? versionOf(file) : null;
      if (version !== null && isNewEnough(version)) return { path: file, kind, version };
    }
  }
  return null;
}

/** What `--version` prints reads "Redis server v=7.0.15 sha=…", or the same with "Valkey". */
export function parseRedisVersion(line: string): string | null {
  return /\bv=(\d+(?:\.\d+)+)/.exec(line)?.[1] ?? null;
}

function isNewEnough(version: string): boolean {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  return major > OLDEST[0] || (major === OLDEST[0] && minor >= OLDEST[1]);
}

function versionOf(file: string): string | null {
  const answer = spawnSync(file, ["--version"], { encoding: "utf8", timeout: 5_000, env: cleanEnvironment() });
  return answer.status === 0 ? parseRedisVersion(answer.stdout) : null;
}

function isProgram(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return statSync(file).isFile();
  } catch {
    return false;
  }
}
