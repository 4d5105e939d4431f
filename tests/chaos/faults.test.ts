// Faults beside death at a chosen point, with real processes over HTTPS: zombies, dead hosts, broken connections to Postgres, rivals, and a server that never lives long.
import { execFileSync } from "node:child_process";
import { setTimeout as delay } from "node:timers/promises";
import { afterEach, expect, test } from "vitest";
import { anyFreePort } from "../../src/cli/stack/ports.js";
import { gatherEvidence } from "../support/checker-evidence.js";
import { judged } from "../support/nemesis.js";
import { startProxy } from "../support/nemesis-proxy.js";
import { processesBelow } from "../support/processes.js";
import { diamond, stage, submitMix, submitTelemetry } from "../support/processes-world-load.js";
import { startProcessesWorld, witnessClock, type ProcessesWorld } from "../support/processes-world.js";
import "../support/built-cli.js"; // has the command line built before the workers start

let world: ProcessesWorld;
afterEach(() => world.stop());

/** A lease that is over while one watches. */
const SHORT_LEASE = { TRAINYARD_LEASE_TTL_MS: "2000", TRAINYARD_RENEW_EVERY_MS: "250", TRAINYARD_UNRESPONSIVE_AFTER_MS: "1000", TRAINYARD_SWEEP_EVERY_MS: "200" };

const attempts = async () => (await world.db.query<{ number: number; status: string; agent: string }>("select t.number, t.status, a.name as agent from attempts t join agents a on a.id = t.agent_id order by t.number")).rows;
const running = (number: number) => world.until(`attempt ${number} runs`, async () => (await attempts()).some((row) => row.number === number && row.status === "RUNNING"));
const working = (number: number) => world.until(`the program of attempt ${number} works`, async () => (await gatherEvidence(world)).deeds.some((deed) => deed.attempt === number && deed.deed === "step"));

test("an agent frozen past its lease is a zombie: another takes over, and on waking it is refused and stops its program", { timeout: 60_000 }, async () => {
  world = await startProcessesWorld({ link: "https", settings: SHORT_LEASE });
  const server = world.startServer();
  const frozen = world.startAgent();
  await world.ready(server);
  await world.submit({ name: "zombie", stages: [stage(world, "long", [], { steps: 80, pause: 0.1 }, { retry: { maxAttempts: 2, backoffSeconds: 0 } })] });
  await working(1);
  world.startAgent({ name: "other" });
  frozen.child.kill("SIGSTOP");
  await working(2);
  await delay(1_000); // for that long both work: what the fence is for
  frozen.child.kill("SIGCONT");
  const awake = witnessClock();
  await world.settled();
  expect(await attempts()).toEqual([{ number: 1, status: "LOST", agent: "agent" }, { number: 2, status: "COMPLETED", agent: "other" }]);
  await judged(world, { lossAllowed: true, overlapSeconds: 30 });
  const { deeds } = await gatherEvidence(world);
  const zombie = deeds.filter((deed) => deed.attempt === 1);
  expect(zombie.at(-1)).toMatchObject({ deed: "stopped" });
  expect(zombie.at(-1)!.at - awake).toBeLessThan(3);
  expect(deeds.find((deed) => deed.attempt === 2)!.at).toBeLessThan(zombie.at(-1)!.at); // it was a zombie indeed
});

test("a host that dies with its programs loses its attempts after the lease, and the stage runs elsewhere without an overlap", { timeout: 60_000 }, async () => {
  world = await startProcessesWorld({ link: "https", settings: SHORT_LEASE });
  const server = world.startServer();
  const dead = world.startAgent();
  await world.ready(server);
  await world.submit({ name: "moved", stages: [stage(world, "long", [], { steps: 20, pause: 0.1 }, { retry: { maxAttempts: 2, backoffSeconds: 0 } })] });
  await working(1);
  world.startAgent({ name: "other" });
  await world.kill(dead);
  for (const pid of processesBelow(world.agentDirectory("agent"))) process.kill(pid, "SIGKILL");
  await world.settled();
  expect(await attempts()).toEqual([{ number: 1, status: "LOST", agent: "agent" }, { number: 2, status: "COMPLETED", agent: "other" }]);
  world.startAgent(); // it comes back: what it had not told is refused or absorbed
  await judged(world, { lossAllowed: true });
});

test("a program that dies while its agent is away is found out by the next agent process, at once and not after the lease", { timeout: 60_000 }, async () => {
  world = await startProcessesWorld({ link: "https" });
  const server = world.startServer();
  const agent = world.startAgent();
  await world.ready(server);
  await world.submit({ name: "vanished", stages: [stage(world, "long", [], { steps: 20, pause: 0.1 }, { retry: { maxAttempts: 2, backoffSeconds: 0 } })] });
  await working(1);
  await world.kill(agent);
  for (const pid of processesBelow(world.agentDirectory("agent"))) process.kill(pid, "SIGKILL");
  world.startAgent();
  await running(2);
  await world.settled();
  expect(await attempts()).toMatchObject([{ number: 1, status: "FAILED" }, { number: 2, status: "COMPLETED" }]);
  await judged(world);
});

