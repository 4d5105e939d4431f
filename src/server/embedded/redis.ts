// The embedded Redis: a redis-server or valkey-server that this machine has anyway, run privately for one data directory.
//   R1. One living owner per data directory, adoption after a killed owner, and an end by the owner only: as for PostgreSQL (P1–P3, P5 in postgres.ts).
//   R2. Private: 127.0.0.1 only, with a random password that is handed over on standard input and shows in no process list.
//   R3. Nothing here is the only copy of a fact. It appends to disk every second so that a restart is cheap; data it cannot read is set aside and it starts empty.
import { chownSync, existsSync, mkdirSync, readlinkSync, realpathSync, renameSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { acquireDirectoryLock } from "../../directory-lock.js";
import { EmbeddedStoreError, type EmbeddedStoreLog } from "./embedded-store-error.js";
import { identifyProcess, isAlive, type ProcessIdentity } from "../../process-identity.js";
import { findRedisServer, type RedisServerBinary } from "./redis-binary.js";
import { askRedis } from "./redis-greeting.js";
import { nameOfWorkingFolder, serverAccount, unreachableBecauseOf, type ServerAccount } from "./server-account.js";
import { endProcess, freePort, lastLines, pollUntil, readIfThere, startDetached, type StartedServer } from "./server-process.js";
import { createStore, storedPassword } from "./store-directory.js";

/** Time a start may take, in milliseconds: mostly reading the append-only file. */
const START_DEADLINE_MS = 30_000;
const START_ATTEMPTS = 5;

export interface EmbeddedRedisOptions {
  /** The data directory of trainyard; Redis keeps its files in the folder `redis` there. Created when missing. */
  readonly dataDir: string;
  readonly log: EmbeddedStoreLog;
  /** The server program; by default the one on PATH. */
  readonly binary?: RedisServerBinary;
}

export interface EmbeddedRedis {
  /** For `REDIS_URL`. */
  readonly url: string;
  readonly pid: number;
  /** True when it was already running, left by a killed owner. */
  readonly adopted: boolean;
  /** Ends it and waits for the exit. Harmless when repeated, or when it is gone. */
  stop(): Promise<void>;
}

interface RunningRedis {
  readonly identity: ProcessIdentity;
  readonly port: number;
}

/** Starts or adopts the Redis of a data directory; null when this machine has none. Throws EmbeddedStoreError. */
export async function startEmbeddedRedis(options: EmbeddedRedisOptions): Promise<EmbeddedRedis | null> {
  const dataDir = resolve(options.dataDir);
  const binary = options.binary ?? findRedisServer();
  if (binary === null) return null;

  const files = redisFiles(dataDir);
  const account = usableAccount(binary, dataDir, files);
  createStore(dataDir, files.store, account);
  const owner = await acquireDirectoryLock(files.owner);
  if (owner.kind === "refused") {
    throw new EmbeddedStoreError(
      "EMBEDDED_STORE_IN_USE",
      `The Redis of data directory ${dataDir} is used by process ${owner.holder.pid}. Stop that one first, or give this one a data directory of its own.`,
      { dataDir, pid: owner.holder.pid },
    );
  }
  try {
    const password = storedPassword(files.password, null);
    const adopted = await adopt(files, password, options.log);
    const running = adopted ?? (await start(binary, files, account, password, options.log));
    let stopping: Promise<void> | null = null;
    return {
      url: `redis://:${password}@127.0.0.1:${running.port}`,
      pid: running.identity.pid,
      adopted: adopted !== null,
      stop: () => (stopping ??= stopRedis(running.identity, options.log).finally(() => owner.lock.release())),
    };
  } catch (error) {
    owner.lock.release();
    throw error;
  }
}

interface RedisFiles {
  readonly store: string;
  readonly data: string;
  readonly password: string;
  readonly owner: string;
  readonly log: string;
  /** Process and port of the running server. */
  readonly running: string;
}

function redisFiles(dataDir: string): RedisFiles {
  const store = join(dataDir, "redis");
  return { store, data: join(store, "data"), password: join(store, "password"), owner: join(store, "owner.lock"), log: join(store, "redis.log"), running: join(store, "running.json") };
}

/** Root gives Redis away like Postgres; but Redis also runs as root, so where the account cannot get at the program or the folder, it does. */
function usableAccount(binary: RedisServerBinary, dataDir: string, files: RedisFiles): ServerAccount {
  const account = serverAccount(dataDir, files.data);
  if (account === null || unreachableBecauseOf(binary.path, account) !== null) return null;
  return process.platform === "linux" || (existsSync(dataDir) && nameOfWorkingFolder(dataDir, account) !== null) ? account : null;
}

async function adopt(files: RedisFiles, password: string, log: EmbeddedStoreLog): Promise<RunningRedis | null> {
  const noted = readRunning(files);
  if (noted === null || !isAlive(noted.identity) || !standsIn(noted.identity.pid, files.data)) return null;
  let answer = await askRedis(noted.port, password);
  if (answer === "loading") {
    await pollUntil(async () => (answer = await askRedis(noted.port, password)) !== "loading", START_DEADLINE_MS);
  }
  if (answer === "ready") {
    log.info({ pid: noted.identity.pid, port: noted.port }, "embedded Redis adopted from a killed owner");
    return noted;
  }
  // It holds no fact that is not in Postgres (R3): one that hangs or refuses us is ended and replaced.
  log.warn({ pid: noted.identity.pid, port: noted.port, answer }, "a Redis left by a killed owner does not answer as ours; it is replaced");
  await endProcess(noted.identity, [{ signal: "SIGKILL", patienceMs: 10_000 }]);
  return null;
}

async function start(binary: RedisServerBinary, files: RedisFiles, account: ServerAccount, password: string, log: EmbeddedStoreLog): Promise<RunningRedis> {
  const startedAt = performance.now();
  let preferred = readRunning(files)?.port ?? null;
  for (let attempt = 1; ; attempt++) {
    const port = await freePort(preferred);
    makeDataFolder(files, account);
    const server = await startDetached({ binary: binary.path, args: ["-"], folder: files.data, account, logFile: files.log, input: configuration(port, password) });
    const running = { identity: server.identity, port };
    noteRunning(files, running); // before it is ready: whoever is killed now leaves a server that the next start finds
    if (await becomesReady(running, password, server)) {
      log.info({ pid: running.identity.pid, port, server: binary.kind, version: binary.version, tookMs: Math.round(performance.now() - startedAt) }, "embedded Redis is ready");
      return running;
    }
    const output = server.output();
    if (attempt === START_ATTEMPTS) {
      throw new EmbeddedStoreError("EMBEDDED_START_FAILED", `${binary.path} did not start on ${files.data}. The end of ${files.log}:\n${lastLines(output)}\nSet REDIS_URL to a Redis of your own, or TRAINYARD_REDIS=off to go on without.`, { folder: files.data, log: files.log });
    }
    preferred = null;
    if (/Address already in use|Failed listening/.test(output)) {
      log.warn({ port }, "the port was taken in between");
    } else if (attempt === 1) {
      const aside = `${files.data}.unreadable-${new Date().toISOString().replaceAll(":", "")}`;
      renameSync(files.data, aside);
      log.warn({ aside, said: lastLines(output) }, "Redis cannot use its data; it starts empty and is filled again from Postgres");
    } else {
      attempt = START_ATTEMPTS - 1; // an empty folder did not help: one more try for the message, then give up
    }
  }
}

/** False when the process ended instead, or answers wrongly; such a one is ended. */
async function becomesReady(running: RunningRedis, password: string, server: StartedServer): Promise<boolean> {
  let ready = false;
  await pollUntil(async () => {
    if (!isAlive(running.identity)) return true;
    return (ready = (await askRedis(running.port, password)) === "ready" && isAlive(running.identity) && !/Failed listening/.test(server.output()));
  }, START_DEADLINE_MS);
  if (!ready) await endProcess(running.identity, [{ signal: "SIGKILL", patienceMs: 10_000 }]);
  return ready;
}

function configuration(port: number, password: string): string {
  return [
    "bind 127.0.0.1",
    "protected-mode yes",
    `port ${port}`,
    `requirepass ${password}`,
    "daemonize no",
    "dir ./",
    "appendonly yes",
    "appendfsync everysec",
    'save ""',
    "maxmemory-policy noeviction", // a full memory must refuse writes loudly, never drop assignments
    "timeout 0",
    "tcp-keepalive 60",
    'logfile ""',
    "",
  ].join("\n");
}

function makeDataFolder(files: RedisFiles, account: ServerAccount): void {
  if (existsSync(files.data)) return;
  mkdirSync(files.data, { mode: 0o700 });
  if (account !== null) chownSync(files.data, account.uid, account.gid);
}

async function stopRedis(identity: ProcessIdentity, log: EmbeddedStoreLog): Promise<void> {
  const startedAt = performance.now();
  await endProcess(identity, [
    { signal: "SIGTERM", patienceMs: 15_000 },
    { signal: "SIGKILL", patienceMs: 10_000 }, // at most the last second of appends is lost (R3)
  ]);
  log.info({ pid: identity.pid, tookMs: Math.round(performance.now() - startedAt) }, "embedded Redis stopped");
}

function readRunning(files: RedisFiles): RunningRedis | null {
  try {
    const text = readIfThere(files.running);
    return text === null ? null : (JSON.parse(text) as RunningRedis);
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}

function noteRunning(files: RedisFiles, running: RunningRedis): void {
  writeFileSync(`${files.running}.new`, JSON.stringify(running), { mode: 0o600 });
  renameSync(`${files.running}.new`, files.running);
}

/** Redis stands in its `dir`. Elsewhere than on Linux the start time in the note has to do. */
function standsIn(pid: number, data: string): boolean {
  if (process.platform !== "linux") return identifyProcess(pid) !== null;
  try {
    return readlinkSync(`/proc/${pid}/cwd`) === realpathSync(data);
  } catch {
    return false;
  }
}
