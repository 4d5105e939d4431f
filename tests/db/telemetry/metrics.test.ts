import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { sql } from "kysely";
import { blockOf, rollUp, type Point } from "../../../src/db/telemetry/metric-block.js";
import { readLatest, readMetricNames, readMetrics } from "../../../src/db/telemetry/metrics.js";
import { readProgress } from "../../../src/db/telemetry/progress.js";
import { createSeriesIds } from "../../../src/db/telemetry/series-ids.js";
import { ingestTelemetry } from "../../../src/db/telemetry/ingest.js";
import { item, metrics, openTelemetryWorld, type AttemptOf, type TelemetryWorld } from "./telemetry-world.js";

let world: TelemetryWorld;
beforeAll(async () => { world = await openTelemetryWorld(); });
afterAll(() => world.close());

const newAttempt = async () => world.attempt((await world.pipeline([{ name: "train" }]))[0]!);
const all = { names: null, fromStep: null, toStep: null, maxPoints: 1_000 };
const read = (attempt: { stageId: AttemptOf["stageId"] }, query: Partial<typeof all> | { names?: string[]; fromStep?: number; toStep?: number; maxPoints?: number } = {}) => readMetrics(world.opened.db, { stageId: attempt.stageId, ...all, ...query });
const values = (points: readonly Point[]) => points.map(({ step, value }) => [step, value]);
const ramp = (from: number, to: number, value: (step: number) => number = (step) => step) => Array.from({ length: to - from }, (_, i) => [from + i, value(from + i)] as const);

test("points come back as they were sent: names, steps, times, NaN and infinities, negative steps", async () => {
  const attempt = await newAttempt();
  const sent = [[-7, 0.1], [0, NaN], [1, Infinity], [2, -Infinity], [3, 1e-300], [2 ** 52, -0.25]] as const;
  expect(await world.report([metrics(attempt, { "train/loss": sent, "überraschung 🎉": [[1, 2]] })])).toEqual({ stageIds: [attempt.stageId], points: 7 });
  const [loss, odd] = await read(attempt);
  expect([loss!.name, odd!.name]).toEqual(["train/loss", "überraschung 🎉"]);
  expect(values(loss!.points)).toEqual(sent.map(([step, value]) => [step, value]));
  expect(loss!.points[4]!.at).toBe(1_764_000_003_000);
  expect(await readMetricNames(world.opened.db, attempt.stageId)).toEqual(["train/loss", "überraschung 🎉"]);
});

test("a step reported again takes the last value, within a batch and over batches, and the roll-ups follow", async () => {
  const attempt = await newAttempt();
  await world.report([metrics(attempt, { loss: [[1, 5], [2, 9], [1, 4]] }), metrics(attempt, { loss: [[3, 1], [2, 8]] })]);
  await world.report([metrics(attempt, { loss: [[2, 3], [600, 7]] })]);
  expect(values((await read(attempt))[0]!.points)).toEqual([[1, 4], [2, 3], [3, 1], [600, 7]]);
  const block = await world.opened.db.selectFrom("metric_blocks").innerJoin("metric_series", "id", "series_id").selectAll("metric_blocks").where("stage_id", "=", attempt.stageId).orderBy("block").execute();
  expect(block).toMatchObject([{ points: 3, max_value: 4, max_step: 1, min_value: 1, last_step: 3, first_step: 1 }, { points: 1, last_value: 7 }]);
});

test("after any order of batches, with repetitions, the stored roll-ups equal those computed from the points", async () => {
  const value = fc.oneof(fc.integer({ min: -9, max: 9 }), fc.constant(NaN));
  const batches = fc.array(fc.array(fc.tuple(fc.integer({ min: -20, max: 1_600 }), value), { minLength: 1, maxLength: 30 }), { minLength: 1, maxLength: 6 });
  await fc.assert(fc.asyncProperty(batches, async (sent) => {
    const attempt = await newAttempt();
    for (const batch of sent) await world.report([metrics(attempt, { m: batch })]);
    const expected = new Map(sent.flat().map(([step, v]) => [step, v]));
    const { points } = (await read(attempt, { maxPoints: 5_000 }))[0]!;
    expect(values(points)).toEqual([...expected].sort(([a], [b]) => a - b));
    const stored = await world.opened.db.selectFrom("metric_blocks").innerJoin("metric_series", "id", "series_id").selectAll("metric_blocks").where("stage_id", "=", attempt.stageId).orderBy("block").execute();
    expect(stored.map((b) => ({
      block: b.block, points: b.points, nonFinite: b.non_finite, firstStep: b.first_step, min: b.min_value, minStep: b.min_step, max: b.max_value, maxStep: b.max_step, last: b.last_value, lastStep: b.last_step, oddStep: b.non_finite_step,
    }))).toEqual(rollUp(points).map((b) => ({
      block: b.block, points: b.points, nonFinite: b.nonFinite, firstStep: b.firstStep, min: b.min?.value ?? null, minStep: b.min?.step ?? null, max: b.max?.value ?? null, maxStep: b.max?.step ?? null,
      last: b.last.value, lastStep: b.last.step, oddStep: b.lastNonFinite?.step ?? null,
    })));
  }), { numRuns: 25 });
});

