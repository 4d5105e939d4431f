import { afterAll, beforeAll, expect, test } from "vitest";
import { scanFailures } from "../../../src/actors/caretaker/diagnosis.js";
import { eventsDeletedUpTo, runRetention, type RetentionDeps } from "../../../src/actors/caretaker/retention.js";
import { listCheckpoints, markOrdered, pinCheckpoint } from "../../../src/db/telemetry/checkpoints.js";
import { readLog } from "../../../src/db/telemetry/logs.js";
import { readMetrics } from "../../../src/db/telemetry/metrics.js";
import { ConflictError } from "../../../src/domain/errors.js";
import type { CheckpointId, PipelineId } from "../../../src/domain/ids.js";
import { item, metrics, openTelemetryWorld, type AttemptOf, type TelemetryWorld } from "./telemetry-world.js";

let world: TelemetryWorld;
beforeAll(async () => { world = await openTelemetryWorld(); });
afterAll(() => world.close());

const NOW = new Date("2026-11-24T12:00:00Z");
const daysAgo = (days: number) => new Date(NOW.getTime() - days * 86_400_000);
const quiet = { info: () => undefined, warn: () => undefined };
const deps = (over: Partial<RetentionDeps> = {}): RetentionDeps => ({ db: world.opened.db, log: quiet, eventDays: 0, metricDays: 0, logDays: 0, sampleDays: 0, checkpointDays: 0, deleteCheckpoint: () => Promise.resolve(), ...over });

/** A pipeline that ended at that time (null: it runs), with 1,000 points, a log and two events. */
async function withTelemetry(finishedAt: Date | null): Promise<AttemptOf> {
  const [stage] = await world.pipeline([{ name: "train", status: finishedAt === null ? "RUNNING" : "COMPLETED" }], finishedAt === null ? {} : { finishedAt });
  const attempt = await world.attempt(stage!);
  await world.report([
    metrics(attempt, { loss: Array.from({ length: 1_000 }, (_, step) => [step, step === 321 ? 50 : 1] as const) }),
    item(attempt, { type: "log", fromByte: 0, skippedBytes: 0, text: "hello\n" }),
  ]);
  for (const seq of [1, 2]) await world.opened.pool.query("with c as (update event_counter set position = position + 1 returning position) insert into events (position, pipeline_id, seq, type, payload, at) select position, $1, $2, 'StageQueued', '{}', now() from c", [attempt.pipelineId, seq]);
  return attempt;
}
const count = async (table: "metric_points" | "log_chunks" | "events", pipelineId: PipelineId) => {
  const from = { metric_points: "metric_points p join metric_series s on s.id = p.series_id join stages t on t.id = s.stage_id where t.pipeline_id = $1", log_chunks: "log_chunks c join stages t on t.id = c.stage_id where t.pipeline_id = $1", events: "events where pipeline_id = $1" };
  return (await world.opened.pool.query<{ n: number }>(`select count(*) as n from ${from[table]}`, [pipelineId])).rows[0]!.n;
};
const counts = async ({ pipelineId }: AttemptOf) => [await count("metric_points", pipelineId), await count("log_chunks", pipelineId), await count("events", pipelineId)];

test("retention deletes points, logs and events of pipelines that ended long ago, in bounded runs, and leaves the others whole", async () => {
  const [oldest, old, recent, running] = [await withTelemetry(daysAgo(30)), await withTelemetry(daysAgo(20)), await withTelemetry(daysAgo(5)), await withTelemetry(null)];
  expect(await runRetention(deps(), NOW)).toEqual({ points: 0, logChunks: 0, samples: 0, events: 0, checkpoints: [] });
  expect(await runRetention(deps({ metricDays: 10, logDays: 10, eventDays: 25, rowsPerRun: 1_500 }), NOW)).toEqual({ points: 1_500, logChunks: 2, samples: 0, events: 2, checkpoints: [] });
  expect(await counts(oldest)).toEqual([0, 0, 0]);
  expect(await counts(old)).toEqual([500, 0, 2]);
  expect(await runRetention(deps({ metricDays: 10, logDays: 10, eventDays: 25 }), NOW)).toMatchObject({ points: 500, logChunks: 0, events: 0 });
  expect(await counts(old)).toEqual([0, 0, 2]);
  for (const kept of [recent, running]) expect(await counts(kept)).toEqual([1_000, 1, 2]);
  expect(await eventsDeletedUpTo(world.opened.db)).toBe(2);
  const [loss] = await readMetrics(world.opened.db, { stageId: old.stageId, names: null, fromStep: null, toStep: null, maxPoints: 1_000 });
  expect(loss!.points.map(({ step, value }) => [step, value])).toEqual(expect.arrayContaining([[321, 50], [999, 1]]));
  expect(await readLog(world.opened.db, { stageId: old.stageId, fromByte: 0, maxBytes: 100, attempt: null })).toEqual({ fromByte: 6, toByte: 6, text: "", skippedBytes: 6, totalBytes: 6 });
});

