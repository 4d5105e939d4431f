// What a benchmark stands on: real stores in a temporary directory (fsync on), the control plane and an agent as processes of their own.

import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { Agent, request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type pg from "pg";
import { pino } from "pino";
import { createToken } from "../../src/access/tokens.js";
import { openDatabase } from "../../src/db/database.js";
import { migrate } from "../../src/db/migrator.js";
import { packagePath } from "../../src/package-root.js";
import { startEmbeddedPostgres } from "../../src/server/embedded/postgres.js";
import { startEmbeddedRedis } from "../../src/server/embedded/redis.js";

export interface Rig {
  readonly url: string;
  readonly pool: pg.Pool;
  readonly redis: boolean;
  readonly databaseUrl: string;
  /** Token of an operator. */
  readonly token: string;
  readonly agent: ChildProcess;
  /** Asks the agent's process for what it measured: one JSON value. */
  ask(question: string): Promise<unknown>;
  /** CPU seconds used so far by control plane and agent: moves far less than wall time with what else the machine does. Null where there is no /proc. */
  cpuSeconds(): { readonly server: number; readonly agent: number } | null;
  stop(): Promise<void>;
}

const log = pino({ level: "error" }, pino.destination(2));

/** Starts everything; `link` "https" leaves Redis out. */
export async function startRig(options: { link: "auto" | "https"; pools: string }): Promise<Rig> {
  const dataDir = mkdtempSync(join(tmpdir(), "trainyard-bench-"));
  const postgres = await startEmbeddedPostgres({ dataDir, log });
  const redis = options.link === "https" ? null : await startEmbeddedRedis({ dataDir, log });
  await migrate(postgres.url);
  const database = openDatabase({ url: postgres.url, size: 4, log });
  const make = (role: "operator" | "agent") => createToken(database.db, { name: role, role, agentName: null, expiresInDays: null, by: "bench" });
  const [operator, agentToken] = [await make("operator"), await make("agent")];

  const server = start("server", {
    DATABASE_URL: postgres.url, TRAINYARD_PORT: "0", TRAINYARD_REDIS: "off", TRAINYARD_LOG_LEVEL: "error", ...(redis === null ? {} : { REDIS_URL: redis.url }),
  });
  const { url } = (await nextMessage(server)) as { url: string };
  const agent = start("agent", {
    TRAINYARD_URL: new URL("/", url).href, TRAINYARD_AGENT_TOKEN: agentToken.secret, TRAINYARD_AGENT_DIR: join(dataDir, "agent"), TRAINYARD_AGENT_POOLS: options.pools, TRAINYARD_AGENT_NAME: "bench",
    TRAINYARD_AGENT_LINK: options.link, TRAINYARD_LOG_LEVEL: "error",
  });
  await nextMessage(agent);
  return {
    url, pool: database.pool, databaseUrl: postgres.url, redis: redis !== null, token: operator.secret, agent,
    ask: async (question) => {
      const answer = nextMessage(agent);
      agent.stdin!.write(`${question}\n`);
      return answer;
    },
    cpuSeconds() {
      const [ofServer, ofAgent] = [cpuSecondsOf(server), cpuSecondsOf(agent)];
      return ofServer === null || ofAgent === null ? null : { server: ofServer, agent: ofAgent };
    },
    async stop() {
      for (const child of [agent, server]) {
        child.kill("SIGTERM");
        if (child.exitCode === null) await once(child, "exit");
      }
      await database.close();
      await redis?.stop();
      await postgres.stop();
      rmSync(dataDir, { recursive: true, force: true });
    },
  };
}

function start(role: "server" | "agent", environment: Record<string, string>): ChildProcess {
  return spawn(process.execPath, ["--import", "tsx", packagePath("bench", "support", `${role}-process.ts`)], { env: { PATH: process.env["PATH"] ?? "", HOME: process.env["HOME"] ?? "", ...environment }, stdio: ["pipe", "pipe", "inherit"] });
}

/** Of the process and all its threads; /proc counts hundredths of a second. */
function cpuSecondsOf({ pid }: ChildProcess): number | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const [user, system] = stat.slice(stat.lastIndexOf(")") + 2).split(" ").slice(11, 13);
    return (Number(user) + Number(system)) / 100;
  } catch {
    return null;
  }
}

async function nextMessage(child: ChildProcess): Promise<unknown> {
  const lines = createInterface({ input: child.stdout! });
  try {
    const [line] = (await Promise.race([once(lines, "line"), once(child, "exit").then(() => { throw new Error("a process of the benchmark ended before it was ready"); })])) as [string];
    return JSON.parse(line);
  } finally {
    lines.close();
  }
}

const sockets = new Agent({ keepAlive: true, maxSockets: 128 });

/** A GraphQL call that throws on any error. By node:http: on two cores a heavier client would be what is measured. */
export async function graphql<T>(rig: Rig, query: string, variables: object): Promise<T> {
  const body = JSON.stringify({ query, variables });
  const text = await new Promise<string>((resolve, reject) => {
    const call = request(rig.url, { method: "POST", agent: sockets, headers: { "content-type": "application/json", "content-length": Buffer.byteLength(body), authorization: `Bearer ${rig.token}` } }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk)).on("end", () => resolve(Buffer.concat(chunks).toString())).on("error", reject);
    });
    call.on("error", reject);
    call.end(body);
  });
  const { data, errors } = JSON.parse(text) as { data?: T; errors?: unknown };
  if (errors !== undefined || data === undefined) throw new Error(JSON.stringify(errors));
  return data;
}

export const percentile = (values: readonly number[], p: number): number | null => {
  if (values.length === 0) return null;
  const sorted = [...values].sort((a, b) => a - b);
  return round(sorted[Math.min(sorted.length - 1, Math.floor((p / 100) * sorted.length))]!);
};

export const round = (value: number): number => Math.round(value * 100) / 100;

export function option(name: string, fallback: string): string {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? fallback : (process.argv[at + 1] ?? fallback);
}
