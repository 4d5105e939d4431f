// An agent over Redis streams while Redis suffers: nothing is lost, nothing is told twice, and the fast link comes back by itself.
import { expect, onTestFinished, test } from "vitest";
import { connectRedis } from "../../src/bus/connection.js";
import { AGENT_PATHS } from "../../src/protocol/messages.js";
import { startAgentWorld, type World } from "../support/agents.js";
import { assign, commandAssignment } from "../support/control-plane-peer.js";
import { redisIsHere, startOwnRedis, testRedis, type OwnRedis } from "../support/redis.js";

const node = process.execPath;
const ticking = (lines: number): string => `let i = 0; const t = setInterval(() => { console.log("line " + ++i); if (i === ${lines}) clearInterval(t); }, 50)`;
const wholeLog = (lines: number): string => Array.from({ length: lines }, (_, i) => `line ${i + 1}\n`).join("");

async function worldOnOwnRedis(): Promise<World & { redis: OwnRedis }> {
  const redis = await startOwnRedis();
  onTestFinished(() => redis.stop());
  const world = await startAgentWorld({ peer: { redis: { url: redis.url, prefix: "own" } } });
  await world.peer.until(() => world.agent.link() === "streams", "the streams link");
  return { ...world, redis };
}

/** Runs a program while `harm` happens, then one more; both arrive whole. */
async function survives({ peer }: World, harm: () => Promise<void>): Promise<void> {
  const during = commandAssignment([node, "-e", ticking(40)], { stage: "during" });
  peer.order(assign(during));
  await peer.until(() => peer.logOf(during.attemptId).includes("line 5\n"), "five lines");
  await harm();
  const after = commandAssignment([node, "-e", ticking(3)], { stage: "after" });
  peer.order(assign(after));
  expect((await peer.report("ended", after.attemptId, 15_000)).outcome).toMatchObject({ kind: "COMPLETED" });
  expect((await peer.report("ended", during.attemptId, 15_000)).outcome).toMatchObject({ kind: "COMPLETED" });
  expect(peer.logOf(during.attemptId)).toBe(wholeLog(40));
  expect(peer.reports.map(({ n }) => n)).toEqual(peer.reports.map((_, i) => i + 1));
}

test.skipIf(!redisIsHere)("orders and reports travel over streams when there are some", async () => {
  const { peer, agent } = await startAgentWorld({ peer: { redis: testRedis() } });
  await peer.until(() => agent.link() === "streams", "the streams link");
  const overHttps: string[] = [];
  peer.intercept = (path, _, body) => {
    if (path === AGENT_PATHS.reports || (path === AGENT_PATHS.poll && (JSON.parse(body) as { waitMs: number }).waitMs > 0)) overHttps.push(path); // polls that do not wait belong to the streams link (K2)
    return false;
  };
  const assignment = commandAssignment([node, "-e", "console.log(1)"]);
  peer.order(assign(assignment));
  expect((await peer.report("ended", assignment.attemptId)).outcome).toMatchObject({ kind: "COMPLETED" });
  expect(overHttps).toEqual([]);
});

test.skipIf(!redisIsHere)("TRAINYARD_AGENT_LINK=https leaves streams alone", async () => {
  const { peer, agent } = await startAgentWorld({ peer: { redis: testRedis() }, settings: { TRAINYARD_AGENT_LINK: "https" } });
  const assignment = commandAssignment([node, "-e", "console.log(1)"]);
  peer.order(assign(assignment));
  await peer.report("ended", assignment.attemptId);
  expect(agent.link()).toBe("https");
});

test.skipIf(!redisIsHere)("FLUSHALL costs seconds and nothing else", async () => {
  const world = await worldOnOwnRedis();
  await survives(world, async () => {
    const admin = await connectRedis({ url: world.redis.url, username: null, password: null }, { silenceMs: 5_000 });
    await admin.command(["FLUSHALL"]);
    admin.close();
  });
  expect(world.agent.link()).toBe("streams");
});

test.skipIf(!redisIsHere)("after FLUSHALL the agent asks for what is outstanding at once, and does not wait until it is published again", async () => {
  const redis = await startOwnRedis();
  onTestFinished(() => redis.stop());
  const { peer, agent } = await startAgentWorld({ peer: { redis: { url: redis.url, prefix: "own" }, republishAfterMs: 600_000 } });
  await peer.until(() => agent.link() === "streams", "the streams link");
  const admin = await connectRedis({ url: redis.url, username: null, password: null }, { silenceMs: 5_000 });
  onTestFinished(() => admin.close());
  await peer.until(() => peer.polls() > 0, "the first look at what is outstanding");
  await expect.poll(() => admin.command(["CLIENT", "LIST"])).toMatch(/ flags=b.* cmd=xreadgroup/);
  const polls = peer.polls();
  await admin.command(["FLUSHALL"]);
  await peer.until(() => peer.polls() > polls, "the agent to ask over HTTPS", 3_000);
  expect(agent.link()).toBe("streams");
});

test.skipIf(!redisIsHere)("a killed and restarted Redis costs seconds: HTTPS steps in and streams come back", async () => {
  const world = await worldOnOwnRedis();
  await survives(world, async () => {
    await world.redis.kill();
    await world.peer.until(() => world.agent.link() === "https", "the fall-back", 3_000);
    await world.redis.restart();
    await world.peer.until(() => world.agent.link() === "streams", "the return", 15_000);
  });
});

test.skipIf(!redisIsHere)("a frozen Redis is noticed within seconds", async () => {
  const world = await worldOnOwnRedis();
  await survives(world, async () => {
    world.redis.freeze();
    await world.peer.until(() => world.agent.link() === "https", "the fall-back", 6_000);
    const meanwhile = commandAssignment([node, "-e", ticking(2)], { stage: "meanwhile" });
    world.peer.order(assign(meanwhile));
    expect((await world.peer.report("ended", meanwhile.attemptId)).outcome).toMatchObject({ kind: "COMPLETED" });
    world.redis.thaw();
    await world.peer.until(() => world.agent.link() === "streams", "the return", 15_000);
  });
});

test.skipIf(!redisIsHere)("reports that nobody reads are sent again when they are lost, without a break of the link", async () => {
  const world = await worldOnOwnRedis();
  const { peer } = world;
  peer.pauseStreams(true);
  const assignment = commandAssignment([node, "-e", ticking(3)]);
  peer.order(assign(assignment));
  const admin = await connectRedis({ url: world.redis.url, username: null, password: null }, { silenceMs: 5_000 });
  onTestFinished(() => admin.close());
  const reportsKey = `own:agent:${peer.agentId}:reports`;
  const length = async () => Number(await admin.command(["XLEN", reportsKey]));
  const deadline = Date.now() + 5_000;
  while ((await length()) < 3 && Date.now() < deadline) await new Promise((wait) => setTimeout(wait, 20));
  await admin.command(["DEL", reportsKey]);
  peer.pauseStreams(false);
  expect((await peer.report("ended", assignment.attemptId, 15_000)).outcome).toMatchObject({ kind: "COMPLETED" });
  expect(peer.logOf(assignment.attemptId)).toBe(wholeLog(3));
});
