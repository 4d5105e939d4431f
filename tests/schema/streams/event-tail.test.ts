import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import type { OpenedDatabase } from "../../../src/db/database.js";
import { openDatabase } from "../../../src/db/database.js";
import { newId, type PipelineId } from "../../../src/domain/ids.js";
import { createEventTail, type EventTail } from "../../../src/schema/streams/event-tail.js";
import { eventStream } from "../../../src/schema/streams/event-stream.js";
import { createTestDatabase, type TestDatabase } from "../../support/postgres.js";
import { silent } from "../../support/world.js";

let database: TestDatabase;
let opened: OpenedDatabase;
let ids: PipelineId[];
const rings = new Set<() => void>();
const wakeups = { listen: (_topic: string, wake: () => void) => { rings.add(wake); return () => rings.delete(wake); }, wake: () => rings.forEach((ring) => ring()) };
let statements = 0;

beforeAll(async () => {
  database = await createTestDatabase();
  opened = openDatabase({ url: database.url, size: 4, log: silent });
  opened.pool.on("acquire", () => statements++);
  ids = [newId("pip", 1), newId("pip", 2)];
  for (const id of ids) await opened.db.insertInto("pipelines").values({ id, name: "p", status: "RUNNING", labels: "{}", spec: "{}", seq: 0, stage_count: 1, created_by: "t", created_at: new Date() }).execute();
});
afterAll(async () => { await opened.close(); await database.drop(); });
beforeEach(() => { statements = 0; });

/** Writes events as the engine does: numbered under a lock, all of them in one statement. */
async function write(count: number, pipelineId: PipelineId = ids[0]!, bytes = 10): Promise<void> {
  await opened.db.transaction().execute(async (trx) => {
    const { seq } = await trx.updateTable("pipelines").set((eb) => ({ seq: eb("seq", "+", count) })).where("id", "=", pipelineId).returning("seq").executeTakeFirstOrThrow();
    const { position } = await trx.updateTable("event_counter").set((eb) => ({ position: eb("position", "+", count) })).returning("position").executeTakeFirstOrThrow();
    await trx.insertInto("events").values(Array.from({ length: count }, (_, i) => ({ position: position - count + 1 + i, pipeline_id: pipelineId, seq: seq - count + 1 + i, type: "StageQueued" as const, stage: "s", payload: JSON.stringify({ pad: "x".repeat(bytes) }), at: new Date() }))).execute();
  });
}
async function attached(tail: EventTail, pipelineId: PipelineId | null = null) {
  let woken = 0;
  const attachment = tail.attach(pipelineId, () => void woken++);
  await attachment.ready;
  return { ...attachment, get woken() { return woken; } };
}
const settled = async (tail: EventTail, from: number, count: number) => { wakeups.wake(); await expect.poll(() => tail.after(null, from, 100_000)?.length, { interval: 5 }).toBe(count); };
const head = async () => (await opened.db.selectFrom("event_counter").select("position").executeTakeFirstOrThrow()).position;

test("what happens after it stands somewhere is in memory, by position and by pipeline, and wakes whom it concerns", async () => {
  const tail = createEventTail({ db: opened.db, wakeups, log: silent });
  const start = await head();
  const fleet = await attached(tail), first = await attached(tail, ids[0]), second = await attached(tail, ids[1]);
  await write(3);
  await settled(tail, start, 3);
  expect([fleet.woken > 0, first.woken > 0, second.woken > 0]).toEqual([true, true, false]);
  expect(tail.after(null, start + 1, 10)!.map((event) => event.position)).toEqual([start + 2, start + 3]);
  const { seq } = await opened.db.selectFrom("pipelines").select("seq").where("id", "=", ids[0]!).executeTakeFirstOrThrow();
  expect(tail.after(ids[0]!, seq - 1, 10)!.map((event) => event.seq)).toEqual([seq]);
  expect(tail.after(ids[0]!, seq - 4, 10)).toBeNull(); // before it: ask SQL
  expect(tail.after(ids[1]!, 0, 10)).toBeNull();
  expect(tail.after(null, start - 1, 10)).toBeNull();
  for (const each of [fleet, first, second]) each.detach();
  expect(rings.size).toBe(0);
});

test("memory is bounded by number and by bytes", async () => {
  const few = createEventTail({ db: opened.db, wakeups, log: silent, keepEvents: 100 });
  const some = await attached(few);
  const start = await head();
  for (let i = 0; i < 6; i++) await write(50);
  wakeups.wake();
  await expect.poll(() => few.after(null, start + 299, 10)?.length).toBe(1);
  expect(few.after(null, start, 10)).toBeNull();
  expect(few.after(null, start + 200, 1_000)).toHaveLength(100);
  some.detach();

  const small = createEventTail({ db: opened.db, wakeups, log: silent, keepBytes: 100_000 });
  const other = await attached(small);
  const from = await head();
  await write(20, ids[0], 20_000);
  wakeups.wake();
  await expect.poll(() => small.after(null, from + 19, 10)?.length).toBe(1);
  expect(small.after(null, from + 16, 10)).toHaveLength(4);
  expect(small.after(null, from + 10, 10)).toBeNull();
  other.detach();
});

test("many subscribers of one event cost one read", async () => {
  const tail = createEventTail({ db: opened.db, wakeups, log: silent });
  const streams = Array.from({ length: 100 }, () => eventStream({ db: opened.db, tail, pipelineId: ids[0]!, after: null, bookmarkEveryMs: 60_000 }));
  await Promise.all(streams.map((stream) => stream.next()));
  const pending = streams.map((stream) => stream.next());
  await expect.poll(() => statements).toBeGreaterThanOrEqual(202); // each looked where it stands, and for what is there
  await expect.poll(() => opened.pool.waitingCount + opened.pool.totalCount - opened.pool.idleCount).toBe(0); // all have looked and wait
  await write(5);
  statements = 0;
  wakeups.wake();
  const items = await Promise.all(pending);
  await Promise.all(streams.flatMap((stream) => [stream.next(), stream.next(), stream.next(), stream.next()]));
  expect(statements).toBeLessThanOrEqual(2);
  expect(new Set(items.map((step) => step.value)).size).toBe(1); // the same object to everyone
  await Promise.all(streams.map((stream) => stream.return!()));
});

test("a database that is away for a while delays events and loses none", async () => {
  let broken = false;
  const db = new Proxy(opened.db, { get(target, name) { if (broken && name === "selectFrom") throw new Error("gone"); const value = Reflect.get(target, name) as unknown; return typeof value === "function" ? value.bind(target) : value; } });
  const tail = createEventTail({ db, wakeups, log: silent });
  const start = await head();
  const one = await attached(tail);
  broken = true;
  await write(2);
  wakeups.wake();
  await new Promise(setImmediate);
  expect(tail.after(null, start, 10)).toEqual([]);
  broken = false;
  await expect.poll(() => tail.after(null, start, 10)?.length, { timeout: 5_000 }).toBe(2); // it tries again by itself
  one.detach();
});
