// Invariant 20: secrets are planted wherever there are any, processes die in the middle of it all, and then nothing that was kept or answered may hold one of them.
import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createClient } from "graphql-ws";
import { afterEach, describe, expect, test } from "vitest";
import WebSocket from "ws";
import { packagePath } from "../../src/package-root.js";
import { searchFiles, searchRedis, searchTables, sightings, soughtForms, type Canary } from "../support/checker-canaries.js";
import { judged } from "../support/nemesis.js";
import { diamond, submitTelemetry } from "../support/processes-world-load.js";
import { startProcessesWorld, type Link, type ProcessesWorld } from "../support/processes-world.js";
import { processesBelow } from "../support/processes.js";
import { redisIsHere } from "../support/redis.js";
import "../support/built-cli.js"; // has the command line built before the workers start

let world: ProcessesWorld;
afterEach(() => world.stop());

const planted = (name: string, prefix = "cnry"): Canary => ({ name, value: `${prefix}-${randomBytes(12).toString("hex")}` });
const passwordOf = (name: string, url: string): Canary => ({ name, value: decodeURIComponent(new URL(url).password) });
/** Written by programs themselves, in their attempt's own folder, which only they and the agent read. */
const OF_PROGRAMS = /^agent-[^/]+\/attempts\/[^/]+\/[^/]+\/\d+\/(log|outputs\.json|metrics\.jsonl|output(\/.*)?)$/;

/** The command line as a user runs it; all that it printed. What would run on is ended once it has printed something. */
async function cli(args: readonly string[], env: Record<string, string>): Promise<string> {
  const child = execFile(process.execPath, [packagePath("dist", "cli", "main.js"), ...args], { env: { PATH: process.env["PATH"], HOME: world.folder, ...env }, timeout: 60_000, killSignal: "SIGKILL" });
  let printed = `${args.join(" ")}:\n`;
  for (const stream of [child.stdout!, child.stderr!]) {
    stream.on("data", (text: string) => {
      printed += text;
      if (args[0] === "agent") child.kill("SIGTERM");
    });
  }
  const [code, signal] = (await once(child, "close")) as [number | null, string | null];
  return `${printed}\nended with ${String(signal ?? code)}`;
}

async function request(authorization: string, body: unknown): Promise<string> {
  const answer = await fetch(world.url, { method: "POST", headers: { "content-type": "application/json", authorization }, body: typeof body === "string" ? body : JSON.stringify(body) });
  return `${answer.status} ${JSON.stringify([...answer.headers])} ${await answer.text()}`;
}

async function overWebSocket(authorization: string): Promise<string> {
  const client = createClient({ url: world.url.replace("http", "ws"), webSocketImpl: WebSocket, retryAttempts: 0, connectionParams: { authorization } });
  const answer = await new Promise<string>((resolve) => client.subscribe({ query: "subscription { fleetEvents { __typename } }" }, { next: (item) => resolve(JSON.stringify(item)), error: (error) => resolve(error instanceof Error ? error.message : JSON.stringify({ ...(error as object), reason: (error as { reason?: string }).reason })), complete: () => resolve("") }));
  await client.dispose();
  return answer;
}