test("a pipeline that is retried after retention came by is seen to again when it ends again", async () => {
  const again = await withTelemetry(daysAgo(15));
  await runRetention(deps({ logDays: 10 }), NOW);
  await world.opened.pool.query("update pipelines set finished_at = null where id = $1", [again.pipelineId]);
  const second = await world.attempt(again);
  await world.report([item(second, { type: "log", fromByte: 0, skippedBytes: 0, text: "once more\n" })]);
  await runRetention(deps({ logDays: 10 }), NOW);
  expect(await count("log_chunks", again.pipelineId)).toBe(1);
  await world.opened.pool.query("update pipelines set finished_at = $2 where id = $1", [again.pipelineId, daysAgo(12)]);
  await runRetention(deps({ logDays: 10 }), NOW);
  expect(await count("log_chunks", again.pipelineId)).toBe(0);
});

test("old checkpoints are ordered deleted except pinned, best, newest and those of running pipelines; a refusal is left to the next run", async () => {
  const make = async (finishedAt: Date | null) => {
    const attempt = await withTelemetry(finishedAt);
    await world.report([1, 2, 3, 4, 5].map((step) => item(attempt, { type: "checkpoint", step, path: `/out/${attempt.stageId}/${step}`, sizeBytes: null })), { now: daysAgo(40) });
    await world.report([metrics(attempt, { "val/loss": [[1, 3], [2, 1], [3, 2], [4, 5], [5, NaN]] })]);
    return attempt;
  };
  const [done, open] = [await make(daysAgo(39)), await make(null)];
  const rows = await listCheckpoints(world.opened.db, [done.stageId]);
  await pinCheckpoint(world.opened.db, rows[2]!.id, true);
  const refused = rows[0]!.id;
  const order = async (id: CheckpointId) => {
    if (id === refused) throw new ConflictError("AGENT_AWAY", "not now");
    await markOrdered(world.opened.db, id, NOW);
  };
  expect((await runRetention(deps({ checkpointDays: 60, deleteCheckpoint: order }), NOW)).checkpoints).toEqual([]);
  expect((await runRetention(deps({ checkpointDays: 30, deleteCheckpoint: order }), NOW)).checkpoints).toEqual([rows[3]!.id]);
  const retried = (await runRetention(deps({ checkpointDays: 30, deleteCheckpoint: (id) => markOrdered(world.opened.db, id, NOW).then(() => undefined) }), NOW)).checkpoints;
  expect(retried).toEqual([refused]);
  expect((await listCheckpoints(world.opened.db, [open.stageId])).every(({ deleteOrderedAt }) => deleteOrderedAt === null)).toBe(true);
});

test("failed and lost attempts are diagnosed once, newest first, from their own log and metrics", async () => {
  const [stage] = await world.pipeline([{ name: "train" }]);
  const failure = { code: "EXIT_NONZERO", message: "The program ended with exit code 1.", hint: null, exitCode: 1, logTail: [] };
  const failed = await world.attempt(stage!, { status: "FAILED", finishedAt: daysAgo(2), error: failure });
  const diverged = await world.attempt(stage!, { status: "FAILED", finishedAt: daysAgo(1), error: failure });
  const lost = await world.attempt(stage!, { status: "LOST", finishedAt: daysAgo(0.5) });
  await world.attempt(stage!, { status: "COMPLETED", finishedAt: daysAgo(0.4) });
  await world.report([item(failed, { type: "log", fromByte: 0, skippedBytes: 0, text: "loading\nModuleNotFoundError: No module named 'verl'\n" })]);
  await world.report([item(diverged, { type: "log", fromByte: 0, skippedBytes: 0, text: "stopping\n" }), metrics(diverged, { loss: [[1, 2], [2, NaN]] })]);
  const scan = (limit?: number) => scanFailures({ db: world.opened.db, log: quiet, ...(limit === undefined ? {} : { limit }) }, NOW);
  expect(await scan(1)).toBe(1);
  expect(await world.opened.db.selectFrom("diagnoses").select(["attempt_id", "cause"]).execute()).toEqual([{ attempt_id: lost.attemptId, cause: "AGENT_LOST" }]);
  expect(await Promise.all([scan(), scan()])).toContain(2);
  expect(await scan()).toBe(0);
  const found = await world.opened.db.selectFrom("diagnoses").selectAll().where("attempt_id", "in", [failed.attemptId, diverged.attemptId]).orderBy("cause", "desc").execute();
  expect(found).toMatchObject([
    { cause: "MODULE_NOT_FOUND", evidence: ["ModuleNotFoundError: No module named 'verl'"], suggestion: expect.stringContaining("Install") as string, created_at: NOW },
    { cause: "LOSS_NOT_FINITE", evidence: ["loss = NaN at step 2"] },
  ]);
});