test("a long series comes from roll-ups: bounded, with its spike, its NaN and its newest point, and exact where a range cuts a block", async () => {
  const attempt = await newAttempt();
  const value = (step: number) => (step === 12_345 ? 1e6 : step === 23_456 ? NaN : step % 100);
  await world.report([metrics(attempt, { loss: ramp(0, 40_000, value) })]);
  const { points } = (await read(attempt, { maxPoints: 200 }))[0]!;
  expect(points.length).toBeLessThanOrEqual(200);
  expect(points.map((p) => p.step)).toContain(12_345);
  expect(points.some((p) => p.step === 23_456 && Number.isNaN(p.value))).toBe(true);
  expect(points.at(-1)).toMatchObject({ step: 39_999 });
  const [cut] = await read(attempt, { maxPoints: 200, fromStep: 12_346, toStep: 38_777 });
  expect(cut!.points.every(({ step }) => step >= 12_346 && step <= 38_777)).toBe(true);
  expect(Math.max(...cut!.points.map((p) => p.value).filter(Number.isFinite))).toBe(99);
  expect(cut!.points.at(-1)!.step).toBe(38_777);
  expect(values((await read(attempt, { fromStep: 100, toStep: 103 }))[0]!.points)).toEqual([[100, 0], [101, 1], [102, 2], [103, 3]]);
});

test("points that a resumed attempt supersedes are left out, for metrics it does not report too", async () => {
  const first = await newAttempt();
  await world.report([metrics(first, { loss: ramp(0, 700, () => 1), "val/loss": [[300, 10], [600, 11]] })]);
  const second = await world.attempt(first);
  await world.report([metrics(second, { loss: ramp(500, 650, () => 2) })]);
  const third = await world.attempt(first);
  await world.report([metrics(third, { loss: ramp(600, 603, () => 3) })]);
  const [loss, val] = await read(first);
  expect(values(loss!.points)).toEqual([...ramp(0, 500, () => 1), ...ramp(500, 600, () => 2), ...ramp(600, 603, () => 3)]);
  expect(values(val!.points)).toEqual([[300, 10]]);
  const latest = (await readLatest(world.opened.db, [first.stageId])).get(first.stageId)!;
  expect([latest.get("loss"), latest.get("val/loss")]).toMatchObject([{ step: 602, value: 3 }, { step: 300, value: 10 }]);
  expect(await readMetrics(world.opened.db, { ...all, stageId: first.stageId, maxPoints: 4 })).toMatchObject([{ name: "loss" }, { name: "val/loss" }]);
  const fresh = await world.attempt(first);
  await world.report([metrics(fresh, { other: [[0, 1]] })]);
  expect(await readMetricNames(world.opened.db, first.stageId)).toEqual(["other"]);
});

test("what counts equals the rule applied to all points by hand, from points and from roll-ups alike", async () => {
  const attempts = fc.array(fc.record({ from: fc.integer({ min: 0, max: 1_500 }), length: fc.integer({ min: 1, max: 1_500 }) }), { minLength: 1, maxLength: 4 });
  await fc.assert(fc.asyncProperty(attempts, fc.constantFrom(4, 40, 5_000), async (plan, maxPoints) => {
    const [stage] = await world.pipeline([{ name: "s" }]);
    for (const [index, { from, length }] of plan.entries()) await world.report([metrics(await world.attempt(stage!), { m: ramp(from, from + length, () => index) })]);
    const expected = plan.flatMap(({ from, length }, index) => {
      const cut = Math.min(...plan.slice(index + 1).map((later) => later.from));
      return ramp(from, Math.min(from + length, cut), () => index);
    });
    const [series] = await readMetrics(world.opened.db, { stageId: stage!.stageId, ...all, maxPoints });
    const known = new Map(expected.map(([step, v]) => [step, v]));
    if (maxPoints === 5_000) expect(values(series!.points)).toEqual(expected);
    else for (const { step, value: v } of series!.points) expect(known.get(step)).toBe(v);
    expect(series!.points.length).toBeLessThanOrEqual(maxPoints);
    expect(series!.points.at(-1)!.step).toBe(expected.at(-1)![0]);
  }), { numRuns: 15 });
});

