// Everything of one data directory: the stores, the control plane, one agent, and the agents for SSH hosts when there are any; each kept running, on the loopback interface only.
//   U1. One `up` per directory (up.lock); a second one is refused by name. One that is stopping is waited for.
//   U2. Whatever the last one left is adopted (stores, programs) or ended (control plane, agent) before ours start.
//   U3. Order of the end: agents, control plane, Redis, PostgreSQL; nobody loses what it writes to.
//   U4. Ready means: GraphQL answers, the token works, and the agent has had AGENT_PATIENCE_MS to report in.
//   U5. The agents for SSH hosts are one process more. It is started when the first host has been added, and nobody waits for it.
import { mkdirSync } from "node:fs";
import { resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { openDatabase } from "../../db/database.js";
import { migrate } from "../../db/migrator.js";
import { packagePath } from "../../package-root.js";
import { acquireDirectoryLock, type DirectoryLock } from "../../directory-lock.js";
import { isAlive } from "../../process-identity.js";
import type { EmbeddedStoreLog } from "../../server/embedded/embedded-store-error.js";
import { createApiClient, type ApiClient } from "../api/client.js";
import { CliError, EXIT } from "../exit-codes.js";
import { startChild, type Child } from "./child-process.js";
import { agentDirectory, clearStopping, isStopping, lockFile, logFile, noteStopping, readChildren, readServerNote, tokenFile, uploadsDirectory, writeChildren, writeServerNote } from "./data-directory.js";
import { endLeftovers, noteChild } from "./leftovers.js";
import type { StopMode } from "./parent-link.js";
import { anyFreePort, becomesFree, isPortFree } from "./ports.js";
import { startStores, type Stores } from "./stores.js";
import { ensureTokens } from "./tokens.js";

const AGENT_PATIENCE_MS = 5_000;
/** An `up` that is stopping gets this long before the next one gives up, in milliseconds. */
const STOPPING_PATIENCE_MS = 60_000;
/** An `up` that was told to stop a moment ago may not have noticed yet. */
const NOTICING_MS = 1_000;
/** A port of ours may still be held by a child of the last start. */
const PORT_PATIENCE_MS = 3_000;
/** Interval of looking whether there is an SSH host, in milliseconds. */
const HOST_LOOK_MS = 3_000;
/** Longest orderly end of each, in milliseconds. Programs that are stopped get their own grace period within the agent's. */
const AGENT_STOP_MS: Readonly<Record<StopMode, number>> = { detach: 10_000, drain: 24 * 3_600_000, now: 60_000 };
const SERVER_STOP_MS = 15_000;

export interface StackOptions {
  readonly dataDir: string;
  /** 0: the one of the last start if it is free, else any. */
  readonly port: number;
  readonly agent: boolean;
  /** Inherited by the children; what `up` decides is set over it. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly databaseUrl: string | undefined;
  readonly redisUrl: string | undefined;
  readonly wantsRedis: boolean;
  /** Absolute folders of TRAINYARD_DATA_DIRS; the uploads of the data directory come on top. */
  readonly dataDirs: readonly string[];
  readonly log: EmbeddedStoreLog;
  /** What happened, for the user. */
  say(text: string): void;
}

export interface Stack {
  readonly url: string;
  readonly wsUrl: string;
  readonly token: string;
  readonly dataDir: string;
  readonly kinds: Stores["kinds"];
  /** False when the agent did not report in time; it goes on trying. */
  readonly agentIsUp: boolean;
  readonly api: ApiClient;
  /** U3. Harmless when repeated. `programs`: what becomes of the programs that run. */
  stop(programs: "detach" | "now"): Promise<void>;
  /** A stop under way loses its patience: children are killed, the stores still close properly. */
  hurry(): void;
}

export async function startStack(options: StackOptions): Promise<Stack> {
  const dataDir = resolve(options.dataDir);
  mkdirSync(dataDir, { recursive: true });
  mkdirSync(uploadsDirectory(dataDir), { recursive: true, mode: 0o700 });
  const lock = await ownDirectory(dataDir, options.say);
  const undo: (() => Promise<void> | void)[] = [() => lock.release(), () => clearStopping(dataDir)];
  const unwind = async () => {
    for (const step of undo.splice(0).reverse()) await step();
  };
  try {
    const left = await endLeftovers(dataDir); // U2
    if (left.length > 0) options.say(`Ended what the last start left running: ${left.join(", ")}.`);
    const port = await choosePort(dataDir, options.port);
    const children: Child[] = [];
    const stores = await startStores({ dataDir, databaseUrl: options.databaseUrl, redisUrl: options.redisUrl, wantsRedis: options.wantsRedis, log: options.log }, () => children[0]?.restart());
    undo.push(() => stores.stop());
    await migrate(stores.databaseUrl());
    const tokens = await ensureTokens(stores.databaseUrl(), dataDir);

    const url = `http://127.0.0.1:${port}/graphql`;
    const child = (name: string, args: readonly string[], environment: () => Record<string, string>) => startChild({
      name,
      args: [packagePath("dist", "cli", "main.js"), ...args, "--supervised", "--data-dir", dataDir], // the directory shows in the process list whose they are
      environment,
      logFile: logFile(dataDir, args[0]!),
      onStart: (identity) => noteChild(dataDir, name, identity.pid),
      onDeath: (how, delay, output) => options.say(`The ${name} ${how}; it is started again${delay === 0 ? "" : ` in ${(delay / 1000).toFixed(1)} s`}.${output.length === 0 ? "" : ` Last words: ${output.at(-1)!.slice(0, 300)}`}`),
    });
    const server = child("control plane", ["server"], () => serverEnvironment(options, stores, dataDir, port));
    children.push(server);
    undo.push(() => server.stop("now", SERVER_STOP_MS));
    await server.ready().catch((error: Error) => {
      throw new CliError(EXIT.failure, `The control plane does not come up. ${error.message}`, { cause: error });
    });
    let agentMode: StopMode = "detach"; // the agent starts only now: its first call shall find somebody
    const agent = options.agent ? child("agent", ["agent"], () => agentEnvironment(options, dataDir, url)) : null;
    if (agent !== null) {
      children.push(agent);
      undo.push(() => agent.stop(agentMode, AGENT_STOP_MS[agentMode]));
    }

    undo.push(whenAnyHost(stores, () => { // U5
      const sshAgents = child("SSH agents", ["ssh-agents"], () => sshAgentsEnvironment(options, stores, dataDir, url));
      children.push(sshAgents);
      undo.push(() => sshAgents.stop(agentMode, AGENT_STOP_MS[agentMode]));
    }));

    const wsUrl = url.replace(/^http/, "ws");
    writeServerNote(dataDir, { url, wsUrl, pid: process.pid });
    const agentIsUp = agent === null || (await within(AGENT_PATIENCE_MS, agent.ready())); // U4
    const api = createApiClient({ connection: { url, wsUrl, token: tokens.admin, source: dataDir, dataDir }, self: "trainyard", timeoutMs: 5_000 });

    let stopping: Promise<void> | null = null;
    return {
      url, wsUrl, token: tokens.admin, dataDir, kinds: stores.kinds, agentIsUp, api,
      stop(programs) {
        agentMode = programs;
        noteStopping(dataDir);
        return (stopping ??= unwind().then(() => writeChildrenGone(dataDir)));
      },
      hurry() {
        for (const { pid } of children) if (pid !== null) process.kill(pid, "SIGKILL");
      },
    };
  } catch (error) {
    await unwind();
    throw error;
  }
}

/** U1. Throws CliError when a living `up` holds the directory and is not on its way out. */
async function ownDirectory(dataDir: string, say: StackOptions["say"]): Promise<DirectoryLock> {
  const startedAt = performance.now();
  for (let said = false; ; await delay(100)) {
    const outcome = await acquireDirectoryLock(lockFile(dataDir));
    if (outcome.kind === "held") return outcome.lock;
    const { pid } = outcome.holder;
    const stopping = isStopping(dataDir, pid);
    if (stopping && !said) say(`Process ${pid} is just stopping in ${dataDir}; waiting for it.`);
    said ||= stopping;
    if (performance.now() - startedAt < (stopping ? STOPPING_PATIENCE_MS : NOTICING_MS)) continue;
    const url = readServerNote(dataDir)?.url;
    throw new CliError(EXIT.failure, `${dataDir} is served already, by process ${pid}${url === undefined ? "" : ` at ${url}`}.`, { hint: "Use that one, stop it first, or give this one a directory of its own with --data-dir." });
  }
}

/** Throws CliError when the wanted port is taken. */
async function choosePort(dataDir: string, wanted: number): Promise<number> {
  if (wanted === 0) {
    const note = readServerNote(dataDir);
    const last = note === null ? 0 : Number(new URL(note.url).port);
    return last > 0 && (await isPortFree(last)) ? last : anyFreePort();
  }
  if (await becomesFree(wanted, readServerNote(dataDir) === null ? 0 : PORT_PATIENCE_MS)) return wanted;
  throw new CliError(EXIT.failure, `Port ${wanted} on 127.0.0.1 is taken by another program.`, { hint: "Choose another with --port, or --port 0 for any free one." });
}

/** Nothing of a user's session reaches the children that would lead them elsewhere. */
function inherited(environment: StackOptions["environment"], without: readonly string[]): Record<string, string> {
  return Object.fromEntries(Object.entries(environment).filter((entry): entry is [string, string] => entry[1] !== undefined && !without.includes(entry[0])));
}

function serverEnvironment({ environment, dataDirs }: StackOptions, stores: Stores, dataDir: string, port: number): Record<string, string> {
  const redisUrl = stores.redisUrl();
  return {
    ...inherited(environment, ["REDIS_URL", "TRAINYARD_URL", "TRAINYARD_TOKEN", "TRAINYARD_PUBLIC_URL", "TRAINYARD_TLS_CERT", "TRAINYARD_TLS_KEY"]),
    DATABASE_URL: stores.databaseUrl(),
    ...(redisUrl === null ? { TRAINYARD_REDIS: "off" } : { REDIS_URL: redisUrl }),
    TRAINYARD_HOST: "127.0.0.1",
    TRAINYARD_PORT: String(port),
    TRAINYARD_DATA_DIR: dataDir,
    TRAINYARD_DATA_DIRS: joinedDataDirs(dataDirs, dataDir),
  };
}

function agentEnvironment({ environment, dataDirs }: StackOptions, dataDir: string, url: string): Record<string, string> {
  return {
    ...inherited(environment, ["DATABASE_URL", "REDIS_URL", "TRAINYARD_TOKEN", "TRAINYARD_AGENT_TOKEN", "TRAINYARD_SECRET_KEY", "TRAINYARD_SECRET_KEY_FILE"]),
    TRAINYARD_URL: new URL(url).origin,
    TRAINYARD_AGENT_TOKEN_FILE: tokenFile(dataDir, "agent"),
    TRAINYARD_AGENT_DIR: agentDirectory(dataDir),
    TRAINYARD_DATA_DIRS: joinedDataDirs(dataDirs, dataDir),
  };
}

/** They are agents that see the database and its key, as the control plane does. */
function sshAgentsEnvironment(options: StackOptions, stores: Stores, dataDir: string, url: string): Record<string, string> {
  return {
    ...inherited(options.environment, ["REDIS_URL", "TRAINYARD_TOKEN", "TRAINYARD_AGENT_TOKEN"]),
    DATABASE_URL: stores.databaseUrl(),
    TRAINYARD_DATA_DIR: dataDir,
    TRAINYARD_URL: new URL(url).origin,
    TRAINYARD_AGENT_TOKEN_FILE: tokenFile(dataDir, "agent"),
    TRAINYARD_DATA_DIRS: joinedDataDirs(options.dataDirs, dataDir),
  };
}

/** Calls back once, when there is an SSH host. Returns how to end looking. */
function whenAnyHost(stores: Stores, found: () => void): () => Promise<void> {
  const ending = new AbortController();
  const looking = (async () => {
    while (!ending.signal.aborted) {
      const database = openDatabase({ url: stores.databaseUrl(), size: 1, log: { warn: () => undefined } }); // a store may have moved to another port
      const host = await database.db.selectFrom("ssh_hosts").select("id").where("served_by", "=", "ssh").limit(1).executeTakeFirst().catch(() => undefined).finally(() => database.close());
      if (host !== undefined && !ending.signal.aborted) return found();
      await delay(HOST_LOOK_MS, undefined, { signal: ending.signal, ref: false }).catch(() => undefined);
    }
  })();
  return async () => {
    ending.abort();
    await looking;
  };
}

/** What is uploaded lies on this very host: the agent reads it in place. */
function joinedDataDirs(dataDirs: readonly string[], dataDir: string): string {
  return [...dataDirs, uploadsDirectory(dataDir)].join(":");
}

async function within(ms: number, promise: Promise<unknown>): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>((resolve) => (timer = setTimeout(resolve, ms, false)));
  try {
    return await Promise.race([promise.then(() => true, () => false), late]);
  } finally {
    clearTimeout(timer);
  }
}

function writeChildrenGone(dataDir: string): void {
  if (Object.values(readChildren(dataDir)).every((identity) => !isAlive(identity))) writeChildren(dataDir, {});
}
