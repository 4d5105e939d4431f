import { spawn } from "node:child_process";
import { chmodSync, cpSync, existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { installedNativeDir } from "../../../src/server/embedded/postgres-binaries.js";
import { findEmbeddedPostgres } from "../../../src/server/embedded/postgres.js";
import { identifyProcess } from "../../../src/process-identity.js";
import { processesBelow } from "../../support/processes.js";
import { nameless, openYard, ordinary, ordinaryCanRun, weAreRoot, type Yard } from "./owners.js";

let yard: Yard;
beforeAll(async () => {
  yard = await openYard();
});
afterAll(() => yard.close());

describe.each([
  { who: "root", account: undefined, here: weAreRoot },
  { who: "an ordinary user", account: ordinary, here: ordinaryCanRun },
])("under $who", ({ account, here }) => {
  test.runIf(here)("the first boot makes a UTF8 database in C locale on loopback, with everything a power cut needs switched on", async () => {
    const dataDir = yard.dataDir(account);
    const owner = await yard.own({ store: "postgres", dataDir }, account);
    expect(owner.facts.adopted).toBe(false);
    const [row] = await query(
      owner.facts.url,
      "SELECT current_database() AS name, pg_encoding_to_char(encoding) AS encoding, datcollate, current_setting('server_version_num')::int / 10000 AS major, current_setting('fsync') AS fsync, current_setting('synchronous_commit') AS sync, current_setting('full_page_writes') AS pages, current_setting('listen_addresses') AS listen, current_setting('unix_socket_directories') AS sockets FROM pg_database WHERE datname = current_database()",
    );
    expect(row).toEqual({ name: "trainyard", encoding: "UTF8", datcollate: "C", major: 18, fsync: "on", sync: "on", pages: "on", listen: "127.0.0.1", sockets: "" });
    expect(statSync(join(dataDir, "postgres", "password")).mode & 0o777).toBe(0o600);
    expect(statSync(join(dataDir, "postgres", "data")).mode & 0o777).toBe(0o700);
    if (process.platform === "linux") {
      expect(statSync(`/proc/${owner.facts.pid}`).uid).toBe(account?.uid ?? (weAreRoot ? 65_534 : process.getuid?.()));
      expect(readFileSync(`/proc/${owner.facts.pid}/cmdline`, "utf8")).not.toContain(passwordOf(owner.facts.url));
    }
    expect(await owner.stop()).toBe(0);
  });

  test.runIf(here)("a clean stop leaves no process, and the next boot takes well under half a second and has the rows", async () => {
    const dataDir = yard.dataDir(account);
    const first = await yard.own({ store: "postgres", dataDir }, account);
    await query(first.facts.url, "CREATE TABLE kept (n int); INSERT INTO kept VALUES (7)");
    const held = new pg.Client({ connectionString: first.facts.url }); // an open connection must not hold the stop up
    held.on("error", () => undefined);
    await held.connect();
    expect(await first.stop()).toBe(0);
    expect(identifyProcess(first.facts.pid)).toBeNull();
    expect(processesBelow(dataDir)).toEqual([]);
    expect(existsSync(join(dataDir, "postgres", "owner.lock"))).toBe(false);

    const boots: number[] = [];
    for (let n = 0; n < 3; n++) {
      const next = await yard.own({ store: "postgres", dataDir }, account);
      boots.push(next.facts.tookMs);
      expect(next.facts.url).toBe(first.facts.url);
      expect(await query(next.facts.url, "SELECT n FROM kept")).toEqual([{ n: 7 }]);
      expect(await next.stop()).toBe(0);
    }
    expect(Math.min(...boots)).toBeLessThan(500);
  });

  test.runIf(here)("the postmaster of a killed owner works on and is adopted by the next one, which may stop it", async () => {
    const dataDir = yard.dataDir(account);
    const killed = await yard.own({ store: "postgres", dataDir }, account);
    const client = new pg.Client({ connectionString: killed.facts.url });
    await client.connect();
    await killed.kill();
    await client.query("CREATE TABLE kept AS SELECT 7 AS n");
    const next = await yard.own({ store: "postgres", dataDir }, account);
    expect(next.facts).toMatchObject({ adopted: true, pid: killed.facts.pid, url: killed.facts.url });
    expect((await client.query("SELECT n FROM kept")).rows).toEqual([{ n: 7 }]);
    await client.end();
    expect(await next.stop()).toBe(0);
    expect(processesBelow(dataDir)).toEqual([]);
  });

  test.runIf(here)("library links that install scripts would have made are repaired, or made in a copy where they may not be", async () => {
    const nativeDir = yard.copyNative(yard.folder, false);
    const dataDir = yard.dataDir(account);
    const linksBefore = links(nativeDir);
    expect(linksBefore).toEqual([]);
    const owner = await yard.own({ store: "postgres", dataDir, nativeDir }, account);
    if (account === undefined) {
      expect(links(nativeDir)).toEqual(links(installedNativeDir()));
    } else {
      expect(links(nativeDir)).toEqual([]); // it belongs to root
      expect(readdirSync(join(dataDir, "postgres")).some((name) => name.startsWith("postgresql-18"))).toBe(true);
    }
    expect(await owner.stop()).toBe(0);
  });
});

test.runIf(weAreRoot)("root may keep data and installation below a folder that only root can enter", async () => {
  const home = join(yard.folder, "home-of-root");
  mkdirSync(home, { mode: 0o700 });
  const nativeDir = yard.copyNative(home, true);
  const cacheDir = join(yard.folder, "cache");
  const order = { store: "postgres" as const, dataDir: join(home, "checkout", ".trainyard"), nativeDir, cacheDirs: [join(home, "closed-cache"), cacheDir] };

  const first = await yard.own(order);
  await query(first.facts.url, "CREATE TABLE kept AS SELECT 7 AS n");
  expect(readdirSync(cacheDir)).toHaveLength(1);
  await first.kill();
  const second = await yard.own(order);
  expect(second.facts).toMatchObject({ adopted: true, pid: first.facts.pid });
  expect(await second.stop()).toBe(0);
  const third = await yard.own(order);
  expect(await query(third.facts.url, "SELECT n FROM kept")).toEqual([{ n: 7 }]);
  expect(await third.stop()).toBe(0);
  expect(statSync(home).mode & 0o777).toBe(0o700);
  expect(readdirSync(cacheDir)).toHaveLength(1);

  await expect(yard.own({ ...order, cacheDirs: [join(home, "closed-cache")] })).rejects.toMatchObject({ code: "EMBEDDED_BINARIES_MISSING", message: expect.stringContaining(home) as string });
});

test.runIf(weAreRoot)("root starts the server as the owner of a data directory that is not root's, even one without a name", async () => {
  const dataDir = yard.dataDir(nameless);
  const owner = await yard.own({ store: "postgres", dataDir });
  expect(statSync(join(dataDir, "postgres", "data", "base")).uid).toBe(nameless.uid);
  if (process.platform === "linux") expect(statSync(`/proc/${owner.facts.pid}`).uid).toBe(nameless.uid);
  expect(await query(owner.facts.url, "SELECT 1 AS n")).toEqual([{ n: 1 }]);
  expect(await owner.stop()).toBe(0);
});

test.runIf(weAreRoot && ordinaryCanRun)("a user without a name, who cannot have a cluster made, is told what to do", async () => {
  await expect(yard.own({ store: "postgres", dataDir: yard.dataDir(nameless) }, nameless)).rejects.toMatchObject({ code: "EMBEDDED_START_FAILED", message: expect.stringMatching(/\/etc\/passwd.*DATABASE_URL/) as string });
});

test.runIf(weAreRoot)("a copy of the programs that others could have written is not used", async () => {
  const home = join(yard.folder, "second-home-of-root");
  mkdirSync(home, { mode: 0o700 });
  const nativeDir = yard.copyNative(home, true);
  const open = join(yard.folder, "open-cache");
  mkdirSync(open);
  chmodSync(open, 0o777);
  await expect(yard.own({ store: "postgres", dataDir: join(home, "data"), nativeDir, cacheDirs: [open] })).rejects.toMatchObject({ code: "EMBEDDED_BINARIES_MISSING" });
  expect(readdirSync(open)).toEqual([]);
});

test("Ctrl-C in the owner's terminal does not reach the postmaster", async () => {
  const owner = await yard.own({ store: "postgres", dataDir: yard.dataDir() });
  process.kill(-(owner.process.pid as number), "SIGINT");
  expect(await query(owner.facts.url, "SELECT pg_postmaster_start_time() IS NOT NULL AS up")).toEqual([{ up: true }]);
  expect(identifyProcess(owner.facts.pid)).not.toBeNull();
  expect(await owner.stop()).toBe(0);
});

test("a second starter is refused by name while the owner lives, and a command beside it finds the database", async () => {
  const dataDir = yard.dataDir();
  expect(await findEmbeddedPostgres(dataDir)).toBeNull();
  const owner = await yard.own({ store: "postgres", dataDir });
  await expect(yard.own({ store: "postgres", dataDir })).rejects.toMatchObject({ code: "EMBEDDED_STORE_IN_USE", message: expect.stringContaining(String(owner.process.pid)) as string });
  expect(await findEmbeddedPostgres(dataDir)).toEqual({ url: owner.facts.url, pid: owner.facts.pid });
  expect(await query(owner.facts.url, "SELECT 1 AS n")).toEqual([{ n: 1 }]);
  expect(await owner.stop()).toBe(0);
  expect(await findEmbeddedPostgres(dataDir)).toBeNull();
});

test("of starters at the same moment on a new directory, one gets the database and the others its name", async () => {
  const dataDir = yard.dataDir();
  const outcomes = await Promise.allSettled(Array.from({ length: 4 }, () => yard.own({ store: "postgres", dataDir })));
  const won = outcomes.flatMap((outcome) => (outcome.status === "fulfilled" ? [outcome.value] : []));
  const lost = outcomes.flatMap((outcome) => (outcome.status === "rejected" ? [(outcome.reason as { code: string }).code] : []));
  expect(won).toHaveLength(1);
  expect(lost).toEqual(["EMBEDDED_STORE_IN_USE", "EMBEDDED_STORE_IN_USE", "EMBEDDED_STORE_IN_USE"]);
  expect(await won[0]?.stop()).toBe(0);
});

test("after the postmaster itself was killed, committed rows come back and half a transaction does not", async () => {
  const dataDir = yard.dataDir();
  const first = await yard.own({ store: "postgres", dataDir });
  await query(first.facts.url, "CREATE TABLE kept (n int); INSERT INTO kept VALUES (7)");
  const open = new pg.Client({ connectionString: first.facts.url });
  open.on("error", () => undefined);
  await open.connect();
  await open.query("BEGIN");
  await open.query("INSERT INTO kept VALUES (8)");
  process.kill(first.facts.pid, "SIGKILL");
  await first.kill();
  const next = await yard.own({ store: "postgres", dataDir });
  expect(next.facts.adopted).toBe(false);
  expect(await query(next.facts.url, "SELECT n FROM kept")).toEqual([{ n: 7 }]);
  expect(await next.stop()).toBe(0);
});

test("a pid file of a dead process, or of a living stranger, does not keep the database from starting", async () => {
  const dataDir = yard.dataDir();
  const first = await yard.own({ store: "postgres", dataDir });
  const pidFile = join(dataDir, "postgres", "data", "postmaster.pid");
  const written = readFileSync(pidFile, "utf8");
  expect(await first.stop()).toBe(0);
  // A stranger under the very account of the server: the one case that Postgres alone would take for a rival.
  const stranger = spawn("sleep", ["600"], { stdio: "ignore", ...(weAreRoot ? { uid: 65_534, gid: 65_534 } : {}) });
  try {
    for (const pid of [first.facts.pid, stranger.pid, 1]) {
      writeFileSync(pidFile, written.replace(/^\d+/, String(pid)));
      const next = await yard.own({ store: "postgres", dataDir });
      expect(next.facts.adopted).toBe(false);
      expect(await next.stop()).toBe(0);
    }
    expect(stranger.exitCode).toBeNull();
  } finally {
    stranger.kill();
  }
});

test("a running server that refuses the stored password is named and left alone", async () => {
  const dataDir = yard.dataDir();
  const killed = await yard.own({ store: "postgres", dataDir });
  await killed.kill();
  const file = join(dataDir, "postgres", "password");
  const password = readFileSync(file);
  writeFileSync(file, "not this one\n");
  await expect(yard.own({ store: "postgres", dataDir })).rejects.toMatchObject({ code: "EMBEDDED_PASSWORD_REFUSED", message: expect.stringContaining(String(killed.facts.pid)) as string });
  expect(await query(killed.facts.url, "SELECT 1 AS n")).toEqual([{ n: 1 }]);
  rmSync(file);
  await expect(yard.own({ store: "postgres", dataDir })).rejects.toMatchObject({ code: "EMBEDDED_PASSWORD_REFUSED", message: expect.stringContaining(file) as string });
  writeFileSync(file, password, { mode: 0o600 });
  const next = await yard.own({ store: "postgres", dataDir });
  expect(next.facts.pid).toBe(killed.facts.pid);
  expect(await next.stop()).toBe(0);
});

test.runIf(process.platform === "linux")("a copied data directory starts a server of its own instead of adopting the original's", async () => {
  const dataDir = yard.dataDir();
  const killed = await yard.own({ store: "postgres", dataDir });
  await query(killed.facts.url, "CHECKPOINT");
  await killed.kill();
  const copy = yard.dataDir();
  cpSync(dataDir, copy, { recursive: true, preserveTimestamps: true });
  if (weAreRoot) await run("chown", ["-R", "65534:65534", join(copy, "postgres", "data")]);
  const beside = await yard.own({ store: "postgres", dataDir: copy });
  expect(beside.facts.adopted).toBe(false);
  expect(beside.facts.pid).not.toBe(killed.facts.pid);
  expect(await query(killed.facts.url, "SELECT 1 AS n")).toEqual([{ n: 1 }]);
  expect(await beside.stop()).toBe(0);
  const original = await yard.own({ store: "postgres", dataDir });
  expect(original.facts.adopted).toBe(true);
  expect(await original.stop()).toBe(0);
});

test("half a cluster, left by a killed first boot, is made anew", async () => {
  const dataDir = yard.dataDir();
  mkdirSync(join(dataDir, "postgres", "unfinished-0a1b2c3d", "base"), { recursive: true });
  writeFileSync(join(dataDir, "postgres", "unfinished-0a1b2c3d-password"), "left\n");
  const owner = await yard.own({ store: "postgres", dataDir });
  expect(await query(owner.facts.url, "SELECT 1 AS n")).toEqual([{ n: 1 }]);
  expect(readdirSync(join(dataDir, "postgres")).filter((name) => name.startsWith("unfinished"))).toEqual([]);
  expect(await owner.stop()).toBe(0);
});

test("an owner killed at any moment of the first boot leaves something the next start can work with", { timeout: 120_000 }, async () => { // ten first boots
  for (const afterMs of [150, 300, 450, 600, 750]) {
    const dataDir = yard.dataDir();
    await yard.killedAfter({ store: "postgres", dataDir }, afterMs);
    const next = await yard.own({ store: "postgres", dataDir });
    expect(await query(next.facts.url, "SELECT datcollate FROM pg_database WHERE datname = current_database()")).toEqual([{ datcollate: "C" }]);
    expect(await next.stop()).toBe(0);
  }
});

test("a server that cannot start is reported with the last lines of its log", async () => {
  const dataDir = yard.dataDir();
  const owner = await yard.own({ store: "postgres", dataDir });
  expect(await owner.stop()).toBe(0);
  writeFileSync(join(dataDir, "postgres", "data", "postgresql.auto.conf"), "work_mem = 'a lot'\n");
  await expect(yard.own({ store: "postgres", dataDir })).rejects.toMatchObject({ code: "EMBEDDED_START_FAILED", message: expect.stringContaining("work_mem") as string });
  expect(processesBelow(dataDir)).toEqual([]);
  expect(existsSync(join(dataDir, "postgres", "owner.lock"))).toBe(false);
});

test("data of another major version is refused before anything touches it", async () => {
  const dataDir = yard.dataDir();
  mkdirSync(join(dataDir, "postgres", "data"), { recursive: true });
  writeFileSync(join(dataDir, "postgres", "password"), "known\n");
  writeFileSync(join(dataDir, "postgres", "data", "PG_VERSION"), "17\n");
  await expect(yard.own({ store: "postgres", dataDir })).rejects.toMatchObject({ code: "EMBEDDED_VERSION_MISMATCH", message: expect.stringContaining("PostgreSQL 17") as string });
  expect(readdirSync(join(dataDir, "postgres", "data"))).toEqual(["PG_VERSION"]);
});

test("nobody reaches it from another address of this machine, or without the password", async () => {
  const owner = await yard.own({ store: "postgres", dataDir: yard.dataDir() });
  const url = new URL(owner.facts.url);
  const others = Object.values(networkInterfaces()).flatMap((list) => (list ?? []).filter((entry) => entry.family === "IPv4" && !entry.internal));
  for (const { address } of others) expect(await canConnect(address, Number(url.port))).toBe(false);
  expect(await canConnect("127.0.0.1", Number(url.port))).toBe(true);
  url.password = "guess";
  await expect(query(url.href, "SELECT 1")).rejects.toMatchObject({ code: "28P01" });
  expect(await owner.stop()).toBe(0);
});

test("a platform without binaries is named, with the way out", () => {
  expect(() => installedNativeDir("win32", "x64")).toThrow(/win32-x64.*DATABASE_URL/);
  expect(() => installedNativeDir("linux", "ppc64")).toThrow(expect.objectContaining({ code: "EMBEDDED_PLATFORM_UNSUPPORTED" }));
});

async function query(url: string, sql: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query(sql)).rows;
  } finally {
    await client.end();
  }
}

function links(nativeDir: string): string[] {
  return readdirSync(join(nativeDir, "lib")).filter((name) => lstatSync(join(nativeDir, "lib", name)).isSymbolicLink()).sort();
}

function passwordOf(url: string): string {
  return new URL(url).password;
}

function canConnect(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: 2_000 });
    const end = (reached: boolean) => {
      socket.destroy();
      resolve(reached);
    };
    socket.once("connect", () => end(true)).once("error", () => end(false)).once("timeout", () => end(false));
  });
}

function run(program: string, args: string[]): Promise<void> {
  return new Promise((resolve, reject) => {
    spawn(program, args, { stdio: "ignore" }).once("exit", (code) => (code === 0 ? resolve() : reject(new Error(`${program} ended with ${code}`))));
  });
}
