import { afterEach, expect, test } from "vitest";
import { loadPipeline } from "../../src/db/pipeline-store.js";
import type { PipelineEvent } from "../../src/domain/pipeline/events.js";
import { evolve } from "../../src/domain/pipeline/evolve.js";
import type { PipelineId } from "../../src/domain/ids.js";
import type { PipelineState } from "../../src/domain/pipeline/state.js";
import { validateSpec } from "../../src/domain/pipeline/validate.js";
import { commands, diamond, line } from "../support/specs.js";
import { startWorld, type World } from "../support/world.js";

let world: World;
afterEach(() => world.stop());

/** The history as stored, with what the events table leaves out of the first payload put back from the pipeline's row. */
async function replay(id: PipelineId): Promise<PipelineState> {
  const rows = await world.database.db.selectFrom("events").selectAll().where("pipeline_id", "=", id).orderBy("seq").execute();
  const { spec, forked_from, created_by } = await world.database.db.selectFrom("pipelines").selectAll().where("id", "=", id).executeTakeFirstOrThrow();
  const stageIds = (await world.database.db.selectFrom("stages").select("id").where("pipeline_id", "=", id).orderBy("position").execute()).map((row) => row.id);
  return rows.reduce<PipelineState | null>((state, row) => {
    const event = { ...row.payload, type: row.type, at: row.at.getTime(), ...(row.stage === null ? {} : { stage: row.stage }), ...(row.type === "PipelineSubmitted" ? { spec, stageIds, forkedFrom: forked_from, by: created_by } : {}) };
    return evolve(state, event as unknown as PipelineEvent);
  }, null)!;
}

test("a diamond runs from submission to its end, each stage after its needs, outputs handed on", async () => {
  world = await startWorld();
  const agent = await world.agent({ run: ({ stage, params }) => ({ kind: "COMPLETED", outputs: { n: stage === "a" ? 20 : (params["run"] as string[]).slice(1).reduce((sum, text) => sum + Number(text), stage === "d" ? 0 : 1) } }) });
  const id = await world.submit(commands("diamond", [
    { name: "a" }, { name: "b", dependsOn: ["a"], params: { run: ["x", "${stages.a.outputs.n}"] } }, { name: "c", dependsOn: ["a"], params: { run: ["x", "${stages.a.outputs.n}"] } },
    { name: "d", dependsOn: ["b", "c"], params: { run: ["x", "${stages.b.outputs.n}", "${stages.c.outputs.n}"] } },
  ]));
  await world.ended(id, "COMPLETED");
  expect(await world.stage(id, "d")).toMatchObject({ status: "COMPLETED", outputs: { n: 42 } });
  expect(agent.started.map((one) => one.stage).slice(0, 1).concat(agent.started.at(-1)!.stage)).toEqual(["a", "d"]);
});

test("the stored state equals the replayed history, events are dense per pipeline and over all", async () => {
  world = await startWorld();
  await world.agent();
  const ids = await Promise.all([world.submit(diamond), world.submit(line), world.submit(diamond)]);
  for (const id of ids) await world.ended(id, "COMPLETED");
  for (const id of ids) {
    const { dag: _, stages, ...replayed } = await replay(id);
    const { dag: __, stages: storedStages, ...stored } = (await loadPipeline(world.database.pool, id))!;
    expect(replayed).toEqual(stored);
    expect([...stages]).toEqual([...storedStages]);
    const seqs = (await world.database.db.selectFrom("events").select("seq").where("pipeline_id", "=", id).orderBy("position").execute()).map((row) => row.seq);
    expect(seqs).toEqual(seqs.map((_, index) => index + 1));
  }
  const positions = (await world.database.db.selectFrom("events").select("position").orderBy("position").execute()).map((row) => row.position);
  expect(positions).toEqual(positions.map((_, index) => index + 1));
});

