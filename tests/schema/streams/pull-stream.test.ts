import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createEventTail } from "../../../src/schema/streams/event-tail.js";
import { eventStream } from "../../../src/schema/streams/event-stream.js";
import { pullStream, type Page } from "../../../src/schema/streams/pull-stream.js";
import { TOPICS } from "../../../src/actors/control-plane.js";
import { openDatabase } from "../../../src/db/database.js";
import { createTestDatabase } from "../../support/postgres.js";
import { silent } from "../../support/world.js";

/** A source that a test feeds; it counts what it holds. */
function fed(idleEveryMs = 60_000) {
  const state = { queue: [] as number[], started: 0, stopped: 0, pages: 0, wake: () => undefined as void };
  const stream = pullStream<number>({
    idleEveryMs,
    async start(wake) { state.started++; state.wake = wake; },
    async page(): Promise<Page<number>> { state.pages++; return { items: state.queue.splice(0, 3), then: state.queue.length > 0 ? "more" : "wait" }; },
    idle: () => -1,
    stop: () => void state.stopped++,
  });
  return { stream, state, feed: (...items: number[]) => { state.queue.push(...items); state.wake(); } };
}

describe("a pulled stream", () => {
  test("gives what comes, in order, and stops its source once", async () => {
    const { stream, state, feed } = fed();
    const next = stream.next();
    feed(1, 2, 3, 4, 5);
    expect([await next, ...(await Promise.all([stream.next(), stream.next(), stream.next(), stream.next()]))].map((step) => step.value)).toEqual([1, 2, 3, 4, 5]);
    await stream.return!();
    await stream.return!();
    expect(state).toMatchObject({ started: 1, stopped: 1 });
    expect(await stream.next()).toEqual({ done: true, value: undefined });
  });

  test("`return` takes effect while a `next` is waiting", async () => {
    const { stream, state } = fed();
    const waiting = stream.next();
    await new Promise(setImmediate);
    await stream.return!();
    expect(await waiting).toEqual({ done: true, value: undefined });
    expect(state.stopped).toBe(1);
  });

  test("it says something when it was quiet, and nothing is lost around that", async () => {
    const { stream, feed } = fed(5);
    expect((await stream.next()).value).toBe(-1);
    feed(7);
    const seen = [];
    while (seen.at(-1) !== 7) seen.push((await stream.next()).value);
    expect(seen.filter((value) => value !== -1)).toEqual([7]);
    await stream.return!();
  });

  test("a failing source ends the stream with its error and is stopped", async () => {
    let stopped = 0;
    const stream = pullStream({ idleEveryMs: 1_000, start: () => Promise.reject(new Error("no such thing")), page: async () => ({ items: [], then: "wait" as const }), idle: () => null, stop: () => void stopped++ });
    await expect(stream.next()).rejects.toThrow("no such thing");
    expect(await stream.next()).toMatchObject({ done: true });
    expect(stopped).toBe(1);
  });

  test("a source in memory that never runs dry leaves the process its turns", async () => {
    let item = 0;
    const stream = pullStream<number>({ idleEveryMs: 1_000, start: async () => undefined, page: async () => ({ items: Array.from({ length: 256 }, () => item++), then: "more" as const }), idle: () => null, stop: () => undefined });
    let turns = 0;
    const ticker = setInterval(() => turns++, 0);
    for (let i = 0; i < 100_000; i++) await stream.next();
    clearInterval(ticker);
    expect(turns).toBeGreaterThan(5);
    await stream.return!();
  });

  test("a burst of 10,000 wake-ups that nobody reads is harmless, and holds nothing beyond one page", async () => {
    const { stream, state, feed } = fed();
    const first = stream.next();
    feed(0);
    expect((await first).value).toBe(0);
    for (let item = 1; item <= 10_000; item++) feed(item); // the reader stalls: it asks for nothing
    await new Promise(setImmediate);
    expect(state.pages).toBeLessThanOrEqual(2);
    expect(state.queue.length).toBeGreaterThanOrEqual(10_000 - 3);
    for (let item = 1; item <= 10_000; item++) expect((await stream.next()).value).toBe(item);
    await stream.return!();
  });

  test("whatever the order of feeding, reading and waking, every item comes once and in order", async () => {
    await fc.assert(fc.asyncProperty(fc.scheduler(), fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 12 }), async (scheduler, batches) => {
      const total = batches.reduce((sum, size) => sum + size, 0);
      const queue: number[] = [];
      let wake = () => undefined as void;
      let fedSoFar = 0;
      const stream = pullStream<number>({
        idleEveryMs: 60_000,
        start: (ring) => { wake = ring; return scheduler.schedule(Promise.resolve(), "start"); },
        async page() {
          const items = await scheduler.schedule(Promise.resolve(queue.splice(0, 4)), "page");
          return { items, then: items.length === 4 ? "more" : "wait" };
        },
        idle: () => null, stop: () => undefined,
      });
      const seen: number[] = [];
      const reading = (async () => { while (seen.length < total) seen.push((await stream.next()).value!); })();
      const feeding = scheduler.scheduleSequence(batches.map((size, index) => ({ label: `feed ${index}`, builder: async () => { for (let i = 0; i < size; i++) queue.push(fedSoFar++); wake(); } })));
      await scheduler.waitFor(Promise.all([reading, feeding.task]));
      await stream.return!();
      expect(seen).toEqual(Array.from({ length: total }, (_, i) => i));
    }), { numRuns: 60 });
  });
});

test("1,000 subscriptions to quiet streams, opened and given up, leave no listener, no timer and no reader behind", async () => {
  const database = await createTestDatabase();
  const { db, close } = openDatabase({ url: database.url, size: 4, log: silent });
  const listeners = new Set<() => void>();
  const tail = createEventTail({ db, log: silent, wakeups: { listen: (topic, wake) => { expect(topic).toBe(TOPICS.events); listeners.add(wake); return () => listeners.delete(wake); }, wake: () => undefined } });
  const timers = () => process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;
  await db.selectFrom("event_counter").selectAll().execute();
  const before = timers();
  for (let round = 0; round < 10; round++) {
    const streams = Array.from({ length: 100 }, () => eventStream({ db, tail, pipelineId: null, after: null, bookmarkEveryMs: 15_000 }));
    const waiting = await Promise.all(streams.map(async (stream, index) => {
      if (index % 3 !== 0) expect((await stream.next()).value).toMatchObject({ kind: "bookmark" });
      return { pending: stream.next() }; // some are given up before they have begun
    }));
    expect(tail.attached).toBeGreaterThan(0);
    expect(listeners.size).toBe(1); // one reader for all
    await Promise.all(streams.map((stream) => stream.return!()));
    for (const [index, { pending }] of waiting.entries()) expect((await pending).done === true || index % 3 === 0).toBe(true);
    expect(tail.attached).toBe(0);
    expect(listeners.size).toBe(0);
  }
  expect(timers()).toBeLessThanOrEqual(before + 4); // those of the pool's idle connections
  await close();
  await database.drop();
});
