// Agents that freeze, hosts that die, programs that vanish: real processes over HTTPS.
import { setTimeout as delay } from "node:timers/promises";
import { afterEach, expect, test } from "vitest";
import { gatherEvidence } from "../support/checker-evidence.js";
import { judged } from "../support/nemesis.js";
import { startLine } from "../support/nemesis-line.js";
import { stage } from "../support/processes-world-load.js";
import { startProcessesWorld, witnessClock, type ProcessesWorld } from "../support/processes-world.js";
import "../support/built-cli.js"; // has the command line built before the workers start

let world: ProcessesWorld;
afterEach(() => world.stop());

/** A lease that is over while one watches. */
const SHORT_LEASE = { TRAINYARD_LEASE_TTL_MS: "2000", TRAINYARD_RENEW_EVERY_MS: "250", TRAINYARD_UNRESPONSIVE_AFTER_MS: "1000", TRAINYARD_SWEEP_EVERY_MS: "200" };

const attempts = async () => (await world.db.query<{ number: number; status: string; agent: string }>("select t.number, t.status, a.name as agent from attempts t join agents a on a.id = t.agent_id order by t.number")).rows;
const running = (number: number) => world.until(`attempt ${number} runs`, async () => (await attempts()).some((row) => row.number === number && row.status === "RUNNING"));
const working = (number: number) => world.until(`the program of attempt ${number} works`, async () => (await gatherEvidence(world)).deeds.some((deed) => deed.attempt === number && deed.deed === "step"))
  .catch((error: unknown) => { throw new Error([(error as Error).message, ...world.timeline, ...[...world.agents, "server"].map((name) => world.logTail(name))].join("\n")); });

test("an agent frozen past its lease is a zombie: another takes over, and on waking it is refused and stops its program", { timeout: 60_000 }, async () => {
  world = await startProcessesWorld({ link: "https", settings: SHORT_LEASE });
  const server = world.startServer();
  const frozen = world.startAgent();
  await world.ready(server);
  await world.submit({ name: "zombie", stages: [stage(world, "long", [], { steps: 80, pause: 0.1 }, { retry: { maxAttempts: 2, backoffSeconds: 0 } })] });
  await working(1);
  world.startAgent({ name: "other" });
  world.freeze(frozen);
  await working(2);
  await delay(1_000); // for that long both work: what the fence is for
  world.thaw(frozen);
  const awake = witnessClock();
  await world.settled();
  expect(await attempts()).toEqual([{ number: 1, status: "LOST", agent: "agent" }, { number: 2, status: "COMPLETED", agent: "other" }]);
  await judged(world, { lossAllowed: true, zombieSeconds: 3 });
  const { deeds } = await gatherEvidence(world);
  const zombie = deeds.filter((deed) => deed.attempt === 1);
  expect(zombie.at(-1)).toMatchObject({ deed: "stopped" });
  expect(zombie.at(-1)!.at - awake).toBeLessThan(3);
  expect(deeds.find((deed) => deed.attempt === 2)!.at).toBeLessThan(zombie.at(-1)!.at); // it was a zombie indeed
});

test("an agent frozen past its lease before the program began does not begin it on waking", { timeout: 60_000 }, async () => {
  world = await startProcessesWorld({ link: "https", settings: SHORT_LEASE });
  const server = world.startServer();
  const frozen = world.startAgent({ failpoint: "before-spawn:1:freeze" });
  await world.ready(server);
  await world.submit({ name: "late", stages: [stage(world, "long", [], { steps: 5, pause: 0.1 }, { retry: { maxAttempts: 2, backoffSeconds: 0 } })] });
  await world.until("the offer is lost", async () => (await attempts()).some((row) => row.status === "LOST"));
  world.startAgent({ name: "other" });
  await working(2);
  world.thaw(frozen);
  await world.settled();
  await judged(world, { lossAllowed: true });
  expect((await gatherEvidence(world)).deeds.filter((deed) => deed.attempt === 1)).toEqual([]);
});

test("an agent cut off from the control plane stops its program before the stage begins elsewhere on the host: the two never overlap", { timeout: 60_000 }, async () => {
  world = await startProcessesWorld({ link: "https", settings: SHORT_LEASE });
  const line = await startLine(world.url);
  try {
    const server = world.startServer();
    world.startAgent({ settings: { TRAINYARD_URL: line.url } });
    await world.ready(server);
    await world.submit({ name: "moved", stages: [stage(world, "long", [], { steps: 60, pause: 0.1 }, { retry: { maxAttempts: 2, backoffSeconds: 0 } })] });
    await working(1);
    world.startAgent({ name: "other" });
    world.note("the agent is cut off");
    line.cut();
    await working(2);
    const { deeds } = await gatherEvidence(world);
    const [first, second] = [1, 2].map((attempt) => deeds.filter((deed) => deed.attempt === attempt));
    expect(first!.at(-1)!.at).toBeLessThanOrEqual(second![0]!.at);
    line.mend(); // what it has to tell of the first attempt is refused
    await world.settled();
    expect(await attempts()).toEqual([{ number: 1, status: "LOST", agent: "agent" }, { number: 2, status: "COMPLETED", agent: "other" }]);
    await judged(world, { lossAllowed: true });
  } finally {
    await line.stop();
  }
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
  world.killPrograms("agent");
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
  world.killPrograms("agent");
  world.startAgent();
  await running(2);
  await world.settled();
  expect(await attempts()).toMatchObject([{ number: 1, status: "FAILED" }, { number: 2, status: "COMPLETED" }]);
  await judged(world);
});