describe.each<Link>(redisIsHere ? ["https", "streams"] : ["https"])("over %s", (link) => {
  test("no log, row, event, audit row, error or printed word holds a secret that was planted", { timeout: 180_000 }, async () => {
    const plain = planted("a secret of the agent's environment");
    const knotty = planted("a secret of the agent's file", 'k"n\\o & t%t/y+=é');
    const strangers = [planted("an unknown token in a header"), planted("an unknown token of a socket"), planted("an unknown token of the command line"), planted("an unknown agent's token")];
    const [wrongDatabase, wrongRedis] = [planted("the password of an unreachable database"), planted("the password of an unreachable Redis")];
    world = await startProcessesWorld({ link });
    const known = soughtForms([
      plain, knotty, ...strangers, wrongDatabase, wrongRedis, { name: "the admin's token", value: world.tokens.admin }, { name: "the agents' token", value: world.tokens.agent },
      passwordOf("the database's password", world.databaseUrl), ...(world.redis === null ? [] : [passwordOf("the password of Redis", world.redis.url)]),
    ]);
    const secretsFile = join(world.folder, "secrets.json");
    writeFileSync(secretsFile, JSON.stringify({ knotty: knotty.value }), { mode: 0o600 });
    chmodSync(secretsFile, 0o600);
    let server = world.startServer({ settings: { TRAINYARD_LOG_LEVEL: "debug" } });
    const withSecrets = { TRAINYARD_LOG_LEVEL: "debug", TRAINYARD_SECRET_PLAIN: plain.value, TRAINYARD_AGENT_SECRETS_FILE: secretsFile };
    let agent = world.startAgent({ settings: withSecrets });
    await world.ready(server);

    // Programs that leak, while everybody dies once.
    const leak = { kind: "command", params: { run: [process.execPath, packagePath("tests", "chaos", "programs", "leaky.mjs")], env: { PLAIN: "secret://plain", KNOTTY: "secret://knotty" } } };
    const leaky = await world.submit({ name: "leaky", stages: [{ ...leak, name: "leaks", retry: { maxAttempts: 2, backoffSeconds: 0 } }, { ...leak, name: "malformed", params: { ...leak.params, run: [...leak.params.run, "malformed"] } }, { ...leak, name: "unknown", params: { ...leak.params, env: { PLAIN: "secret://nobody-has-it" } } }] });
    await submitTelemetry(world);
    const attempts = async (): Promise<number> => (await world.db.query("select 1 from attempts t join stages s on s.id = t.stage_id where s.pipeline_id = $1 and s.name = 'leaks' and t.status <> 'OFFERED'", [leaky])).rowCount ?? 0;
    await world.until("the program leaks", async () => (await attempts()) === 1);
    const argv = processesBelow(world.folder).map((pid) => { try { return readFileSync(`/proc/${pid}/cmdline`, "utf8"); } catch { return ""; } }).join("\n");
    const tablesThen = await searchTables(world.databaseUrl, known);
    const redisThen = world.redis === null ? { found: [], keys: 1 } : await searchRedis(world.redis.url, known);
    await world.kill(server);
    server = world.startServer({ settings: { TRAINYARD_LOG_LEVEL: "debug" } });
    await world.until("the second attempt leaks", async () => (await attempts()) >= 2);
    await world.kill(agent);
    agent = world.startAgent({ settings: withSecrets });
    await world.ready(server);
    await world.db.query("select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()");
    if (world.redis !== null) await world.redis.kill();
    await world.submit(diamond(world));
    await world.settled();

    // People who err, and what they are answered.
    const admin = `Bearer ${world.tokens.admin}`;
    const made = await world.ask<{ createToken: { secret: string } }>('mutation { createToken(input: { name: "new", role: VIEWER }) { ... on CreateTokenPayload { secret } } }', {});
    const minted: Canary = { name: "a token that was made just now", value: made.createToken.secret };
    const environment = { TRAINYARD_URL: world.url.replace("/graphql", ""), TRAINYARD_TOKEN: world.tokens.admin };
    const unreachable = `postgres://someone:${wrongDatabase.value}@127.0.0.1:9/nothing`;
    const asked: (() => Promise<string>)[] = [
      () => request(`Bearer ${strangers[0]!.value}`, { query: "{ pipelines(first: 1) { edges { node { id } } } }" }),
      () => request(`Basic ${Buffer.from(`x:${strangers[0]!.value}`).toString("base64")}`, { query: "{ __typename }" }),
      () => request(`Bearer ${world.tokens.agent}`, { query: "{ tokens(first: 10) { edges { node { name } } } }" }),
      () => request(admin, { query: "{ nonsense" }), () => request(admin, "{"), () => request(admin, { query: "query ($id: ID!) { stage(id: $id) { id } }", variables: { id: 5.5 } }),
      () => request(`Bearer ${minted.value}`, { query: 'mutation { cancelPipeline(input: { pipelineId: "pip_00000000000000000000000000", reason: "x" }) { __typename } }' }),
      () => request(admin, { query: "query ($id: ID!) { pipeline(id: $id) { name stages { name params outputs reason error { message hint logTail } attempts { status command error { message hint logTail } diagnosis { cause evidence suggestion } } logs { text } metricNames checkpoints { path } } } }", variables: { id: leaky } }),
      () => overWebSocket(`Bearer ${strangers[1]!.value}`), () => overWebSocket(strangers[1]!.value),
      () => cli(["ls"], { ...environment, TRAINYARD_TOKEN: strangers[2]!.value }), () => cli(["show", leaky], environment), () => cli(["logs", leaky, "leaks"], environment), () => cli(["events", leaky, "--json"], environment), () => cli(["show", leaky, "--json"], environment),
      () => cli(["ls"], { ...environment, TRAINYARD_URL: `http://someone:${strangers[2]!.value}@127.0.0.1:9` }), () => cli(["token", "ls"], environment), () => cli(["doctor"], environment),
      () => cli(["migrate"], { DATABASE_URL: unreachable }), () => cli(["server", "--port", "0"], { DATABASE_URL: unreachable, TRAINYARD_REDIS: "off" }), () => cli(["migrate"], { DATABASE_URL: `nonsense://x:${wrongDatabase.value}@h/` }),
      () => cli(["server", "--port", "0"], { DATABASE_URL: world.databaseUrl, REDIS_URL: `nonsense://x:${wrongRedis.value}@h/`, TRAINYARD_REDIS: "off" }),
      () => cli(["agent"], { TRAINYARD_URL: environment.TRAINYARD_URL, TRAINYARD_AGENT_TOKEN: strangers[3]!.value, TRAINYARD_AGENT_DIR: join(world.folder, "agent-stranger"), TRAINYARD_AGENT_NAME: "stranger" }),
    ];
    const answers: string[] = [];
    for (const ask of asked) answers.push(await ask());
    const ends = (await world.db.query<{ line: string }>("select s.name || ' ' || t.number || ' ' || t.status as line from attempts t join stages s on s.id = t.stage_id where s.pipeline_id = $1 order by 1", [leaky])).rows;
    expect(ends.map(({ line }) => line)).toEqual(["leaks 1 FAILED", "leaks 2 COMPLETED", "malformed 1 FAILED", "unknown 1 FAILED"]);

    // The search.
    const { rows: sessions } = await world.db.query<{ password: string }>("select encode(sha256(convert_to(t.hash || ':' || a.session_id, 'UTF8')), 'hex') as password from agents a join tokens t on t.id = a.token_id where a.session_id is not null");
    const sought = [...known, ...soughtForms([minted, ...sessions.map(({ password }) => ({ name: "an agent's password for Redis", value: password }))])];
    if (world.redis !== null) await world.redis.restart();
    const files = searchFiles(world.folder, sought, (path) => path === "secrets.json" || OF_PROGRAMS.test(path));
    const tables = await searchTables(world.databaseUrl, sought);
    const redis = world.redis === null ? null : await searchRedis(world.redis.url, sought);
    expect([...tablesThen.found, ...redisThen.found, ...files.found, ...tables.found, ...(redis?.found ?? []), ...answers.flatMap((answer, index) => sightings(`answer ${index}`, answer, sought)), ...sightings("argv of a process", argv, sought)]).toEqual([]);

    // It did look, and there was something to see.
    expect(files.read).toBeGreaterThan(8);
    expect([tablesThen.rows["assignments"], redisThen.keys].every((number) => number! > 0)).toBe(true);
    for (const table of ["events", "audit", "attempts", "log_chunks", "metric_series", "tokens", "diagnoses", "agents", "pipelines"]) expect([table, tables.rows[table]]).not.toEqual([table, 0]);
    const stored = answers[7]!;
    for (const told of ["[redacted]", "score of [redacted]", "secret://plain"]) expect(stored).toContain(told);
    expect(stored).not.toContain("step-25-"); // a checkpoint with a secret in its path
    expect(argv).toContain("leaky.mjs");
    for (const answer of answers) expect(answer).not.toMatch(/^\s*$|:\nended with|SIGKILL/); // each said something, in time
    await judged(world);
  });
});
