import { createClient } from "redis";
import { expect, onTestFinished, test } from "vitest";
import { connectRedis } from "../../src/bus/connection.js";
import { redisIsHere, startOwnRedis } from "../support/redis.js";

test.skipIf(!redisIsHere)("what is sent while Redis is away is refused at once and never carried out later, as a plain client would", async () => {
  const redis = await startOwnRedis();
  onTestFinished(() => redis.stop());
  const ours = await connectRedis({ url: redis.url, username: null, password: null }, { silenceMs: 2_000 });
  onTestFinished(() => ours.close());
  const plain = createClient({ url: redis.url, socket: { reconnectStrategy: 20 } });
  plain.on("error", () => undefined);
  onTestFinished(() => plain.destroy());
  await plain.connect();

  const noticed = new Promise<void>((resolve) => plain.once("reconnecting", () => resolve()));
  await redis.kill();
  await noticed;
  const late = plain.sendCommand(["XADD", "late", "*", "from", "plain"]);
  const began = performance.now();
  await expect(ours.command(["XADD", "late", "*", "from", "ours"])).rejects.toMatchObject({ code: "UNAVAILABLE" });
  expect(performance.now() - began).toBeLessThan(1_000);
  await ours.over;
  await expect(ours.command(["XADD", "late", "*", "from", "ours"])).rejects.toMatchObject({ code: "UNAVAILABLE" });
  await redis.restart();
  await late; // by now whatever was queued anywhere has been carried out
  expect(await plain.sendCommand(["XRANGE", "late", "-", "+"])).toEqual([[expect.any(String), ["from", "plain"]]]);
  await expect(ours.command(["PING"])).rejects.toMatchObject({ code: "UNAVAILABLE" });
});
