// Control planes among broken lines to Postgres, lost answers, rivals that die or freeze, and deaths every second or two: real processes over HTTPS.
import { execFileSync } from "node:child_process";
import { setTimeout as delay } from "node:timers/promises";
import { afterEach, expect, test } from "vitest";
import { anyFreePort } from "../../src/cli/stack/ports.js";
import { judged } from "../support/nemesis.js";
import { startProxy } from "../support/nemesis-proxy.js";
import { diamond, stage, submitMix, submitTelemetry } from "../support/processes-world-load.js";
import { startProcessesWorld, type ProcessesWorld } from "../support/processes-world.js";
import "../support/built-cli.js"; // has the command line built before the workers start

let world: ProcessesWorld;
afterEach(() => world.stop());

test("connections to Postgres that break in the middle of transactions crash nobody and double nothing", { timeout: 60_000 }, async () => {
  world = await startProcessesWorld({ link: "https" });
  const server = world.startServer();
  world.startAgent();
  await world.ready(server);
  const work = Promise.all([submitMix(world), submitTelemetry(world), ...Array.from({ length: 10 }, () => world.submit(diamond(world)))]);
  for (let round = 0; round < 12; round++) {
    await delay(world.chance.between(50, 400));
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
  await world.until("each has an agent", async () => (await world.db.query("select from agents")).rowCount === 2);
  const work = Promise.all([submitMix(world), submitTelemetry(world)]);
  for (let round = 0; round < 6; round++) {
    await delay(world.chance.between(300, 1_300));
    await world.submit(diamond(world));
    const unlucky = world.chance.below(2);
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
    await delay(world.chance.between(1_000, 2_000));
    await world.kill(server);
    server = world.startServer();
  }
  await work;
  await world.settled();
  await judged(world);
  expect(world.client.submitted.length).toBeGreaterThan(10);
});
