// Redis for tests: a prefix on the shared server for the many, a server of one's own for those that hurt it.
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { inject } from "vitest";
import { findRedisServer } from "../../src/server/embedded/redis-binary.js";
import { startEmbeddedRedis, type EmbeddedRedis } from "../../src/server/embedded/redis.js";
import { pollUntil } from "../../src/server/embedded/server-process.js";
import { identifyProcess } from "../../src/process-identity.js";

/** For `test.skipIf(!redisIsHere)`: the global setup has said aloud that these tests do not run. */
export const redisIsHere = findRedisServer() !== null;

/** The shared server and a key prefix nobody else has; null where this machine has no Redis. Never FLUSHALL, freeze or stop this one. */
export function testRedis(): { url: string; prefix: string } | null {
  const url = inject("redisUrl");
  return url === null ? null : { url, prefix: `t${randomBytes(6).toString("hex")}` };
}

export interface OwnRedis {
  /** Stays the same over restarts. */
  readonly url: string;
  pid(): number;
  /** It keeps its connections and answers nothing (SIGSTOP). */
  freeze(): void;
  thaw(): void;
  /** SIGKILL; resolves when it is gone. */
  kill(): Promise<void>;
  /** Starts it again after kill(), on the same port with the data it had on disk. */
  restart(): Promise<void>;
  /** Ends it and removes its files. */
  stop(): Promise<void>;
}

/** A server of this test's own. Call only where `redisIsHere`. */
export async function startOwnRedis(): Promise<OwnRedis> {
  const dataDir = mkdtempSync(join(inject("runFolder"), "redis-"));
  const log = { info: () => undefined, warn: () => undefined };
  const start = async (): Promise<EmbeddedRedis> => {
    const redis = await startEmbeddedRedis({ dataDir, log });
    if (redis === null) throw new Error("no redis-server or valkey-server on PATH; guard this test with redisIsHere");
    return redis;
  };
  let redis = await start();
  const url = redis.url;
  return {
    url,
    pid: () => redis.pid,
    freeze: () => void process.kill(redis.pid, "SIGSTOP"),
    thaw: () => void process.kill(redis.pid, "SIGCONT"),
    async kill() {
      process.kill(redis.pid, "SIGKILL");
      await pollUntil(() => identifyProcess(redis.pid) === null, 5_000);
      await redis.stop(); // gives the directory back
    },
    async restart() {
      redis = await start();
      if (redis.url !== url) throw new Error(`another program took the port of ${url} meanwhile`);
    },
    async stop() {
      if (identifyProcess(redis.pid) !== null) process.kill(redis.pid, "SIGCONT");
      await redis.stop();
      rmSync(dataDir, { recursive: true, force: true });
    },
  };
}