test("a failed attempt is retried by policy with a higher fence, then its dependents are skipped with the reason and other branches go on", async () => {
  world = await startWorld();
  const failure = { code: "EXIT_NONZERO" as const, message: "exit 1", hint: null, exitCode: 1, logTail: ["boom"] };
  const agent = await world.agent({ run: ({ stage }) => (stage === "bad" ? { kind: "FAILED", failure } : { kind: "COMPLETED", outputs: {} }) });
  const id = await world.submit(commands("branches", [{ name: "bad", retry: { maxAttempts: 3, backoffSeconds: 0.05 } }, { name: "after", dependsOn: ["bad"] }, { name: "good" }, { name: "more", dependsOn: ["good"] }]));
  await world.ended(id, "FAILED");
  expect(agent.started.filter((one) => one.stage === "bad").map((one) => one.fence)).toEqual([1, 2, 3]);
  expect(await world.stage(id, "after")).toMatchObject({ status: "SKIPPED", reason: 'stage "bad" failed (EXIT_NONZERO)' });
  expect(await world.stage(id, "more")).toMatchObject({ status: "COMPLETED" });
  const attempts = await world.database.db.selectFrom("attempts").select(["number", "status", "error"]).where("pipeline_id", "=", id).where("status", "=", "FAILED").orderBy("number").execute();
  expect(attempts).toMatchObject([{ number: 1, error: { code: "EXIT_NONZERO", logTail: ["boom"] } }, { number: 2 }, { number: 3 }]);
});

test("a lost lease requeues the stage and refuses the old agent's late success", async () => {
  world = await startWorld({ leaseTtlMs: 1_500, unresponsiveAfterMs: 700, renewEveryMs: 300 });
  const zombie = await world.agent({ name: "zombie", run: () => "hold" });
  const id = await world.submit(commands("one", [{ name: "s", retry: { maxAttempts: 2, backoffSeconds: 0 } }]));
  await world.until(id, (state) => state.stages.at(0).status === "RUNNING");
  const held = zombie.started[0]!;
  await zombie.vanish();
  const other = await world.agent({ name: "other" });
  await world.ended(id, "COMPLETED");
  expect(other.started[0]).toMatchObject({ fence: 2 });
  const accepted = await zombie.end(held, { kind: "COMPLETED", outputs: { late: true } });
  expect(accepted.refused).toMatchObject([{ attemptId: held.attemptId, fence: 1 }]);
  expect(await world.stage(id, "s")).toMatchObject({ status: "COMPLETED", outputs: {} });
  const statuses = await world.database.db.selectFrom("attempts").select("status").orderBy("number").execute();
  expect(statuses).toEqual([{ status: "LOST" }, { status: "COMPLETED" }]);
});

test("reports sent twice, out of order or with a gap take effect once and in order", async () => {
  world = await startWorld();
  const agent = await world.agent({ run: () => "hold" });
  const id = await world.submit(commands("one", [{ name: "s" }]));
  await world.until(id, (state) => state.stages.at(0).status === "RUNNING");
  const { attemptId, fence } = agent.started[0]!;
  const report = (n: number, body: object) => ({ n, at: Date.now(), attemptId, fence, ...body }) as never;
  const ended = report(3, { type: "ended", outcome: { kind: "COMPLETED", outputs: {} } });
  const metrics = report(2, { type: "metrics", names: ["loss"], points: [[0, 1, Date.now(), 0.5]] });
  expect(await agent.send([ended])).toMatchObject({ watermark: 1 }); // a gap: 2 is missing
  expect(await agent.send([metrics, metrics, ended, ended])).toMatchObject({ watermark: 3 });
  expect(await agent.send([metrics, ended])).toMatchObject({ watermark: 3 });
  await world.ended(id, "COMPLETED");
  expect((await world.eventTypes(id)).filter((type) => type === "StageCompleted")).toHaveLength(1);
  expect(await world.database.db.selectFrom("metric_points").selectAll().execute()).toMatchObject([{ step: 1, value: 0.5 }]);
});

test("cancel reaches what runs, starts nothing more, and the pipeline ends CANCELLED", async () => {
  world = await startWorld();
  const agent = await world.agent({ run: () => "hold" });
  const id = await world.submit(line);
  await world.until(id, (state) => state.stages.at(0).status === "RUNNING");
  await world.actors.controlPlane.order({ type: "CancelPipeline", pipelineId: id, by: "test", reason: "no longer needed" });
  await world.ended(id, "CANCELLED");
  expect(agent.stops).toMatchObject([{ cause: "CANCEL", reason: "no longer needed" }]);
  expect(agent.started).toHaveLength(1);
  await expect(world.actors.controlPlane.order({ type: "CancelPipeline", pipelineId: id, by: "test", reason: "" })).rejects.toMatchObject({ code: "PIPELINE_OVER" });
});

