import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createClient } from "redis";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { identifyProcess } from "../../../src/process-identity.js";
import { findRedisServer, parseRedisVersion } from "../../../src/server/embedded/redis-binary.js";
import { askRedis } from "../../../src/server/embedded/redis-greeting.js";
import { startEmbeddedRedis } from "../../../src/server/embedded/redis.js";
import { redisIsHere, startOwnRedis, testRedis } from "../../support/redis.js";
import { processesBelow } from "../../support/processes.js";
import { openYard, ordinary, ordinaryCanRun, weAreRoot, type Yard } from "./owners.js";

let yard: Yard;
beforeAll(async () => {
  yard = await openYard();
});
afterAll(() => yard.close());

test("a machine without Redis has none, and that is no error", async () => {
  expect(findRedisServer("")).toBeNull();
  expect(findRedisServer(yard.folder)).toBeNull();
});

test("a program too old for XAUTOCLAIM is passed over for the next one", () => {
  const old = program("old", "redis-server", "Redis server v=6.0.16 sha=00000000:0 malloc=jemalloc-5.2.1 bits=64 build=0");
  const newer = program("newer", "valkey-server", "Valkey server v=8.1.1 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=0");
  expect(findRedisServer(old)).toBeNull();
  expect(findRedisServer(`${old}:${newer}`)).toEqual({ path: join(newer, "valkey-server"), kind: "valkey-server", version: "8.1.1" });
  expect(parseRedisVersion("not a Redis")).toBeNull();
});

describe.runIf(redisIsHere).each([
  { who: "root", account: undefined, here: weAreRoot },
  { who: "an ordinary user", account: ordinary, here: ordinaryCanRun },
])("under $who", ({ account, here }) => {
  test.runIf(here)("it is private to its password, appends to disk, never evicts, and does not run as root", async () => {
    const dataDir = yard.dataDir(account);
    const owner = await yard.own({ store: "redis", dataDir }, account);
    const port = Number(new URL(owner.facts.url).port);
    expect(await askRedis(port, "guess")).toBe("refused");
    expect(await settings(owner.facts.url, ["appendonly", "appendfsync", "maxmemory-policy", "bind", "save"])).toEqual({ appendonly: "yes", appendfsync: "everysec", "maxmemory-policy": "noeviction", bind: "127.0.0.1", save: "" });
    expect(statSync(join(dataDir, "redis", "password")).mode & 0o777).toBe(0o600);
    if (process.platform === "linux") {
      expect(statSync(`/proc/${owner.facts.pid}`).uid).not.toBe(0);
      expect(readFileSync(`/proc/${owner.facts.pid}/cmdline`, "utf8")).not.toContain(new URL(owner.facts.url).password);
    }
    expect(await owner.stop()).toBe(0);
  });

  test.runIf(here)("a clean stop leaves no process and keeps what was written; the next start has it on the same port", async () => {
    const dataDir = yard.dataDir(account);
    const first = await yard.own({ store: "redis", dataDir }, account);
    await command(first.facts.url, ["XADD", "s", "1-1", "k", "v"]);
    expect(await first.stop()).toBe(0);
    expect(identifyProcess(first.facts.pid)).toBeNull();
    expect(processesBelow(dataDir)).toEqual([]);
    const second = await yard.own({ store: "redis", dataDir }, account);
    expect(second.facts).toMatchObject({ adopted: false, url: first.facts.url });
    expect(await command(second.facts.url, ["XLEN", "s"])).toBe(1);
    expect(await second.stop()).toBe(0);
  });

  test.runIf(here)("it outlives a killed owner and is adopted by the next one, which may stop it", async () => {
    const dataDir = yard.dataDir(account);
    const killed = await yard.own({ store: "redis", dataDir }, account);
    await killed.kill();
    expect(await command(killed.facts.url, ["SET", "k", "v"])).toBe("OK");
    const next = await yard.own({ store: "redis", dataDir }, account);
    expect(next.facts).toMatchObject({ adopted: true, pid: killed.facts.pid, url: killed.facts.url });
    expect(await next.stop()).toBe(0);
    expect(processesBelow(dataDir)).toEqual([]);
  });
});

