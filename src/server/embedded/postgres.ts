// The embedded PostgreSQL: one real postmaster per data directory, started when nobody gave us a database.
//   P1. One living owner per data directory (owner.lock); a second starter is refused by name, never let in.
//   P2. The postmaster outlives a killed owner, and the next owner adopts it: the same commits, no recovery, no second server on the same files.
//   P3. It is ours only if it stands in this very data directory and accepts the password stored beside it.
//   P4. It listens on 127.0.0.1 only, and every connection needs the password.
//   P5. Only its owner stops it, and only that process.
import { existsSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import pg from "pg";
import { acquireDirectoryLock } from "../../directory-lock.js";
import { EmbeddedStoreError, type EmbeddedStoreLog } from "./embedded-store-error.js";
import { defaultCacheDirs, installedNativeDir, preparePostgresBinaries, type PostgresBinaries } from "./postgres-binaries.js";
import { disownPidFile, ensureCluster, findPostmaster, POSTGRES_NAME, postgresFiles, workingFolderName, type PostgresFiles, type RunningPostmaster } from "./postgres-cluster.js";
import { isAlive, type ProcessIdentity } from "../../process-identity.js";
import { serverAccount, type ServerAccount } from "./server-account.js";
import { endProcess, freePort, lastLines, pollUntil, readIfThere, startDetached } from "./server-process.js";
import { createStore, storedPassword } from "./store-directory.js";

/** Time a start may take until connections are accepted, in milliseconds. Recovery after a crash replays at most a few hundred MB of log. */
const START_DEADLINE_MS = 60_000;
/** Time one connection attempt may take, in milliseconds. */
const CONNECT_TIMEOUT_MS = 5_000;
/** Starts tried while the port was taken in between, or backends of a killed postmaster still held the data. */
const START_ATTEMPTS = 8;
/** A fast shutdown writes one checkpoint; after this, in milliseconds, the next start recovers instead. */
const FAST_SHUTDOWN_MS = 60_000;

export interface EmbeddedPostgresOptions {
  /** The data directory of trainyard; the cluster lies in its folder `postgres`. Created when missing. */
  readonly dataDir: string;
  readonly log: EmbeddedStoreLog;
  /** "none" gives up all that a power cut would need, for databases that live as long as a test run. Default "full". */
  readonly durability?: "full" | "none";
  /** Default 60. */
  readonly maxConnections?: number;
  /** Where the binaries lie, when not in node_modules. */
  readonly nativeDir?: string;
  /** Where a copy of the binaries may go when the server's account cannot reach them. */
  readonly cacheDirs?: readonly string[];
}

export interface EmbeddedPostgres {
  /** For `DATABASE_URL`: database `trainyard`, UTF8, C locale. */
  readonly url: string;
  readonly pid: number;
  /** True when the postmaster was already running, left by a killed owner. */
  readonly adopted: boolean;
  /** Fast shutdown, then waits for the exit. Open transactions are rolled back. Harmless when repeated. */
  stop(): Promise<void>;
}

/** Starts or adopts the PostgreSQL of a data directory. Throws EmbeddedStoreError; nothing is left running then that was not running before. */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const dataDir = resolve(options.dataDir);
  const files = postgresFiles(dataDir);
  const account = serverAccount(dataDir, files.data);
  createStore(dataDir, files.store, account);
  const owner = await acquireDirectoryLock(files.owner);
  if (owner.kind === "refused") {
    throw new EmbeddedStoreError(
      "EMBEDDED_STORE_IN_USE",
      `The data directory ${dataDir} is used by process ${owner.holder.pid}. Stop that one first, or give this one a data directory of its own.`,
      { dataDir, pid: owner.holder.pid },
    );
  }
  try {
    const password = storedPassword(files.password, files.data);
    const adopted = await adopt(files, password, options.log);
    const running = adopted ?? (await start(files, account, password, options));
    let stopping: Promise<void> | null = null;
    return {
      url: urlOf(running.port, password),
      pid: running.identity.pid,
      adopted: adopted !== null,
      stop: () => (stopping ??= stopPostmaster(running.identity, options.log).finally(() => owner.lock.release())),
    };
  } catch (error) {
    owner.lock.release();
    throw error;
  }
}

