import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { runRetention } from "../../../src/actors/caretaker/retention.js";
import { listSampleSets, readSamplePages, type SamplePage, type SamplePlace, type SampleRow } from "../../../src/db/telemetry/samples.js";
import type { StageId } from "../../../src/domain/ids.js";
import type { WireSample } from "../../../src/protocol/messages.js";
import { item, metrics, openTelemetryWorld, type AttemptOf, type TelemetryWorld } from "./telemetry-world.js";

let world: TelemetryWorld;
beforeAll(async () => { world = await openTelemetryWorld(); });
afterAll(() => world.close());

const newAttempt = async () => world.attempt((await world.pipeline([{ name: "train", kind: "train" }]))[0]!);
const sample = (step: number | null, key: string, more: Partial<WireSample> = {}): WireSample => ({ source: "validation", step, key, prompt: `ask ${key}`, output: `say ${key}`, truth: null, score: 1, error: null, ...more });
const samples = (attempt: AttemptOf, ...list: WireSample[]) => item(attempt, { type: "samples", samples: list });
const page = (stageId: StageId, more: Partial<SamplePage> = {}): SamplePage => ({ stageId, source: null, attempt: null, step: null, verdict: null, limit: 100, forward: true, after: null, before: null, ...more });
const read = async (stageId: StageId, more: Partial<SamplePage> = {}) => (await readSamplePages(world.opened.db, [page(stageId, more)]))[0]!;
const placeOf = ({ set, position }: SampleRow): SamplePlace => ({ step: set.step, source: set.source, position });
const named = (rows: readonly SampleRow[]) => rows.map(({ set, key }) => `${set.step ?? "-"}:${key}`);

test("samples are given back as they came, with a verdict each; what Postgres cannot hold is replaced", async () => {
  const attempt = await newAttempt();
  await world.report([samples(attempt,
    sample(1, "right", { truth: "42" }), sample(1, "half", { score: 0.5 }), sample(1, "nan", { score: "NaN" }), sample(1, "low", { score: "-Infinity", output: "zero \0 half \ud800" }),
    sample(1, "lost", { score: null, output: "", error: "HTTP_500: overloaded" }), sample(1, "bare", { score: null }))]);
  const rows = await read(attempt.stageId);
  expect(rows.map(({ key, verdict, score }) => [key, verdict, score])).toEqual([["right", "CORRECT", 1], ["half", "WRONG", 0.5], ["nan", "WRONG", NaN], ["low", "WRONG", -Infinity], ["lost", "ERROR", null], ["bare", "UNSCORED", null]]);
  expect(rows[0]).toMatchObject({ prompt: "ask right", output: "say right", truth: "42", error: null, position: 0, set: { attempt: 1, source: "validation", step: 1 } });
  expect(rows[3]!.output).toBe("zero \ufffd half \ufffd");
  expect(await listSampleSets(world.opened.db, [attempt.stageId])).toMatchObject([{ kept: 6, leftOut: 0, counts: { CORRECT: 1, WRONG: 3, ERROR: 1, UNSCORED: 1 } }]);
});

test("a sample reported again changes nothing, in the same report, batch or a later one", async () => {
  const attempt = await newAttempt();
  await world.report([samples(attempt, sample(5, "a"), sample(5, "a", { output: "other" }), sample(5, "b")), samples(attempt, sample(5, "b", { score: 0 }))]);
  await world.report([samples(attempt, sample(5, "b"), sample(5, "c"), sample(5, "a"))]);
  expect((await read(attempt.stageId)).map(({ key, output, position }) => [key, output, position])).toEqual([["a", "say a", 0], ["b", "say b", 1], ["c", "say c", 2]]);
  expect(await listSampleSets(world.opened.db, [attempt.stageId])).toMatchObject([{ kept: 3, counts: { CORRECT: 3 } }]);
});

describe("what a later attempt supersedes is not shown", () => {
  test("from the lowest step on that it reported metrics or samples of", async () => {
    const first = await newAttempt();
    await world.report([samples(first, ...[1, 2, 3, 4].map((step) => sample(step, "old"))), samples(first, sample(4, "t", { source: "train" }))]);
    const second = await world.attempt(first);
    await world.report([metrics(second, { loss: [[3, 1]] })]);
    expect(named(await read(first.stageId))).toEqual(["2:old", "1:old"]);
    await world.report([samples(second, sample(2, "new"))]);
    expect(named(await read(first.stageId))).toEqual(["2:new", "1:old"]);
    expect(named(await read(first.stageId, { attempt: 1, source: "validation" }))).toEqual(["4:old", "3:old", "2:old", "1:old"]);
    expect((await listSampleSets(world.opened.db, [first.stageId])).map(({ attempt, step }) => [attempt, step])).toEqual([[2, 2], [1, 1]]);
  });

  test("altogether where samples have no step", async () => {
    const first = await newAttempt();
    await world.report([samples(first, sample(null, "a", { source: "evaluation" }), sample(null, "b", { source: "evaluation" }))]);
    const second = await world.attempt(first);
    expect(named(await read(first.stageId))).toEqual(["-:a", "-:b"]);
    await world.report([samples(second, sample(null, "a", { source: "evaluation" }))]);
    expect(named(await read(first.stageId))).toEqual(["-:a"]);
  });
});