describe.runIf(redisIsHere)("on this machine", () => {
  test("a second starter is refused by name while the owner lives", async () => {
    const dataDir = yard.dataDir();
    const owner = await yard.own({ store: "redis", dataDir });
    await expect(yard.own({ store: "redis", dataDir })).rejects.toMatchObject({ code: "EMBEDDED_STORE_IN_USE", message: expect.stringContaining(String(owner.process.pid)) as string });
    expect(await owner.stop()).toBe(0);
  });

  test("Ctrl-C in the owner's terminal does not reach it", async () => {
    const owner = await yard.own({ store: "redis", dataDir: yard.dataDir() });
    process.kill(-(owner.process.pid as number), "SIGINT");
    expect(await command(owner.facts.url, ["PING"])).toBe("PONG");
    expect(await owner.stop()).toBe(0);
  });

  test("an orphan that is frozen is replaced, for it holds nothing that Postgres does not", async () => {
    const dataDir = yard.dataDir();
    const killed = await yard.own({ store: "redis", dataDir });
    await killed.kill();
    process.kill(killed.facts.pid, "SIGSTOP");
    const next = await yard.own({ store: "redis", dataDir });
    expect(next.facts.adopted).toBe(false);
    expect(identifyProcess(killed.facts.pid)).toBeNull();
    expect(await command(next.facts.url, ["PING"])).toBe("PONG");
    expect(await next.stop()).toBe(0);
  });

  test("data it cannot read is set aside and it starts empty", async () => {
    const dataDir = yard.dataDir();
    const first = await yard.own({ store: "redis", dataDir });
    await command(first.facts.url, ["SET", "k", "v"]);
    expect(await first.stop()).toBe(0);
    const folder = join(dataDir, "redis", "data", "appendonlydir");
    for (const name of readdirSync(folder)) writeFileSync(join(folder, name), "not an append-only file\n");
    const next = await yard.own({ store: "redis", dataDir });
    expect(await command(next.facts.url, ["GET", "k"])).toBeNull();
    expect(readdirSync(join(dataDir, "redis")).filter((name) => name.startsWith("data.unreadable-"))).toHaveLength(1);
    expect(await next.stop()).toBe(0);
  });

  test("a program that cannot run as a server is reported with what it said", async () => {
    const folder = program("broken", "redis-server", "Redis server v=7.0.0");
    const log = { info: () => undefined, warn: () => undefined };
    await expect(startEmbeddedRedis({ dataDir: yard.dataDir(), log, binary: { path: join(folder, "redis-server"), kind: "redis-server", version: "7.0.0" } })).rejects.toMatchObject({
      code: "EMBEDDED_START_FAILED",
      message: expect.stringMatching(/v=7\.0\.0[^]*REDIS_URL/) as string,
    });
  });

  test("a test's own server can be frozen, killed and restarted under one address", async () => {
    const redis = await startOwnRedis();
    const port = Number(new URL(redis.url).port);
    const password = new URL(redis.url).password;
    redis.freeze();
    expect(await askRedis(port, password)).toBe("silent");
    redis.thaw();
    expect(await askRedis(port, password)).toBe("ready");
    await redis.kill();
    expect(await askRedis(port, password)).toBe("silent");
    await redis.restart();
    expect(await askRedis(port, password)).toBe("ready");
    await redis.stop();
    expect(identifyProcess(redis.pid())).toBeNull();
  });

  test("tests share one server, each with a prefix of its own", async () => {
    const [one, two] = [testRedis(), testRedis()];
    expect(one?.url).toBe(two?.url);
    expect(one?.prefix).not.toBe(two?.prefix);
    expect(await command(one?.url ?? "", ["PING"])).toBe("PONG");
  });
});

function program(folder: string, name: string, says: string): string {
  const path = join(yard.folder, folder);
  mkdirSync(path);
  writeFileSync(join(path, name), `#!/bin/sh\necho "${says}"\n`);
  chmodSync(join(path, name), 0o755);
  return path;
}

async function command(url: string, words: string[]): Promise<unknown> {
  const client = createClient({ url, socket: { reconnectStrategy: false } });
  client.on("error", () => undefined);
  await client.connect();
  try {
    return await client.sendCommand(words);
  } finally {
    client.destroy();
  }
}

async function settings(url: string, names: string[]): Promise<object> {
  const answers = await Promise.all(names.map((name) => command(url, ["CONFIG", "GET", name])));
  return Object.assign({}, ...answers) as object;
}
