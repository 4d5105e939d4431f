import { afterAll, beforeAll, expect, test } from "vitest";
import { listCheckpoints, markOrdered, pinCheckpoint, readCheckpoints } from "../../../src/db/telemetry/checkpoints.js";
import { cleanupPlan } from "../../../src/db/telemetry/cleanup-plan.js";
import { evaluationProblems, listEvaluations, listPipelineEvaluations, readEvaluations, recordEvaluation } from "../../../src/db/telemetry/evaluations.js";
import { newId } from "../../../src/domain/ids.js";
import { buildDag } from "../../../src/domain/pipeline/dag.js";
import { cleanupParamsSchema } from "../../../src/domain/pipeline/spec.js";
import { item, metrics, openTelemetryWorld, type AttemptOf, type TelemetryWorld } from "./telemetry-world.js";

let world: TelemetryWorld;
beforeAll(async () => { world = await openTelemetryWorld(); });
afterAll(() => world.close());

const newAttempt = async () => world.attempt((await world.pipeline([{ name: "train" }]))[0]!);
const saved = (attempt: AttemptOf, step: number, path = `/out/${attempt.attempt}/step-${step}`, sizeBytes: number | null = null) => item(attempt, { type: "checkpoint", step, path, sizeBytes });
const list = (attempt: AttemptOf) => listCheckpoints(world.opened.db, [attempt.stageId]);

test("a checkpoint has the metrics of its step, whether they come before it, with it or after it", async () => {
  const attempt = await newAttempt();
  await world.report([metrics(attempt, { loss: [[10, 0.5], [11, 9]] })]);
  await world.report([saved(attempt, 10), saved(attempt, 20), metrics(attempt, { loss: [[20, NaN]] }), saved(attempt, 30)]);
  await world.report([metrics(attempt, { loss: [[30, 0.3]], "val/acc": [[10, 0.9], [30, Infinity]] })]);
  expect((await list(attempt)).map(({ step, metrics: values }) => [step, values])).toEqual([
    [10, { loss: 0.5, "val/acc": 0.9 }], [20, { loss: "NaN" }], [30, { loss: 0.3, "val/acc": "Infinity" }],
  ]);
  await world.report([metrics(attempt, { loss: [[30, 0.2]] })]);
  expect((await list(attempt))[2]!.metrics).toMatchObject({ loss: 0.2 });
});

test("a checkpoint reported again is absorbed; a size that is known later is kept", async () => {
  const attempt = await newAttempt();
  await world.report([saved(attempt, 1), saved(attempt, 1)]);
  await world.report([saved(attempt, 1, undefined, 4_096)]);
  await world.report([saved(attempt, 1), saved(attempt, 1, "/out/other")]);
  const rows = await list(attempt);
  expect(rows.map(({ path, sizeBytes }) => [path, sizeBytes])).toEqual([["/out/1/step-1", 4_096], ["/out/other", null]]);
  expect(await readCheckpoints(world.opened.db, [rows[1]!.id])).toEqual([rows[1]]);
});

test("the best is the lowest held-out loss by default, and never one that is NaN or deleted", async () => {
  const attempt = await newAttempt();
  await world.report([1, 2, 3, 4].map((step) => saved(attempt, step)));
  await world.report([metrics(attempt, { "train/loss": [[1, 9], [2, 9], [3, 9], [4, 0]], "val/loss": [[1, 0.5], [2, 0.2], [3, NaN], [4, 0.3]] })]);
  const best = async () => (await list(attempt)).filter(({ isBest }) => isBest).map(({ step }) => step);
  expect(await best()).toEqual([2]);
  const second = (await list(attempt))[1]!;
  await world.report([item(attempt, { type: "checkpoint-deleted", checkpointId: second.id, freedBytes: 1, error: null })]);
  expect(await best()).toEqual([4]);
});

test("a cleanup stage that names the stage says which metric tells the best", async () => {
  const [train] = await world.pipeline([{ name: "train" }, { name: "tidy", kind: "cleanup", params: { stages: ["train"], metric: "accuracy", mode: "max" } }]);
  const attempt = await world.attempt(train!);
  await world.report([saved(attempt, 1), saved(attempt, 2), metrics(attempt, { accuracy: [[1, 0.9], [2, 0.8]], loss: [[1, 5], [2, 1]] })]);
  expect((await list(attempt)).map(({ isBest }) => isBest)).toEqual([true, false]);
});