/** The running PostgreSQL of a data directory, for a command that works beside its owner. Null when none runs. */
export async function findEmbeddedPostgres(dataDir: string): Promise<{ url: string; pid: number } | null> {
  const files = postgresFiles(resolve(dataDir));
  const running = findPostmaster(files.data);
  const password = readIfThere(files.password)?.trim();
  if (typeof running === "string" || !running.ready || password === undefined) return null;
  const url = urlOf(running.port, password);
  return (await greet(url)) === "welcome" ? { url, pid: running.identity.pid } : null;
}

/** P2, P3: null when there is nothing to adopt. */
async function adopt(files: PostgresFiles, password: string, log: EmbeddedStoreLog): Promise<RunningPostmaster | null> {
  const found = findPostmaster(files.data);
  if (typeof found === "string") {
    if (found === "foreign") log.warn({ file: `${files.data}/postmaster.pid` }, "the pid file of PostgreSQL names another program: left by a crash");
    if (found !== "none") disownPidFile(files.data);
    return null;
  }
  const ready = await waitUntilReady(files, found.identity);
  if (ready === null) return null; // it was on its way out
  const url = urlOf(ready.port, password);
  const answer = await greet(url);
  if (answer === "refused") {
    throw new EmbeddedStoreError(
      "EMBEDDED_PASSWORD_REFUSED",
      `PostgreSQL process ${ready.identity.pid} runs on ${files.data} but refuses the password in ${files.password}. Put the right password file back, or stop that process with SIGINT and look whose it is.`,
      { pid: ready.identity.pid, file: files.password },
    );
  }
  if (answer === "no database") await createDatabase(url);
  log.info({ pid: ready.identity.pid, port: ready.port }, "embedded PostgreSQL adopted from a killed owner");
  return ready;
}

async function start(files: PostgresFiles, account: ServerAccount, password: string, options: EmbeddedPostgresOptions): Promise<RunningPostmaster> {
  const startedAt = performance.now();
  const nativeDir = options.nativeDir ?? installedNativeDir();
  const cacheDirs = options.cacheDirs ?? defaultCacheDirs(files.store);
  const binaries = preparePostgresBinaries({ nativeDir, account, cacheDirs, log: options.log });
  const durable = options.durability !== "none";
  const initialised = await ensureCluster(files, binaries, account, password, durable);
  const running = await startPostmaster(files, account, binaries, options);
  try {
    const url = urlOf(running.port, password);
    const answer = await greet(url);
    if (answer === "refused") {
      throw new EmbeddedStoreError("EMBEDDED_PASSWORD_REFUSED", `PostgreSQL on ${files.data} refuses the password in ${files.password}. Put the file back that belongs to this data.`, { file: files.password });
    }
    if (answer === "no database") await createDatabase(url);
    writeFileSync(files.port, `${running.port}\n`, { mode: 0o600 });
  } catch (error) {
    await stopPostmaster(running.identity, options.log);
    throw error;
  }
  options.log.info({ pid: running.identity.pid, port: running.port, initialised, tookMs: Math.round(performance.now() - startedAt) }, "embedded PostgreSQL is ready");
  return running;
}

async function startPostmaster(files: PostgresFiles, account: ServerAccount, binaries: PostgresBinaries, options: EmbeddedPostgresOptions): Promise<RunningPostmaster> {
  const folder = workingFolderName(files.data, account);
  let preferred = lastPort(files);
  for (let attempt = 1; ; attempt++) {
    const port = await freePort(preferred);
    const server = await startDetached({ binary: binaries.postgres, args: ["-D", folder, ...settings(port, options)], folder: files.data, account, logFile: files.log });
    const running = await waitUntilReady(files, server.identity);
    if (running !== null) return running;

    const output = server.output();
    const portTaken = /could not create any TCP\/IP sockets/.test(output);
    const backendsLeft = /pre-existing shared memory block/.test(output);
    if (attempt === START_ATTEMPTS || !(portTaken || backendsLeft)) {
      throw new EmbeddedStoreError("EMBEDDED_START_FAILED", `PostgreSQL did not start on ${files.data}. The end of ${files.log}:\n${lastLines(output)}`, { folder: files.data, log: files.log });
    }
    options.log.warn({ attempt, port }, portTaken ? "the port was taken in between" : "backends of a killed PostgreSQL still hold the data");
    if (portTaken) preferred = null;
    else await pollUntil(() => false, 250 * attempt);
  }
}

