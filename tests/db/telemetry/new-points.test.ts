import { afterAll, beforeAll, expect, test } from "vitest";
import { ingestTelemetry } from "../../../src/db/telemetry/ingest.js";
import { readNewPoints } from "../../../src/db/telemetry/new-points.js";
import type { StageId } from "../../../src/domain/ids.js";
import { metrics, openTelemetryWorld, type TelemetryWorld } from "./telemetry-world.js";

let world: TelemetryWorld;
beforeAll(async () => { world = await openTelemetryWorld(); });
afterAll(() => world.close());

const newAttempt = async () => world.attempt((await world.pipeline([{ name: "train" }]))[0]!);
const steps = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => [from + i, i] as const);

/** A reader that goes on from its cursor each time. */
function reader(stageId: StageId, options: { names?: string[]; afterStep?: number; limit?: number } = {}) {
  let cursor: string | null = null;
  return async () => {
    const answer = await readNewPoints(world.opened.db, { stageId, names: options.names ?? null, afterStep: options.afterStep ?? null, limit: options.limit ?? 1_000, after: cursor });
    cursor = answer.cursor;
    return answer;
  };
}

test("a reader begins with now, then gets each new point once, also late and repeated steps", async () => {
  const attempt = await newAttempt();
  await world.report([metrics(attempt, { loss: steps(0, 10) })]);
  const next = reader(attempt.stageId);
  expect(await next()).toMatchObject({ points: [], dropped: 0 });
  await world.report([metrics(attempt, { loss: [[10, 1], [3, NaN]], lr: [[10, 0.1]] })]);
  expect((await next()).points.map(({ name, step, value }) => [name, step, value])).toEqual([["loss", 3, NaN], ["loss", 10, 1], ["lr", 10, 0.1]]);
  expect((await next()).points).toEqual([]);
});

test("a reader that names a step gets what is there above it first", async () => {
  const attempt = await newAttempt();
  await world.report([metrics(attempt, { loss: steps(0, 700), acc: steps(0, 3) })]);
  const next = reader(attempt.stageId, { afterStep: 697, names: ["loss"] });
  expect((await next()).points.map(({ step }) => step)).toEqual([698, 699]);
  await world.report([metrics(attempt, { loss: [[700, 1]], acc: [[700, 1]] })]);
  expect((await next()).points.map(({ name, step }) => [name, step])).toEqual([["loss", 700]]);
});

test("more than the limit is thinned: the newest of every metric stay, and the answer says how many were dropped", async () => {
  const attempt = await newAttempt();
  await world.report([metrics(attempt, { often: steps(0, 3_000), seldom: [[10, 1]], sometimes: steps(100, 105) })]);
  const fresh = reader(attempt.stageId, { afterStep: -1, limit: 20 });
  const first = await fresh();
  expect(first).toMatchObject({ dropped: 3_006 - 20 });
  expect(first.points.filter(({ name }) => name === "seldom")).toHaveLength(1);
  expect(first.points.filter(({ name }) => name === "sometimes")).toHaveLength(5);
  expect(first.points.filter(({ name }) => name === "often").map(({ step }) => step)).toEqual(steps(2_986, 3_000).map(([step]) => step));
  await world.report([metrics(attempt, { often: steps(3_000, 3_100) })]);
  expect(await fresh()).toMatchObject({ dropped: 80 });
  expect(await fresh()).toMatchObject({ dropped: 0, points: [] });
});

test("points that a later attempt supersedes meanwhile are neither delivered nor counted as dropped", async () => {
  const first = await newAttempt();
  const next = reader(first.stageId);
  await next();
  await world.report([metrics(first, { loss: steps(0, 10) })]);
  const second = await world.attempt(first);
  await world.report([metrics(second, { loss: steps(4, 6) })]);
  expect(await next()).toMatchObject({ dropped: 0, points: [0, 1, 2, 3, 4, 5].map((step) => ({ step })) });
});

test("of two transactions that overlap, the second waits for the first: no order of commits makes a reader miss a point", async () => {
  const attempt = await newAttempt();
  const next = reader(attempt.stageId);
  await next();
  let release = (): void => undefined;
  const held = new Promise<void>((resolve) => { release = resolve; });
  const options = { logLimitBytes: 1e9, sampleLimitBytes: 1e9 };
  const slow = world.transaction(async (client) => {
    await ingestTelemetry(client, [metrics(attempt, { loss: steps(0, 5) })], new Date(), options);
    await held;
  });
  await expect.poll(async () => (await world.opened.pool.query("select 1 from pg_stat_activity where state = 'idle in transaction' and datname = current_database()")).rowCount).toBe(1);
  const quick = world.transaction((client) => ingestTelemetry(client, [metrics(attempt, { loss: steps(5, 10) })], new Date(), options));
  await expect.poll(async () => (await world.opened.pool.query("select 1 from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()")).rowCount).toBe(1);
  expect((await next()).points).toEqual([]);
  release();
  await Promise.all([slow, quick]);
  const seen = await next();
  expect(seen.points.map(({ step }) => step)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
});

test("with writers at work all the time, a reader ends up with every point exactly once", async () => {
  const attempts = await Promise.all((await world.pipeline([{ name: "a" }, { name: "b" }])).map((stage) => world.attempt(stage)));
  const next = reader(attempts[0]!.stageId, { limit: 100_000 });
  await next();
  const seen: number[] = [];
  let writing = true;
  const writer = async (id: number) => {
    for (let round = 0; round < 25; round++) await world.report([metrics(attempts[id % 2]!, { other: [[round, 1]] }), metrics(attempts[0]!, { [`w${id}`]: steps(round * 7, round * 7 + 7) })]);
  };
  const reading = (async () => {
    while (writing) seen.push((await next()).points.filter(({ name }) => name.startsWith("w")).length);
  })();
  await Promise.all([0, 1, 2].map(writer));
  writing = false;
  await reading;
  seen.push((await next()).points.filter(({ name }) => name.startsWith("w")).length);
  expect(seen.reduce((sum, count) => sum + count, 0)).toBe(3 * 25 * 7);
});

test("a cursor that no stream gave is refused by name", async () => {
  const attempt = await newAttempt();
  await expect(readNewPoints(world.opened.db, { stageId: attempt.stageId, names: null, after: "cDpwaXA6Mw", limit: 10 })).rejects.toMatchObject({ code: "INVALID_CURSOR" });
});