test("what a program deleted itself is gone, and one that came after the news is not", async () => {
  const attempt = await newAttempt();
  await world.report([saved(attempt, 1), saved(attempt, 2), metrics(attempt, { loss: [[1, 0.1], [2, 0.2], [3, 0.3]] })]);
  const gone = item(attempt, { type: "checkpoint", step: 3, path: "/out/1/step-3", sizeBytes: null, gone: ["/out/1/step-1", "/out/1/never-told"] });
  await world.report([gone, gone]);
  expect((await list(attempt)).map(({ step, deletedAt, isBest }) => [step, deletedAt !== null, isBest])).toEqual([[1, true, false], [2, false, true], [3, false, false]]);
});

test("only the agent that holds a checkpoint can say that it is gone; an error is kept and the order may be given again", async () => {
  const attempt = await newAttempt();
  await world.report([saved(attempt, 1)]);
  const { id } = (await list(attempt))[0]!;
  const order = await markOrdered(world.opened.db, id, new Date());
  expect(order).toEqual({ agentId: attempt.agentId, attemptId: attempt.attemptId, fence: 1, path: "/out/1/step-1" });
  const gone = (by: AttemptOf, error: string | null) => item(by, { type: "checkpoint-deleted", checkpointId: id, freedBytes: 0, error });
  await world.report([gone({ ...attempt, agentId: newId("agt") }, null)]);
  expect((await list(attempt))[0]).toMatchObject({ deletedAt: null, deleteOrderedAt: expect.any(Date) as Date });
  await world.report([gone(attempt, "EACCES: permission denied")]);
  expect((await list(attempt))[0]).toMatchObject({ deletedAt: null, deleteOrderedAt: null, deleteError: "EACCES: permission denied" });
  await markOrdered(world.opened.db, id, new Date());
  expect(await world.report([gone(attempt, null)])).toMatchObject({ stageIds: [attempt.stageId] });
  expect((await list(attempt))[0]).toMatchObject({ deletedAt: expect.any(Date) as Date, deleteError: null, isBest: false });
  await expect(markOrdered(world.opened.db, id, new Date())).rejects.toMatchObject({ code: "CHECKPOINT_GONE" });
  await expect(pinCheckpoint(world.opened.db, id, true)).rejects.toMatchObject({ code: "CHECKPOINT_GONE" });
});

test("a pinned checkpoint is not ordered deleted, and one that is ordered deleted is not pinned", async () => {
  const attempt = await newAttempt();
  await world.report([saved(attempt, 1)]);
  const { id } = (await list(attempt))[0]!;
  await pinCheckpoint(world.opened.db, id, true);
  await expect(markOrdered(world.opened.db, id, new Date())).rejects.toMatchObject({ code: "CHECKPOINT_PINNED" });
  await pinCheckpoint(world.opened.db, id, false);
  await markOrdered(world.opened.db, id, new Date());
  await expect(pinCheckpoint(world.opened.db, id, true)).rejects.toMatchObject({ code: "CHECKPOINT_GONE" });
  await expect(pinCheckpoint(world.opened.db, newId("ckp"), true)).rejects.toMatchObject({ code: "NOT_FOUND" });
});

test("a cleanup is planned per agent, keeps best, last and pinned ones and what a running stage reads", async () => {
  const [train, score] = await world.pipeline([{ name: "train", status: "COMPLETED" }, { name: "score" }, { name: "other" }]);
  const first = await world.attempt(train!);
  const second = await world.attempt(train!);
  await world.report([1, 2, 3, 4].map((step) => saved(first, step)).concat([5, 6].map((step) => saved(second, step))));
  await world.report([metrics(first, { loss: [[1, 5], [2, 1], [3, 3], [4, 4]] }), metrics(second, { loss: [[5, 2], [6, NaN]] })]);
  const rows = await list(first);
  await pinCheckpoint(world.opened.db, rows[2]!.id, true);
  const reading = await world.attempt(score!, { status: "RUNNING" });
  await world.opened.pool.query("insert into assignments (attempt_id, agent_id, pipeline_id, stage, fence, rank, status, body, offered_at, published_at, lease_renewed_at) values ($1, $2, $3, 'score', 1, 0, 'RUNNING', $4, now(), now(), now())",
    [reading.attemptId, reading.agentId, reading.pipelineId, JSON.stringify({ kind: "evaluate", params: { run: ["eval.py", "--model=/out/1/step-1/"] } })]);
  const params = cleanupParamsSchema.parse({ stages: ["train", "absent"], metric: "loss" });
  const plan = await cleanupPlan(world.opened.db, train!.pipelineId, params);
  expect(plan).toEqual(new Map([
    [first.agentId, [{ checkpointId: rows[3]!.id, path: "/out/1/step-4", attemptId: first.attemptId, fence: 1 }]],
    [second.agentId, [{ checkpointId: rows[4]!.id, path: "/out/2/step-5", attemptId: second.attemptId, fence: 2 }]],
  ]));
  expect((await cleanupPlan(world.opened.db, train!.pipelineId, cleanupParamsSchema.parse({ stages: ["train"], olderThanDays: 1 }))).size).toBe(0);
  expect((await list(first)).every(({ deletedAt, deleteOrderedAt }) => deletedAt === null && deleteOrderedAt === null)).toBe(true);
});