test("series numbers learnt in a transaction that rolled back are forgotten", async () => {
  const attempt = await newAttempt();
  const series = createSeriesIds();
  const options = { logLimitBytes: 1e9, sampleLimitBytes: 1e9, series };
  await expect(world.transaction(async (client) => {
    await ingestTelemetry(client, [metrics(attempt, { loss: [[5, 1]] })], new Date(), options);
    await ingestTelemetry(client, [metrics(attempt, { loss: [[6, 1]] })], new Date(), options);
    throw new Error("the commit failed");
  })).rejects.toThrow("the commit failed");
  await world.report([metrics(attempt, { loss: [[5, 2]] })], { series });
  await world.report([metrics(attempt, { loss: [[3, 4]] })], { series });
  await expect(world.transaction(async (client) => {
    await ingestTelemetry(client, [metrics(attempt, { loss: [[1, 1]] })], new Date(), options);
    throw new Error("this one too");
  })).rejects.toThrow("this one too");
  await world.report([metrics(attempt, { loss: [[2, 7]] })], { series });
  expect(values((await read(attempt))[0]!.points)).toEqual([[2, 7], [3, 4], [5, 2]]);
  const { rows } = await sql<{ orphans: number; first: number }>`
    select (select count(*) from metric_points p where not exists (select 1 from metric_series s where s.id = p.series_id)) as orphans, first_step as first from metric_series where stage_id = ${attempt.stageId}`.execute(world.opened.db);
  expect(rows).toEqual([{ orphans: 0, first: 2 }]);
});

test("a cache smaller than the number of series changes nothing but speed", async () => {
  const series = createSeriesIds(2);
  const attempt = await newAttempt();
  for (let step = 0; step < 5; step++) await world.report([metrics(attempt, Object.fromEntries(["a", "b", "c", "d"].map((name) => [name, [[step, step]] as const])))], { series });
  expect((await read(attempt)).map(({ points }) => points.length)).toEqual([5, 5, 5, 5]);
});

test("odd names and times of a sender cannot break a batch", async () => {
  const attempt = await newAttempt();
  await world.report([item(attempt, { type: "metrics", names: ["a\0b", "\ud800"], points: [[0, 1, -5, 1], [1, 1, Number.MAX_SAFE_INTEGER, 2], [7, 1, 0, 3]] })]);
  expect((await read(attempt)).map(({ name }) => name)).toEqual(["a\ufffdb", "\ufffd"]);
});

test("progress follows metrics and progress reports, and a new attempt starts over", async () => {
  const attempt = await newAttempt();
  const at = 1_764_000_000_000;
  await world.report([item(attempt, { type: "progress", step: 0, totalSteps: 100, at })]);
  await world.report([metrics(attempt, { loss: ramp(1, 11) }), item(attempt, { type: "progress", step: 20, totalSteps: null, at: at + 20_000 })]);
  const progress = async () => (await readProgress(world.opened.db, [attempt.stageId])).get(attempt.stageId);
  expect(await progress()).toMatchObject({ step: 20, totalSteps: 100, etaSeconds: expect.closeTo(80, 3) as number });
  const second = await world.attempt(attempt);
  await world.report([item(second, { type: "progress", step: 3, totalSteps: 50 })]);
  expect(await progress()).toEqual({ step: 3, totalSteps: 50, etaSeconds: null });
  expect((await readProgress(world.opened.db, [(await newAttempt()).stageId])).size).toBe(0);
});

test("one batch may touch many stages and attempts at once", async () => {
  const stages = await world.pipeline(Array.from({ length: 30 }, (_, i) => ({ name: `s${i}` })));
  const attempts = await Promise.all(stages.map((stage) => world.attempt(stage)));
  const result = await world.report(attempts.flatMap((attempt, index) => [metrics(attempt, { m: [[index, index]] }), item(attempt, { type: "log", fromByte: 0, skippedBytes: 0, text: `hello ${index}\n` })]));
  expect(result).toMatchObject({ points: 30 });
  expect(new Set(result.stageIds)).toEqual(new Set(stages.map(({ stageId }) => stageId)));
  const latest = await readLatest(world.opened.db, stages.map(({ stageId }) => stageId));
  stages.forEach(({ stageId }, index) => expect(latest.get(stageId)!.get("m")).toMatchObject({ step: index, value: index }));
});

test("blocks are five hundred steps, below zero too", () => {
  expect([-501, -500, -1, 0, 499, 500].map(blockOf)).toEqual([-2, -1, -1, 0, 0, 1]);
});