/** Null when the process ended instead. Throws EMBEDDED_START_FAILED when it does neither in time; a recovery goes on then, for the next start to adopt. */
async function waitUntilReady(files: PostgresFiles, identity: ProcessIdentity): Promise<RunningPostmaster | null> {
  let ready: RunningPostmaster | null = null;
  const decided = await pollUntil(() => {
    const found = findPostmaster(files.data);
    if (typeof found === "object" && found.ready && found.identity.pid === identity.pid) ready = found;
    return ready !== null || !isAlive(identity);
  }, START_DEADLINE_MS);
  if (decided) return ready;
  throw new EmbeddedStoreError(
    "EMBEDDED_START_FAILED",
    `PostgreSQL process ${identity.pid} on ${files.data} accepts no connections after ${START_DEADLINE_MS / 1000} s (a long recovery, a stopped process, or a slow disk?). It was left to go on; look at ${files.log} and start again.`,
    { pid: identity.pid, log: files.log },
    { retryable: true },
  );
}

/** Settings of a small machine, given at every start so that an upgrade needs no change to files. */
function settings(port: number, options: EmbeddedPostgresOptions): string[] {
  const durable = options.durability !== "none";
  const values: Record<string, string | number> = {
    listen_addresses: "127.0.0.1", // P4
    port,
    unix_socket_directories: "",
    max_connections: options.maxConnections ?? 60,
    shared_buffers: "128MB",
    max_wal_size: "512MB",
    wal_compression: "on",
    jit: "off", // compiling costs more than it saves on short statements
    io_method: "sync", // three processes fewer; this database lives in the page cache
    max_parallel_workers_per_gather: 0,
    timezone: "UTC",
    log_timezone: "UTC",
    log_checkpoints: "off",
    log_line_prefix: "%m [%p] ",
    fsync: durable ? "on" : "off",
    synchronous_commit: durable ? "on" : "off",
    full_page_writes: durable ? "on" : "off",
  };
  return Object.entries(values).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
}

async function stopPostmaster(identity: ProcessIdentity, log: EmbeddedStoreLog): Promise<void> {
  const startedAt = performance.now();
  await endProcess(identity, [
    { signal: "SIGINT", patienceMs: FAST_SHUTDOWN_MS },
    { signal: "SIGQUIT", patienceMs: 10_000 },
  ]);
  log.info({ pid: identity.pid, tookMs: Math.round(performance.now() - startedAt) }, "embedded PostgreSQL stopped");
}

/** What the server says to one connection. Throws UNAVAILABLE-kind errors for anything else it may say. */
async function greet(url: string): Promise<"welcome" | "refused" | "no database"> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: CONNECT_TIMEOUT_MS });
  client.on("error", () => undefined); // a lost connection also rejects what waits on it
  try {
    await client.connect();
    return "welcome";
  } catch (cause) {
    const code = (cause as { code?: string }).code;
    if (code === "28P01" || code === "28000") return "refused";
    if (code === "3D000") return "no database";
    throw new EmbeddedStoreError("EMBEDDED_START_FAILED", `PostgreSQL is up but does not answer: ${cause instanceof Error ? cause.message : String(cause)}. Start again; if it stays so, look at postgres.log.`, {}, { cause, retryable: true });
  } finally {
    await client.end().catch(() => undefined);
  }
}

async function createDatabase(url: string): Promise<void> {
  const admin = new URL(url);
  admin.pathname = "/postgres";
  const client = new pg.Client({ connectionString: admin.href, connectionTimeoutMillis: CONNECT_TIMEOUT_MS });
  client.on("error", () => undefined);
  await client.connect();
  try {
    await client.query(`CREATE DATABASE ${POSTGRES_NAME}`);
  } finally {
    await client.end();
  }
}

function urlOf(port: number, password: string): string {
  return `postgres://${POSTGRES_NAME}:${password}@127.0.0.1:${port}/${POSTGRES_NAME}`;
}

/** The port of the last start: whoever noted it finds the server there again. */
function lastPort(files: PostgresFiles): number | null {
  const port = existsSync(files.port) ? Number(readIfThere(files.port)) : NaN;
  return Number.isInteger(port) && port > 0 && port < 65_536 ? port : null;
}
