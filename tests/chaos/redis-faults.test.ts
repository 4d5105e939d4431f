// Redis away, frozen, empty or new: it costs seconds, never work, and the fast link comes back by itself.
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { connectRedis } from "../../src/bus/connection.js";
import { flushAtSomeEvent, judged } from "../support/nemesis.js";
import { redisIsHere } from "../support/redis.js";
import { diamond, submitMix, submitTelemetry } from "../support/processes-world-load.js";
import { startProcessesWorld, type ProcessesWorld } from "../support/processes-world.js";
import "../support/built-cli.js"; // has the command line built before the workers start

/** The global setup says aloud when there is none. */
describe.skipIf(!redisIsHere)("over Redis streams", () => {
  let world: ProcessesWorld;
  beforeAll(async () => {
    world = await startProcessesWorld({ link: "streams" });
    const server = world.startServer();
    await world.ready(server);
    world.startAgent();
  });
  afterAll(() => world.stop());

  /** Users other than the default one are agents. */
  const agentOnStreams = async (): Promise<boolean> => {
    const connection = await connectRedis({ url: world.redis!.url, username: null, password: null }, { silenceMs: 2_000 }).catch(() => null);
    if (connection === null) return false;
    const clients = String(await connection.command(["CLIENT", "LIST"]).catch(() => ""));
    connection.close();
    return / user=agt_\w+/.test(clients);
  };
  const through = async (fault: () => Promise<void>): Promise<void> => {
    await world.until("the agent uses streams", agentOnStreams, 20_000);
    const work = Promise.all([submitTelemetry(world), submitMix(world)]);
    work.catch(() => undefined); // told when it is awaited
    await delay(world.chance.between(0, 1_000));
    await fault();
    await work;
    await world.submit(diamond(world));
    await world.settled();
    await judged(world);
    await world.until("the agent uses streams again", agentOnStreams, 25_000).catch((error: unknown) => { throw new Error(`${(error as Error).message}\n${world.logTail("agent")}\n${world.logTail("server")}`); });
  };

  test("FLUSHALL again and again: nothing is lost", { timeout: 90_000 }, () => through(async () => {
    for (let n = 0; n < 6; n++) {
      await world.flushRedis();
      await delay(world.chance.between(0, 400));
    }
  }));

  test.each([0, 1, 2])("FLUSHALL at an event of the run that the seed picks (%i): nothing was in Redis only", { timeout: 90_000 }, (n) => through(() => flushAtSomeEvent(world, world.chance.of(`moment ${n}`).below(60))));

  test("a Redis that freezes for 5 s: the work goes on over HTTPS", { timeout: 90_000 }, () => through(async () => {
    world.redis!.freeze();
    await delay(5_000);
    world.redis!.thaw();
  }));

  test("a Redis killed and started again: agents find their way back to it", { timeout: 90_000 }, () => through(async () => {
    await world.redis!.kill();
    await delay(1_500);
    await world.redis!.restart();
  }));

  test("a Redis killed while work is under way and gone for the rest of it", { timeout: 90_000 }, async () => {
    await through(async () => {
      await world.redis!.kill();
      const began = Date.now();
      await world.submit(diamond(world));
      await world.settled();
      expect(Date.now() - began).toBeLessThan(30_000);
      await world.redis!.restart();
    });
  });
});