test("scores are kept with the checkpoint they are about, once, and count when the best is chosen", async () => {
  const [train, score] = await world.pipeline([{ name: "train" }, { name: "score", kind: "evaluate" }, { name: "tidy", kind: "cleanup", params: { stages: ["train"], metric: "accuracy", mode: "max" } }]);
  const trained = await world.attempt(train!);
  const scored = await world.attempt(score!);
  await world.report([saved(trained, 1), saved(trained, 2)]);
  const spec = { name: "p", stages: [{ name: "train", dependsOn: [] }, { name: "score", dependsOn: ["train"] }] } as never;
  const stages = [{ status: "COMPLETED", outputs: { checkpoint: "/out/1/step-1" } }, { status: "RUNNING" }];
  const state = { spec, dag: buildDag((spec as { stages: never }).stages), stages: { at: (index: number) => stages[index], length: 2 } } as never;
  const evaluation = {
    stageId: score!.stageId, pipelineId: score!.pipelineId, attemptId: scored.attemptId, params: { checkpoint: "${stages.train.outputs.checkpoint}/", dataset: "held-out" },
    outputs: { scores: { accuracy: 0.75 }, sampleCount: 200 }, resolve: state, simulated: false, now: new Date(),
  };
  await world.transaction((client) => recordEvaluation(client, evaluation));
  await world.transaction((client) => recordEvaluation(client, evaluation));
  const checkpoints = await list(trained);
  const [row] = await listEvaluations(world.opened.db, [score!.stageId]);
  expect(row).toMatchObject({ stageId: score!.stageId, checkpointId: checkpoints[0]!.id, dataset: "held-out", scores: { accuracy: 0.75 }, sampleCount: 200 });
  expect(await listEvaluations(world.opened.db, [train!.stageId])).toMatchObject([{ id: row!.id, stageId: train!.stageId }]);
  expect(await listPipelineEvaluations(world.opened.db, train!.pipelineId)).toEqual([row]);
  expect(await readEvaluations(world.opened.db, [row!.id])).toEqual([row]);
  expect(checkpoints.map(({ isBest }) => isBest)).toEqual([true, false]);
  expect(checkpoints[0]!.metrics).toEqual({});
});

test("an evaluation of something that nobody registered stands alone", async () => {
  const [score] = await world.pipeline([{ name: "score", kind: "evaluate" }]);
  const attempt = await world.attempt(score!);
  const evaluation = { stageId: score!.stageId, pipelineId: score!.pipelineId, attemptId: attempt.attemptId, params: { checkpoint: "base-model" }, outputs: { scores: { f1: 0 } }, resolve: {} as never, simulated: false, now: new Date() };
  await world.transaction((client) => recordEvaluation(client, evaluation));
  expect(await listEvaluations(world.opened.db, [score!.stageId])).toMatchObject([{ checkpointId: null, dataset: null, sampleCount: 0 }]);
});

test("outputs without usable scores are refused with the reason", () => {
  expect(evaluationProblems({ scores: { accuracy: 0.5, f1: 0 }, sampleCount: 10 })).toEqual([]);
  expect(evaluationProblems({ scores: { accuracy: 1 } })).toEqual([]);
  expect(evaluationProblems({})).toEqual([expect.stringContaining(`no "scores"`)]);
  expect(evaluationProblems({ scores: [1] })).toEqual([expect.stringContaining("a list")]);
  expect(evaluationProblems({ scores: {} })).toEqual([expect.stringContaining("empty")]);
  expect(evaluationProblems({ scores: { a: "0.5", b: null }, sampleCount: 1.5 })).toEqual([expect.stringContaining(`"a"`), expect.stringContaining(`"b"`), expect.stringContaining("1.5")]);
});
