import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { connectRedis, type RedisConnection } from "../../src/bus/connection.js";
import { busKeys } from "../../src/bus/keys.js";
import { acknowledge, appendBatches, streamReader } from "../../src/bus/streams.js";
import { newId } from "../../src/domain/ids.js";
import { redisIsHere, startOwnRedis, testRedis } from "../support/redis.js";

test("each agent's keys lie under its own pattern", () => {
  const agent = newId("agt");
  const keys = busKeys("ty");
  const prefix = keys.agentPattern(agent).slice(0, -1);
  expect([keys.orders(agent), keys.reports(agent)].every((key) => key.startsWith(prefix))).toBe(true);
});

describe.skipIf(!redisIsHere)("streams", () => {
  let connection: RedisConnection;
  const newKey = (): string => testRedis()?.prefix ?? "";
  const address = () => ({ url: testRedis()?.url ?? "", username: null, password: null });
  const read = { blockMs: 200, count: 100 };
  beforeAll(async () => { connection = await connectRedis(address(), { silenceMs: 5_000 }); });
  afterAll(() => connection.close());

  test("what was read and not acknowledged is read again by the next reader, first", async () => {
    const key = newKey();
    await appendBatches(connection, [{ key, batch: "a" }, { key, batch: "b" }]);
    const first = await streamReader(connection, "g").read({ keys: [key], ...read });
    expect(first.entries.map(({ batch }) => batch)).toEqual(["a", "b"]);
    await acknowledge(connection, "g", first.entries.slice(0, 1));
    await appendBatches(connection, [{ key, batch: "c" }]);
    const next = streamReader(connection, "g");
    expect((await next.read({ keys: [key], ...read })).entries.map(({ batch }) => batch)).toEqual(["b"]);
    expect((await next.read({ keys: [key], ...read })).entries.map(({ batch }) => batch)).toEqual(["c"]);
    expect(Number(await connection.command(["XLEN", key]))).toBe(2);
  });

  test("a pending entry that was trimmed away arrives without a body and can be acknowledged", async () => {
    const key = newKey();
    await appendBatches(connection, [{ key, batch: "a" }]);
    const { entries } = await streamReader(connection, "g").read({ keys: [key], ...read });
    await connection.command(["XDEL", key, ...entries.map(({ id }) => id)]);
    const reader = streamReader(connection, "g");
    const again = await reader.read({ keys: [key], ...read });
    expect(again.entries).toEqual([{ key, id: entries[0]?.id, batch: null }]);
    await acknowledge(connection, "g", again.entries);
    expect((await streamReader(connection, "g").read({ keys: [key], ...read })).entries).toEqual([]);
  });

  test("several streams are read together, new ones joined as they come", async () => {
    const [one, two] = [newKey(), newKey()];
    const reader = streamReader(connection, "g");
    await appendBatches(connection, [{ key: one, batch: "1" }]);
    expect((await reader.read({ keys: [one], ...read })).entries).toHaveLength(1);
    await appendBatches(connection, [{ key: one, batch: "2" }, { key: two, batch: "3" }]);
    const seen: (string | null)[] = [];
    while (seen.length < 2) seen.push(...(await reader.read({ keys: [one, two], ...read })).entries.map(({ batch }) => batch));
    expect(seen.sort()).toEqual(["2", "3"]);
  });

  test("a stream deleted under a blocked reader is recreated and said", async () => {
    const key = newKey();
    const blocked = await connectRedis(address(), { silenceMs: 5_000 });
    onTestFinished(() => blocked.close());
    const reader = streamReader(blocked, "g");
    expect((await reader.read({ keys: [key], blockMs: 1, count: 1 })).recreated).toEqual([key]);
    const id = String(await blocked.command(["CLIENT", "ID"]));
    const waiting = reader.read({ keys: [key], blockMs: 3_000, count: 1 });
    await expect.poll(() => connection.command(["CLIENT", "LIST", "ID", id])).toMatch(/ flags=b/);
    await connection.command(["DEL", key]); // the server says UNBLOCKED
    expect(await waiting).toEqual({ entries: [], recreated: [key] });
    await appendBatches(connection, [{ key, batch: "x" }]);
    expect((await reader.read({ keys: [key], ...read })).entries.map(({ batch }) => batch)).toEqual(["x"]);
  });

  test("a stream that was deleted between two reads is recreated and said", async () => {
    const key = newKey();
    const reader = streamReader(connection, "g");
    await reader.read({ keys: [key], blockMs: 1, count: 1 });
    await connection.command(["DEL", key]);
    expect(await reader.read({ keys: [key], ...read })).toEqual({ entries: [], recreated: [key] }); // the server says NOGROUP
    await appendBatches(connection, [{ key, batch: "x" }]);
    expect((await reader.read({ keys: [key], ...read })).entries.map(({ batch }) => batch)).toEqual(["x"]);
  });

  test("however much lies unread, nothing of it is trimmed", async () => {
    const key = newKey();
    const batches = Array.from({ length: 12_000 }, (_, index) => String(index));
    for (let from = 0; from < batches.length; from += 1_000) await appendBatches(connection, batches.slice(from, from + 1_000).map((batch) => ({ key, batch })));
    const reader = streamReader(connection, "g");
    const seen: (string | null)[] = [];
    while (seen.length < batches.length) {
      const { entries } = await reader.read({ keys: [key], blockMs: 200, count: 5_000 });
      if (entries.length === 0 && seen.length > 0) break;
      seen.push(...entries.map(({ batch }) => batch));
      await acknowledge(connection, "g", entries);
    }
    expect(seen).toEqual(batches);
    expect(Number(await connection.command(["XLEN", key]))).toBe(0);
  });

  test("a frozen server ends the connection within the silence it may keep", async () => {
    const redis = await startOwnRedis();
    onTestFinished(() => redis.stop());
    const frozen = await connectRedis({ url: redis.url, username: null, password: null }, { silenceMs: 300 });
    redis.freeze();
    const since = performance.now();
    await expect(frozen.command(["PING"])).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(performance.now() - since).toBeLessThan(2_000);
    expect((await frozen.over).message).toMatch(/no reply for 300 ms/);
    await expect(frozen.command(["PING"])).rejects.toMatchObject({ code: "UNAVAILABLE" });
    redis.thaw();
  });

  test("nobody there is said at once", async () => {
    await expect(connectRedis({ url: "redis://127.0.0.1:1", username: null, password: null }, { silenceMs: 1_000 })).rejects.toMatchObject({ code: "UNAVAILABLE", message: expect.stringContaining("127.0.0.1:1") });
  });
});