test("connections to Postgres that break in the middle of transactions crash nobody and double nothing", { timeout: 60_000 }, async () => {
  world = await startProcessesWorld({ link: "https" });
  const server = world.startServer();
  world.startAgent();
  await world.ready(server);
  const work = Promise.all([submitMix(world), submitTelemetry(world), ...Array.from({ length: 10 }, () => world.submit(diamond(world)))]);
  for (let round = 0; round < 12; round++) {
    await delay(50 + Math.random() * 350);
    await world.db.query("select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()");
  }
  await work;
  await world.settled();
  await judged(world);
  expect(server.child.exitCode ?? server.child.signalCode, world.logTail("server")).toBeNull();
});

/** Orders whose second decision would be a conflict: each must be answered as what it was. (While Postgres is away an error is an answer too, and repeating the order a conflict.) */
async function orderToAndFro(): Promise<void> {
  const pipelineId = await world.submit({ name: "waits", stages: [stage(world, "unplaceable", [], {}, { resources: { labels: { nowhere: true } } })] });
  for (let n = 0; n < 10; n++) {
    for (const order of ["pausePipeline", "resumePipeline"]) {
      const answer = await world.ask(`mutation ($input: PipelineActionInput!) { ${order}(input: $input) { __typename ... on DomainError { code message } } }`, { input: { pipelineId } });
      expect(answer).toEqual({ [order]: { __typename: "PipelinePayload" } });
    }
  }
  await world.cancel(pipelineId);
}

test.each([["", 0], [" and Postgres is away for a while", 400]])("the answer to a COMMIT is lost%s: the outcome is looked up, nothing is doubled, nobody is told a lie", { timeout: 60_000 }, async (_, awayMs) => {
  world = await startProcessesWorld({ link: "https" });
  const proxy = await startProxy(world.databaseUrl);
  try {
    const server = world.startServer({ settings: { DATABASE_URL: proxy.url } });
    world.startAgent();
    await world.ready(server);
    proxy.cutEvery(7, awayMs);
    await Promise.all([submitMix(world), submitTelemetry(world), awayMs === 0 ? orderToAndFro() : null, ...Array.from({ length: 5 }, () => world.submit(diamond(world)))]);
    await world.until("a few answers were lost", () => Promise.resolve(proxy.cut >= 3));
    proxy.cutEvery(null);
    await world.settled();
    await judged(world);
    expect(server.child.exitCode ?? server.child.signalCode, world.logTail("server")).toBeNull();
  } finally {
    await proxy.stop();
  }
});

test("two control planes on one database with one killed at random again and again: work goes on and no invariant breaks", { timeout: 90_000 }, async () => {
  world = await startProcessesWorld({ link: "https" });
  const port = await anyFreePort();
  const planes = [() => world.startServer(), () => world.startServer({ name: "server-2", port })];
  const living = planes.map((start) => start());
  world.startAgent();
  world.startAgent({ name: "agent-2", settings: { TRAINYARD_URL: `http://127.0.0.1:${port}` } });
  await world.ready(living[0]!);
  const work = Promise.all([submitMix(world), submitTelemetry(world)]);
  for (let round = 0; round < 6; round++) {
    await delay(300 + Math.random() * 1_000);
    await world.submit(diamond(world));
    const unlucky = Math.floor(Math.random() * 2);
    await world.kill(living[unlucky]!);
    living[unlucky] = planes[unlucky]!();
  }
  await work;
  await world.settled();
  await judged(world);
});

test("a control plane that freezes in the middle of a transaction holds up nobody for long, and on waking is refused", { timeout: 90_000 }, async () => {
  world = await startProcessesWorld({ link: "https" });
  const port = await anyFreePort();
  const frozen = world.startServer({ name: "server-2", port, failpoint: "before-commit:5:freeze" });
  await world.until("the one that freezes has the roles", () => Promise.resolve(world.logTail("server-2", 100).includes('"role":"dispatcher","epoch":1')));
  const other = world.startServer();
  world.startAgent();
  await world.ready(other);
  const work = Promise.all([submitMix(world), submitTelemetry(world)]);
  work.catch(() => undefined); // told when it is awaited
  const isFrozen = () => Promise.resolve(execFileSync("ps", ["-o", "stat=", "-p", String(frozen.child.pid)], { encoding: "utf8" }).startsWith("T"));
  await world.until("it is frozen", isFrozen);
  await world.submit(diamond(world)); // by the one that lives
  frozen.child.kill("SIGCONT");
  await work;
  await world.settled();
  await judged(world);
});

test("a server killed every one or two seconds for 20 s under load: every pipeline ends as it should", { timeout: 120_000 }, async () => {
  world = await startProcessesWorld({ link: "https" });
  let server = world.startServer();
  world.startAgent();
  await world.ready(server);
  const until = Date.now() + 20_000;
  const clients = Array.from({ length: 3 }, async () => {
    while (Date.now() < until) {
      await world.submit(diamond(world));
      await delay(400);
    }
  });
  const work = Promise.all([submitMix(world), ...clients]);
  while (Date.now() < until) {
    await delay(1_000 + Math.random() * 1_000);
    await world.kill(server);
    server = world.startServer();
  }
  await work;
  await world.settled();
  await judged(world);
  expect(world.client.submitted.length).toBeGreaterThan(10);
});