test("a full step and a full stage keep what they have and count the rest", async () => {
  const attempt = await newAttempt();
  await world.report([samples(attempt, ...Array.from({ length: 1_003 }, (_, index) => sample(1, `k${index}`)))]);
  expect(await listSampleSets(world.opened.db, [attempt.stageId])).toMatchObject([{ kept: 1_000, leftOut: 3 }]);
  const other = await newAttempt();
  const long = (step: number, key: string) => sample(step, key, { output: "x".repeat(400) });
  await world.report([samples(other, long(1, "a"), long(1, "b"))], { sampleLimitBytes: 1_000 });
  await world.report([samples(other, long(2, "c"), sample(2, "d", { output: "" }))], { sampleLimitBytes: 1_000 });
  expect((await listSampleSets(world.opened.db, [other.stageId])).map(({ step, kept, leftOut }) => [step, kept, leftOut])).toEqual([[2, 1, 1], [1, 2, 0]]);
  expect(named(await read(other.stageId))).toEqual(["2:d", "1:a", "1:b"]);
});

test("whatever is asked for, paging in either direction gives each sample that fits once, in one order", async () => {
  const attempt = await newAttempt();
  const verdicts = ["CORRECT", "WRONG", "ERROR", "UNSCORED"] as const;
  const list = [null, 1, 2, 3, 10].flatMap((step) => (["train", "validation"] as const).flatMap((source) => Array.from({ length: (step ?? 4) % 7 + 1 }, (_, index) =>
    sample(step, `${source}${index}`, { source, ...[{ score: 1 }, { score: 0 }, { score: null, error: "x" }, { score: null }][index % 4]! }))));
  await world.report([samples(attempt, ...list)]);
  const all = named(await read(attempt.stageId));
  expect(all).toHaveLength(list.length);
  await fc.assert(fc.asyncProperty(fc.integer({ min: 1, max: 9 }), fc.boolean(), fc.constantFrom(null, ...verdicts), fc.constantFrom(null, "train" as const, "validation" as const), fc.constantFrom(null, 1, 10), async (limit, forward, verdict, source, step) => {
    const expected = (await read(attempt.stageId, { verdict, source, step })).map((row) => `${row.set.source}:${named([row])[0]}`);
    const seen: string[] = [];
    for (let edge: SamplePlace | null = null;;) {
      const rows: SampleRow[] = await read(attempt.stageId, { limit, forward, verdict, source, step, ...(forward ? { after: edge } : { before: edge }) });
      seen.push(...rows.map((row) => `${row.set.source}:${named([row])[0]}`));
      if (rows.length < limit) break;
      edge = placeOf(rows.at(-1)!);
    }
    expect(forward ? seen : seen.reverse()).toEqual(expected);
  }), { numRuns: 40 });
});

test("pages of several stages are read together, each with its own conditions", async () => {
  const [a, b] = [await newAttempt(), await newAttempt()];
  await world.report([samples(a, sample(1, "a1"), sample(1, "a2", { score: 0 })), samples(b, sample(1, "b1"), sample(1, "b2"))]);
  const found = await readSamplePages(world.opened.db, [page(b.stageId, { limit: 1, forward: false }), page(a.stageId, { verdict: "WRONG" }), page(a.stageId), page((await newAttempt()).stageId)]);
  expect(found.map(named)).toEqual([["1:b2"], ["1:a2"], ["1:a1", "1:a2"], []]);
});

test("retention deletes the samples of pipelines that ended long ago and leaves the others", async () => {
  const [old] = await world.pipeline([{ name: "eval" }], { finishedAt: new Date("2026-01-01") });
  const [young] = await world.pipeline([{ name: "eval" }], { finishedAt: new Date("2026-03-01") });
  for (const stage of [old!, young!]) await world.report([samples(await world.attempt(stage), sample(1, "a"), sample(1, "b"), sample(2, "c"))]);
  const deps = { db: world.opened.db, log: { info: () => undefined, warn: () => undefined }, eventDays: 0, metricDays: 0, logDays: 0, checkpointDays: 0, sampleDays: 30, deleteCheckpoint: () => Promise.resolve() };
  expect(await runRetention({ ...deps, rowsPerRun: 2 }, new Date("2026-03-02"))).toMatchObject({ samples: 2 });
  expect(await runRetention(deps, new Date("2026-03-02"))).toMatchObject({ samples: 1 });
  expect(await listSampleSets(world.opened.db, [old!.stageId])).toEqual([]);
  expect(named(await read(young!.stageId))).toEqual(["2:c", "1:a", "1:b"]);
});