test("pause stops what runs, resume runs it again, and the try that was paused does not count", async () => {
  world = await startWorld();
  let calls = 0;
  const agent = await world.agent({ run: () => (++calls === 1 ? "hold" : { kind: "COMPLETED", outputs: {} }) });
  const id = await world.submit(line);
  await world.until(id, (state) => state.stages.at(0).status === "RUNNING");
  await world.actors.controlPlane.order({ type: "PausePipeline", pipelineId: id, by: "test", reason: "lunch" });
  await world.until(id, (state) => state.status === "PAUSED" && state.stages.at(0).status === "PAUSED");
  await world.actors.controlPlane.order({ type: "ResumePipeline", pipelineId: id, by: "test", reason: "" });
  await world.ended(id, "COMPLETED");
  expect(agent.started.map((one) => one.fence)).toEqual([1, 2, 1, 1]);
});

test("a repeated request id answers the same pipeline, with another specification a conflict, also when both arrive together", async () => {
  world = await startWorld();
  const spec = validateSpec(diamond).spec!;
  const request = { tokenId: world.agentToken, requestId: "r-1" };
  const submit = (chosen = spec) => world.actors.controlPlane.submit({ spec: chosen, by: "test", request });
  const answers = await Promise.all([submit(), submit(), submit()]);
  expect(new Set(answers.map((answer) => answer.pipelineId)).size).toBe(1);
  expect((await submit()).pipelineId).toBe(answers[0]!.pipelineId);
  await expect(submit(validateSpec(line).spec!)).rejects.toMatchObject({ code: "REQUEST_ID_REUSED" });
  expect(await world.database.db.selectFrom("pipelines").select("id").execute()).toHaveLength(1);
});

test("GPUs are given to one attempt each and freed at its end", async () => {
  world = await startWorld();
  const gpu = (index: number) => ({ index, uuid: null, model: "NVIDIA H100", memoryTotalMiB: 80_000, memoryUsedMiB: 0, utilizationPercent: 0, strangers: 0 });
  const agent = await world.agent({ gpus: [gpu(0), gpu(1)], pools: [{ queues: ["default"], concurrency: 8 }], run: () => "hold" });
  const id = await world.submit(commands("gpus", ["x", "y", "z"].map((name) => ({ name, resources: { gpus: 1 } }))));
  await world.until(id, (state) => state.counts.RUNNING === 2);
  expect(agent.started.map((one) => one.gpus).sort()).toEqual([[0], [1]]);
  const waiting = (await world.state(id)).dag.names.find((name) => !agent.started.some((one) => one.stage === name))!;
  expect((await world.actors.controlPlane.waitReasons(id, waiting)).join(" ")).toMatch(/GPU/);
  await agent.end(agent.started[0]!, { kind: "COMPLETED", outputs: {} });
  await world.until(id, (state) => state.counts.RUNNING === 2 && state.counts.COMPLETED === 1);
  expect(agent.started[2]!.gpus).toEqual(agent.started[0]!.gpus);
});

test("a stage over two nodes starts on both or not at all, and its outputs are those of rank 0", async () => {
  world = await startWorld();
  const first = await world.agent({ name: "n1", run: ({ rank }) => ({ kind: "COMPLETED", outputs: { rank } }) });
  const id = await world.submit(commands("gang", [{ name: "wide", resources: { nodes: 2 } }]));
  await world.until(id, (state) => state.stages.at(0).status === "QUEUED");
  await expect.poll(() => world.actors.controlPlane.waitReasons(id, "wide"), { timeout: 5_000 }).not.toEqual([]);
  expect(first.started).toEqual([]);
  const second = await world.agent({ name: "n2", run: ({ rank }) => ({ kind: "COMPLETED", outputs: { rank } }) });
  await world.ended(id, "COMPLETED");
  expect([first.started.length, second.started.length]).toEqual([1, 1]);
  expect(await world.stage(id, "wide")).toMatchObject({ outputs: { rank: 0 } });
});

test("two control planes on one database share the work, and the survivor carries on when the one that schedules ends", async () => {
  world = await startWorld();
  const other = world.second();
  const plane = other.controlPlane;
  await world.agent();
  const spec = validateSpec(diamond).spec!;
  const ids = (await Promise.all(Array.from({ length: 20 }, () => plane.submit({ spec, by: "other", request: null })))).map((one) => one.pipelineId);
  for (const id of ids) await world.ended(id, "COMPLETED");
  const scheduling = [world.actors, other].find((one) => one.dispatching)!;
  expect([world.actors, other].filter((one) => one.dispatching)).toHaveLength(1);
  if (scheduling === other) await other.stop();
  else expect(other.dispatching).toBe(false);
  const last = await world.submit(line);
  await world.ended(last, "COMPLETED");
});
