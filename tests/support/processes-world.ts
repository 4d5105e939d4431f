// A world of real processes: an own database, `trainyard server` and `trainyard agent` as children that can be killed, a client that repeats what was not answered.
//   W1. Everything stands in one folder of the run; `stop` ends every process that stands in it, programs included.
//   W2. The server keeps its port over restarts; agents keep their directories.
//   W3. Nothing the checker relies on is told by the product: journals are kept by hard links before an agent may drop them, tampering by triggers of our own.

import { spawn, type ChildProcess } from "node:child_process";
import { randomUUID } from "node:crypto";
import { chmodSync, closeSync, existsSync, linkSync, mkdirSync, mkdtempSync, openSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import pg from "pg";
import { inject } from "vitest";
import { createToken } from "../../src/access/tokens.js";
import { connectRedis } from "../../src/bus/connection.js";
import { anyFreePort } from "../../src/cli/stack/ports.js";
import { openDatabase } from "../../src/db/database.js";
import { packagePath } from "../../src/package-root.js";
import { buildCommandLine } from "./built-cli.js";
import { CHAOS_SEED, createChance, type Chance } from "./chance.js";
import { startFollower, type Followed, type Follower } from "./checker-follower.js";
import { startTranscript, type Transcript } from "./checker-transcript.js";
import { createTestDatabase, type TestDatabase } from "./postgres.js";
import { processesBelow } from "./processes.js";
import { startOwnRedis, type OwnRedis } from "./redis.js";
import { silent } from "./world.js";

export type Link = "https" | "streams";

/** One of our processes under a name; its output goes to `<folder>/<name>.log`. */
export interface Running {
  readonly name: string;
  readonly child: ChildProcess;
  /** Resolves with the signal or code it ended with. */
  readonly ended: Promise<number | NodeJS.Signals>;
}

/** What the client was told: what it may rely on from then on. */
export interface ClientLog {
  readonly submitted: { requestId: string; pipelineId: string }[];
  /** `position`: newest event when the cancel was answered. `at`: seconds on the programs' clock. */
  readonly cancelled: { pipelineId: string; position: number; at: number }[];
}

/** A spell in which a process stood still, in seconds on the programs' clock; `to` is infinite while it lasts. */
export interface Spell { readonly name: string; readonly from: number; to: number }

export interface ProcessesWorld {
  readonly link: Link;
  /** What is left to chance is drawn here. */
  readonly chance: Chance;
  /** What was done to this world and when: the nemesis's own account. */
  readonly timeline: readonly string[];
  readonly frozen: readonly Spell[];
  /** What readers of telemetry were told. */
  readonly followed: readonly Followed[];
  /** Tokens of the two roles in use. */
  readonly tokens: Readonly<Record<"admin" | "agent", string>>;
  readonly folder: string;
  readonly databaseUrl: string;
  readonly url: string;
  readonly redis: OwnRedis | null;
  readonly client: ClientLog;
  readonly transcript: Transcript;
  /** File in which programs tell what they did. */
  readonly witnessJournal: string;
  readonly agents: ReadonlySet<string>;
  /** An own connection, for looking. */
  readonly db: pg.Client;
  /** On another `port` it is a second control plane beside the first; the client asks any of them. */
  startServer(options?: { name?: string; port?: number; failpoint?: string; settings?: Record<string, string> }): Running;
  startAgent(options?: { name?: string; failpoint?: string; settings?: Record<string, string> }): Running;
  /** SIGKILL; resolves when it is gone. */
  kill(running: Running): Promise<void>;
  /** SIGSTOP, and SIGCONT. */
  freeze(running: Running): void;
  thaw(running: Running): void;
  /** Enters a line into the timeline. */
  note(what: string): void;
  /** Reads the telemetry of the pipeline's first stage from now on, over connections that break. */
  follow(pipelineId: string): Promise<void>;
  /** Ends all readers of telemetry; what they were told stays. */
  dismissFollowers(): Promise<void>;
  /** SIGKILL for the programs of an agent, as far as they live. */
  killPrograms(agent: string): void;
  /** Resolves when the server answers that it is ready, or has ended. */
  ready(running: Running): Promise<void>;
  /** One GraphQL request, repeated at one control plane after the other until it is answered; only errors of the document itself reject. */
  ask<T>(query: string, variables: Record<string, unknown>): Promise<T>;
  submit(spec: unknown): Promise<string>;
  cancel(pipelineId: string): Promise<void>;
  /** Loses all that Redis holds. Only over streams. */
  flushRedis(): Promise<void>;
  /** Waits until all pipelines are over; answers the milliseconds it took. Rejects naming what is not over. */
  settled(withinMs?: number): Promise<number>;
  until(what: string, holds: () => Promise<boolean>, withinMs?: number): Promise<void>;
  agentDirectory(name: string): string;
  keptJournal(name: string): string;
  keepJournals(): void;
  /** End of a process's log, for a failure's message. */
  logTail(name: string, lines?: number): string;
  stop(): Promise<void>;
}

/** Short times, so that what waits for a timer waits a moment: a lease of 20 s is never lost by a restart, sweeps come every 300 ms. */
const SERVER_SETTINGS = {
  TRAINYARD_LEASE_TTL_MS: "20000", TRAINYARD_RENEW_EVERY_MS: "500", TRAINYARD_UNRESPONSIVE_AFTER_MS: "8000", TRAINYARD_START_GRACE_MS: "0", TRAINYARD_SWEEP_EVERY_MS: "300",
  TRAINYARD_REPUBLISH_AFTER_MS: "1000", TRAINYARD_POOL_SIZE: "6", TRAINYARD_LOG_LEVEL: "info",
};
const AGENT_SETTINGS = { TRAINYARD_AGENT_POOLS: "training=1;default,evaluation,preprocessing,maintenance=6", TRAINYARD_LOG_LEVEL: "info" };

/** Seconds since boot as programs/witness.sh reads them. */
export function witnessClock(): number {
  return existsSync("/proc/uptime") ? Number(readFileSync("/proc/uptime", "utf8").split(" ")[0]) : Math.floor(Date.now() / 1000);
}

export interface WorldOptions {
  readonly link: Link;
  /** Settings of the control planes. */
  readonly settings?: Record<string, string>;
  readonly database?: TestDatabase;
  /** What control planes connect with; default the database's own. */
  readonly databaseUrl?: string;
}

export async function startProcessesWorld(options: WorldOptions): Promise<ProcessesWorld> {
  await buildCommandLine();
  const folder = mkdtempSync(join(inject("runFolder"), "chaos-"));
  chmodSync(folder, 0o711);
  const database = options.database ?? (await createTestDatabase());
  const redis = options.link === "streams" ? await startOwnRedis() : null;
  const port = await anyFreePort();
  const secrets = { admin: "", agent: "" };
  const opened = openDatabase({ url: database.url, size: 2, log: silent });
  for (const role of ["admin", "agent"] as const) secrets[role] = (await createToken(opened.db, { name: role, role, agentName: null, expiresInDays: null, by: "test" })).secret;
  await opened.close();
  const db = new pg.Client({ connectionString: database.url });
  db.on("error", () => undefined);
  await db.connect();
  await db.query(TRIGGERS);

  const all = new Set<Running>();
  const agents = new Set<string>();
  const client: ClientLog = { submitted: [], cancelled: [] };
  const ports = new Set([port]);
  const url = `http://127.0.0.1:${port}/graphql`;
  const transcript = startTranscript({ url: `ws://127.0.0.1:${port}/graphql`, token: secrets.admin });

  const chance = createChance(CHAOS_SEED);
  const began = witnessClock();
  const timeline = [`seed ${CHAOS_SEED}`];
  const frozen: Spell[] = [];
  const followers: Follower[] = [];
  const note = (what: string): void => void timeline.push(`${(witnessClock() - began).toFixed(2)} s: ${what}`);

  const start = (name: string, args: readonly string[], env: Record<string, string>, failpoint: string | undefined): Running => {
    const log = openSync(join(folder, `${name}.log`), "a", 0o600);
    const child = spawn(process.execPath, [packagePath("dist", "cli", "main.js"), ...args], {
      cwd: folder, env: { PATH: process.env["PATH"], HOME: folder, ...env, ...(failpoint === undefined ? {} : { TRAINYARD_FAILPOINT: failpoint }) }, stdio: ["ignore", log, log],
    });
    closeSync(log);
    const running: Running = { name, child, ended: new Promise((done) => child.once("exit", (code, signal) => { all.delete(running); done(signal ?? code ?? 0); })) };
    all.add(running);
    note(`${name} started${failpoint === undefined ? "" : `, to die at ${failpoint}`}`);
    return running;
  };

  const world: ProcessesWorld = {
    chance, timeline, frozen, tokens: secrets, note, get followed() { return followers.map((follower) => follower.followed); },
    link: options.link, folder, databaseUrl: database.url, url, redis, client, transcript, witnessJournal: join(folder, "witness"), agents, db,
    startServer({ name = "server", port: chosen = port, failpoint, settings } = {}) {
      ports.add(chosen);
      return start(name, ["server", "--port", String(chosen)], {
        DATABASE_URL: options.databaseUrl ?? database.url, TRAINYARD_REDIS: "off", ...(redis === null ? {} : { REDIS_URL: redis.url }), ...SERVER_SETTINGS, ...options.settings, ...settings,
      }, failpoint);
    },
    startAgent({ name = "agent", failpoint, settings } = {}) {
      agents.add(name);
      world.keepJournals();
      return start(name, ["agent"], {
        TRAINYARD_URL: `http://127.0.0.1:${port}`, TRAINYARD_AGENT_TOKEN: secrets.agent, TRAINYARD_AGENT_NAME: name, TRAINYARD_AGENT_DIR: world.agentDirectory(name), TRAINYARD_AGENT_LINK: options.link === "https" ? "https" : "auto",
        TRAINYARD_NVIDIA_SMI: packagePath("tests", "chaos", "programs", "two-gpus.sh"), ...AGENT_SETTINGS, ...settings,
      }, failpoint);
    },
    async kill(running) {
      note(`${running.name} killed`);
      running.child.kill("SIGKILL");
      await running.ended;
    },
    freeze(running) {
      note(`${running.name} frozen`);
      frozen.push({ name: running.name, from: witnessClock(), to: Number.POSITIVE_INFINITY });
      running.child.kill("SIGSTOP");
    },
    thaw(running) {
      running.child.kill("SIGCONT");
      for (const spell of frozen) if (spell.name === running.name) spell.to = Math.min(spell.to, witnessClock());
      note(`${running.name} thawed`);
    },
    async follow(pipelineId) {
      const { rows: [stage] } = await db.query<{ id: string }>("select id from stages where pipeline_id = $1 order by position limit 1", [pipelineId]);
      followers.push(startFollower({ url: `ws://127.0.0.1:${port}/graphql`, token: secrets.admin, stageId: stage!.id, chance: chance.of(`reader ${followers.length}`) }));
    },
    async dismissFollowers() {
      await Promise.all(followers.map((follower) => follower.stop()));
    },
    killPrograms(agent) {
      for (const pid of processesBelow(world.agentDirectory(agent))) {
        try {
          process.kill(pid, "SIGKILL");
        } catch {
          // It ended by itself meanwhile.
        }
      }
    },
    async ready(running) {
      let over = false;
      void running.ended.then(() => { over = true; });
      const deadline = Date.now() + 20_000;
      while (!over && Date.now() < deadline) {
        if (await fetch(`http://127.0.0.1:${port}/readyz`, { signal: AbortSignal.timeout(1_000) }).then((answer) => answer.ok, () => false)) return;
        await delay(30);
      }
    },
    async ask<T>(query: string, variables: Record<string, unknown>): Promise<T> {
      const deadline = Date.now() + 40_000;
      let turn = client.submitted.length;
      for (let problem = ""; ; await delay(50)) {
        if (Date.now() > deadline) throw new Error(`no answer within 40 s: ${problem}\n${world.logTail("server")}`);
        try {
          const asked = [...ports][turn++ % ports.size]!;
          const answer = await fetch(`http://127.0.0.1:${asked}/graphql`, { method: "POST", headers: { "content-type": "application/json", authorization: `Bearer ${secrets.admin}` }, body: JSON.stringify({ query, variables }), signal: AbortSignal.timeout(5_000) });
          const { data, errors } = (await answer.json()) as { data?: T; errors?: { message: string; extensions?: { code?: string } }[] };
          if (errors === undefined) return data!;
          problem = errors.map((error) => `${error.extensions?.code ?? ""} ${error.message}`).join("; ");
          if (/GRAPHQL_|BAD_USER_INPUT|UNAUTHENTICATED/.test(problem)) return Promise.reject(new Error(problem));
        } catch (error) {
          problem = String((error as Error).cause ?? error);
        }
      }
    },
    async submit(spec) {
      const requestId = `r-${client.submitted.length}-${randomUUID()}`;
      const { submitPipeline } = await world.ask<{ submitPipeline: { pipeline?: { id: string }; message?: string; problems?: { path: string; message: string }[] } }>(
        "mutation ($input: SubmitPipelineInput!) { submitPipeline(input: $input) { ... on SubmitPipelinePayload { pipeline { id } } ... on DomainError { message } ... on InvalidInputError { problems { path message } } } }", { input: { spec, requestId } });
      if (submitPipeline.pipeline === undefined) throw new Error(`refused: ${submitPipeline.message} ${JSON.stringify(submitPipeline.problems)}`);
      client.submitted.push({ requestId, pipelineId: submitPipeline.pipeline.id });
      return submitPipeline.pipeline.id;
    },
    async cancel(pipelineId) {
      await world.ask("mutation ($input: PipelineActionInput!) { cancelPipeline(input: $input) { __typename } }", { input: { pipelineId, reason: "chaos" } });
      const { rows: [counter] } = await db.query<{ position: number }>("select position::int from event_counter");
      client.cancelled.push({ pipelineId, position: counter!.position, at: witnessClock() });
    },
    async flushRedis() {
      note("Redis flushed");
      const connection = await connectRedis({ url: redis!.url, username: null, password: null }, { silenceMs: 5_000 });
      await connection.command(["FLUSHALL"]);
      connection.close();
    },
    async settled(withinMs = 40_000) {
      const since = Date.now();
      const open = async () => (await db.query<{ name: string; status: string; stages: string }>(
        "select p.name || ' ' || p.id as name, p.status, string_agg(s.name || ' ' || s.status, ', ') as stages from pipelines p join stages s on s.pipeline_id = p.id where p.status in ('PENDING', 'RUNNING', 'PAUSED') group by p.id")).rows;
      await world.until("all pipelines are over", async () => (await open()).length === 0, withinMs).catch(async (error: unknown) => {
        throw new Error(`${(error as Error).message}\n${JSON.stringify(await open(), null, 1)}\n${timeline.join("\n")}\n${[...agents, "server"].map((name) => world.logTail(name)).join("\n")}`);
      });
      return Date.now() - since;
    },
    async until(what, holds, withinMs = 20_000) {
      for (const deadline = Date.now() + withinMs; !(await holds()); await delay(30)) if (Date.now() > deadline) throw new Error(`not within ${withinMs} ms: ${what}`);
    },
    agentDirectory: (name) => join(folder, `agent-${name}`),
    keptJournal: (name) => join(folder, `journal-${name}`),
    keepJournals() {
      for (const name of agents) {
        const journal = join(world.agentDirectory(name), "journal");
        mkdirSync(world.keptJournal(name), { recursive: true });
        for (const file of existsSync(journal) ? readdirSync(journal) : []) {
          const kept = join(world.keptJournal(name), file);
          if (!existsSync(kept)) linkSync(join(journal, file), kept);
        }
      }
    },
    logTail(name, lines = 25) {
      const file = join(folder, `${name}.log`);
      return existsSync(file) ? `── end of ${name}.log\n${readFileSync(file, "utf8").trimEnd().split("\n").slice(-lines).join("\n")}` : "";
    },
    async stop() {
      await transcript.stop();
      await world.dismissFollowers();
      await Promise.all([...all].map((running) => { running.child.kill("SIGCONT"); return world.kill(running); }));
      for (const pid of processesBelow(folder)) { // W1
        try {
          process.kill(pid, "SIGKILL");
        } catch {
          // It ended by itself meanwhile.
        }
      }
      await db.end();
      await redis?.stop();
      await database.drop();
    },
  };
  return world;
}

/** Told when something changes that may never change, whoever does it and however briefly. */
const TRIGGERS = `
create schema chaos;
create table chaos.tampered (what text not null, before jsonb, after jsonb);
create function chaos.tell() returns trigger language plpgsql as $$
begin
  insert into chaos.tampered values (tg_argv[0], case when tg_op <> 'INSERT' then to_jsonb(old) end, case when tg_op <> 'DELETE' then to_jsonb(new) end);
  return null;
end $$;
create trigger a after update on attempts for each row when (old.status in ('COMPLETED', 'FAILED', 'LOST', 'CANCELLED') and old is distinct from new) execute function chaos.tell('a terminal attempt changed');
create trigger b after update on pipelines for each row when (old.status in ('COMPLETED', 'FAILED', 'CANCELLED') and old is distinct from new) execute function chaos.tell('a terminal pipeline changed');
create trigger c after update on stages for each row when (old.status in ('COMPLETED', 'FAILED', 'CANCELLED', 'SKIPPED') and old is distinct from new) execute function chaos.tell('a terminal stage changed');
create trigger d after update or delete on events for each row execute function chaos.tell('an event changed');
create trigger e after update on agents for each row when (old.epoch = new.epoch and new.watermark < old.watermark) execute function chaos.tell('a watermark fell');
create trigger f after update on event_counter for each row when (new.position < old.position) execute function chaos.tell('the event counter fell');`;
