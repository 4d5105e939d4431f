import { afterEach, expect, onTestFinished, test } from "vitest";
import type { ActorsOptions } from "../../src/actors/actors.js";
import { connectRedis, type RedisAddress, type RedisConnection } from "../../src/bus/connection.js";
import { busKeys } from "../../src/bus/keys.js";
import type { AgentId } from "../../src/domain/ids.js";
import { redisIsHere, startOwnRedis, testRedis } from "../support/redis.js";
import { commands } from "../support/specs.js";
import { startWorld, type World } from "../support/world.js";

let world: World;
afterEach(() => world.stop());

async function startWorldOnRedis(options: Partial<ActorsOptions> = {}, { url, prefix } = testRedis()!): Promise<{ address: RedisAddress; prefix: string }> {
  const address = { url, username: null, password: null };
  world = await startWorld({ redis: { address, agentUrl: `redis://${new URL(url).host}`, prefix }, ...options });
  await expect.poll(() => world.actors.redisConnected, { timeout: 5_000 }).toBe(true);
  return { address, prefix };
}

test.skipIf(!redisIsHere)("an agent's Redis user reaches its own two streams and nothing else: no other agent's, no administration, no scripts, no channels", async () => {
  const { prefix } = await startWorldOnRedis();
  const [mine, other] = await Promise.all([world.agent({ name: "mine" }), world.agent({ name: "other" })]);
  const link = mine.session.redis!;
  const agent = await connectRedis({ url: link.url, username: link.username, password: link.password }, { silenceMs: 5_000 });
  try {
    expect(await agent.command(["XADD", link.reportsKey, "*", "batch", "{}"])).toMatch(/-/);
    expect(link.ordersKey).toBe(busKeys(prefix).orders(mine.session.agentId as AgentId));
    const { ordersKey, reportsKey } = other.session.redis!;
    const refused = [
      ["XADD", ordersKey, "*", "batch", "[]"], ["XADD", reportsKey, "*", "batch", "{}"], ["XREADGROUP", "GROUP", "agent", "reader", "STREAMS", ordersKey, ">"], ["XACK", ordersKey, "agent", "1-1"], ["XDEL", reportsKey, "1-1"],
      ["XGROUP", "CREATE", ordersKey, "agent", "0", "MKSTREAM"], ["XGROUP", "DESTROY", link.ordersKey, "agent"], ["XTRIM", link.reportsKey, "MAXLEN", "0"], ["DEL", link.ordersKey], ["GET", "x"],
      ["KEYS", "*"], ["SCAN", "0"], ["FLUSHALL"], ["CONFIG", "GET", "*"], ["EVAL", "return 1", "0"], ["PUBLISH", "x", "y"], ["SUBSCRIBE", "x"], ["ACL", "LIST"], ["CLIENT", "LIST"], ["INFO"],
    ];
    for (const command of refused) expect([command.join(" "), await agent.command(command).catch((error: Error) => error.message)]).toEqual([command.join(" "), expect.stringMatching(/^NOPERM/)]);
  } finally {
    agent.close();
  }
});

test.skipIf(!redisIsHere)("when Redis has forgotten its streams, what is outstanding is published again from Postgres at once", async () => {
  const { address } = await startWorldOnRedis({ republishAfterMs: 600_000 });
  const agent = await world.agent();
  await agent.vanish(); // its session stands, and it takes nothing
  const { ordersKey, reportsKey } = agent.session.redis!;
  const redis = await connectRedis(address, { silenceMs: 5_000 });
  const published = async () => ((await redis.command(["XRANGE", ordersKey, "-", "+"])) as [string, string[]][]).map(([, fields]) => fields[1]!);
  try {
    await world.submit(commands("one", [{ name: "a" }]));
    await expect.poll(published, { timeout: 5_000 }).toHaveLength(1);
    const [order] = await published();
    await expect.poll(() => redis.command(["XINFO", "GROUPS", reportsKey]).then(() => true, () => false), { timeout: 5_000 }).toBe(true); // its reports are read
    await redis.command(["DEL", ordersKey, reportsKey]); // FLUSHALL, on a server that is not ours alone
    await expect.poll(published, { timeout: 5_000 }).not.toHaveLength(0);
    expect(JSON.parse((await published())[0]!)).toEqual(JSON.parse(order!));
  } finally {
    redis.close();
  }
});

test.skipIf(!redisIsHere)("after a restart of Redis reports are read from it again: a blocked read that broke off is not the last", async () => {
  const own = await startOwnRedis();
  onTestFinished(() => own.stop());
  const { address } = await startWorldOnRedis({}, { url: own.url, prefix: "own" });
  const agent = await world.agent();
  const { reportsKey } = agent.session.redis!;
  const readOf = async (connection: RedisConnection) => {
    await connection.command(["XADD", reportsKey, "*", "batch", "{}"]); // what cannot be understood is acknowledged too
    await expect.poll(() => connection.command(["XLEN", reportsKey]), { timeout: 8_000 }).toBe(0);
    connection.close();
  };
  await readOf(await connectRedis(address, { silenceMs: 5_000 }));
  await own.kill();
  await expect.poll(() => world.actors.redisConnected, { timeout: 5_000 }).toBe(false);
  await own.restart();
  await expect.poll(() => world.actors.redisConnected, { timeout: 8_000 }).toBe(true);
  await readOf(await connectRedis(address, { silenceMs: 5_000 }));
}, 40_000);
