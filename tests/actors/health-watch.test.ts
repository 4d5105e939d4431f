// Anomalies through the actors: found in the transaction that takes a report in, kept once, and acted on by the stage's policy.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { sweepTrainingSilence } from "../../src/actors/caretaker/training-silence.js";
import { listAnomalies } from "../../src/db/anomalies.js";
import type { AttemptId, PipelineId } from "../../src/domain/ids.js";
import { ANOMALY_KINDS } from "../../src/domain/training/health/anomaly.js";
import type { HealthPoint } from "../../src/domain/training/health/anomaly.js";
import type { Assignment, Report } from "../../src/protocol/messages.js";
import { drawn, healthyGrpo, healthySft, type Curve } from "../domain/training/health/curves.js";
import { startWorld, type ScriptedAgent, type World } from "../support/world.js";

let world: World;
let agent: ScriptedAgent;
beforeAll(async () => {
  world = await startWorld();
  agent = await world.agent({ pools: [{ queues: ["training"], concurrency: 100 }], capabilities: ["train:verl", "train:verl:vllm", "train:simulate"], run: () => "hold" });
});
afterAll(() => world.stop());

const NOTIFY = { onNonFinite: "notify", onDivergence: "notify" };
const GRPO = { algorithm: "grpo", valFiles: "/d/v.parquet", batchSize: 64 };

interface Run { readonly pipelineId: PipelineId; readonly assignment: Assignment }
async function running(name: string, params: Record<string, unknown> = {}, stage: Record<string, unknown> = {}): Promise<Run> {
  const pipelineId = await world.submit({ name, stages: [{ name: "train", kind: "train", params: { algorithm: "sft", model: "m", trainFiles: "/d/t.parquet", simulate: true, ...params }, ...stage }] });
  return { pipelineId, assignment: await attempt(pipelineId, 1) };
}
/** The assignment of the n-th attempt, when it has started. */
async function attempt(pipelineId: PipelineId, number: number): Promise<Assignment> {
  await world.until(pipelineId, (state) => { const stage = state.stages.at(0); return stage.status === "RUNNING" && stage.live.number === number; });
  return agent.started.find((each) => each.pipelineId === pipelineId && each.fence === number)!;
}
type Metrics = Omit<Extract<Report, { type: "metrics" }>, "n" | "at">;
function metrics({ attemptId, fence }: Pick<Assignment, "attemptId" | "fence">, points: readonly HealthPoint[]): Metrics {
  const names = [...new Set(points.map(({ name }) => name))];
  const wire = (value: number) => (Number.isFinite(value) ? value : (String(value) as "NaN"));
  return { type: "metrics", attemptId: attemptId as AttemptId, fence, names, points: points.map(({ name, step, at, value }) => [names.indexOf(name), step, at, wire(value)]) };
}
const at = (name: string, step: number, value: number): HealthPoint => ({ name, step, at: Date.now(), value });
const checkpoint = ({ attemptId, fence }: Assignment, step: number) => ({ type: "checkpoint" as const, attemptId, fence, step, path: `/c/${attemptId}/global_step_${step}`, sizeBytes: 1 });
const found = async ({ assignment }: Pick<Run, "assignment">) => listAnomalies(world.database.db, [assignment.stageId]);
const kinds = async (run: Run) => (await found(run)).map(({ kind, severity }) => `${kind} ${severity}`);

describe("each kind is found as it is reported", () => {
  const from = (start: number, curve: (step: number) => number, before: Curve): Curve => (step, chance) => (step < start ? before(step, chance) : curve(step - start));
  const CASES: readonly (readonly [kind: string, params: object, metric: string, curve: Curve, steps: number])[] = [
    ["NON_FINITE CRITICAL", {}, "train/loss", from(200, () => NaN, healthySft(600)["train/loss"]!), 210],
    ["LOSS_SPIKE HIGH", {}, "train/loss", from(300, () => 6, healthySft(600)["train/loss"]!), 320],
    ["LOSS_PLATEAU LOW", {}, "val/loss", (step) => (step % 50 === 0 ? 1 + Math.abs(step - 400) / 1000 : null), 900],
    ["KL_EXPLOSION CRITICAL", GRPO, "actor/ppo_kl", from(300, (i) => 0.15 + 0.02 * i, healthyGrpo["actor/ppo_kl"]!), 420],
    ["ENTROPY_COLLAPSE HIGH", GRPO, "actor/entropy", from(300, (i) => 0.2 * 0.6 ** i, healthyGrpo["actor/entropy"]!), 420],
    ["REWARD_COLLAPSE CRITICAL", GRPO, "critic/rewards/mean", from(300, () => 0, healthyGrpo["critic/rewards/mean"]!), 420],
    ["GRADIENT_EXPLOSION CRITICAL", GRPO, "actor/grad_norm", from(300, (i) => 2 * 1.5 ** i, healthyGrpo["actor/grad_norm"]!), 340],
    ["GRADIENT_VANISHING MEDIUM", GRPO, "actor/grad_norm", from(300, () => 0, healthyGrpo["actor/grad_norm"]!), 340],
    ["RESPONSE_LENGTH_CLIPPED HIGH", GRPO, "response_length/clip_ratio", from(300, (i) => Math.min(1, 0.05 * i), healthyGrpo["response_length/clip_ratio"]!), 420],
  ];
  test("all kinds but those of the log and the clock are here", () => {
    expect([...new Set([...CASES.map(([kind]) => kind.split(" ")[0]!), "NO_PROGRESS", "OUT_OF_MEMORY"])].sort()).toEqual([...ANOMALY_KINDS].sort());
  });

  test.each(CASES)("%s", async (kind, params, metric, curve, steps) => {
    const run = await running(kind, { ...params, health: NOTIFY });
    const points = drawn({ [metric]: curve }, steps);
    const half = Math.floor(points.length / 2);
    await agent.report(metrics(run.assignment, points.slice(0, half)));
    // Nothing of what came before is read again: it is gone.
    await world.database.pool.query("delete from metric_points where series_id in (select id from metric_series where stage_id = $1)", [run.assignment.stageId]);
    await world.database.pool.query("delete from metric_blocks where series_id in (select id from metric_series where stage_id = $1)", [run.assignment.stageId]);
    await agent.report(metrics(run.assignment, points.slice(half)));
    expect(await kinds(run)).toContain(kind);
    for (const anomaly of await found(run)) expect(anomaly).toMatchObject({ action: "NOTIFIED", would: null, attempt: 1, metric, stageId: run.assignment.stageId, pipelineId: run.pipelineId });
    expect(await world.stage(run.pipelineId, "train")).toMatchObject({ status: "RUNNING" });
  });

  test("OUT_OF_MEMORY in the log, once per cause however often it is written", async () => {
    const run = await running("oom");
    const { attemptId, fence } = run.assignment;
    const text = "step:3 - train/loss:1\ntorch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB\n";
    await agent.report({ type: "log", attemptId, fence, fromByte: 0, skippedBytes: 0, text });
    await agent.report({ type: "log", attemptId, fence, fromByte: text.length, skippedBytes: 0, text });
    expect(await found(run)).toMatchObject([{ kind: "OUT_OF_MEMORY", severity: "HIGH", step: null, metric: null, action: "NOTIFIED", message: expect.stringContaining("Tried to allocate 2.00 GiB"), suggestion: expect.stringContaining("microBatchSize") }]);
  });

  test("NO_PROGRESS by silence, once, and worse once more; not of an attempt that is over", async () => {
    const run = await running("silent");
    const began = Date.now() - 20 * 60_000;
    await agent.report(metrics(run.assignment, Array.from({ length: 20 }, (_, index) => ({ name: "train/loss", step: index + 1, at: began + index * 60_000, value: 1 }))));
    const deps = { pool: world.database.pool, wakeups: world.actors.wakeups };
    const last = began + 19 * 60_000;
    const after = async (minutes: number) => {
      await sweepTrainingSilence(deps, last + minutes * 60_000);
      return kinds(run);
    };
    expect(await after(9)).toEqual([]);
    expect(await after(11)).toEqual(["NO_PROGRESS MEDIUM"]);
    expect(await after(12)).toEqual(["NO_PROGRESS MEDIUM"]);
    expect(await after(31)).toEqual(["NO_PROGRESS MEDIUM", "NO_PROGRESS HIGH"]);
    const over = await running("over");
    await agent.report(metrics(over.assignment, Array.from({ length: 20 }, (_, index) => ({ name: "train/loss", step: index + 1, at: began + index * 60_000, value: 1 }))));
    await agent.end(over.assignment, { kind: "COMPLETED", outputs: {} });
    await sweepTrainingSilence(deps, last + 300 * 60_000);
    expect(await kinds(over)).toEqual([]);
  });
});

describe("what is reported again finds nothing new", () => {
  test("the same report, the same points in a later one, and those of a run that goes on", async () => {
    const run = await running("twice", { health: NOTIFY });
    const report = metrics(run.assignment, [at("train/loss", 1, 1), at("train/loss", 2, NaN)]);
    await agent.report(report);
    await agent.report(report);
    await agent.report(metrics(run.assignment, [at("train/loss", 3, NaN), at("train/grad_norm", 2, NaN)]));
    expect(await found(run)).toMatchObject([{ kind: "NON_FINITE", step: 2, message: "train/loss is NaN at step 2." }]);
    const { rows } = await world.database.pool.query("select count(*)::int as count from anomalies where stage_id = $1", [run.assignment.stageId]);
    expect(rows).toEqual([{ count: 1 }]);
  });
});

describe("the policy", () => {
  test("stop ends the attempt and fails the stage as HEALTH_POLICY, which a retry policy does not repeat", async () => {
    const run = await running("stop", {}, { retry: { maxAttempts: 3, backoffSeconds: 0 } });
    await agent.report(metrics(run.assignment, [at("train/loss", 1, 1), at("train/loss", 2, NaN)]));
    await world.ended(run.pipelineId, "FAILED");
    expect(agent.stops.filter(({ attemptId }) => attemptId === run.assignment.attemptId)).toMatchObject([{ cause: "HEALTH", reason: expect.stringContaining("NON_FINITE: train/loss is NaN at step 2.") }]);
    expect(await found(run)).toMatchObject([{ action: "STOPPED", reason: "health.onNonFinite is stop." }]);
    expect(await world.stage(run.pipelineId, "train")).toMatchObject({ status: "FAILED", attempts: 1, failure: { code: "HEALTH_POLICY", message: expect.stringContaining("train/loss is NaN at step 2"), hint: expect.stringContaining("anomalies") } });
  });

  test("rollback makes a new attempt that knows where to go on, until its budget is used up; then it stops", async () => {
    const run = await running("rollback", { health: { onNonFinite: "rollback", budget: 1 } });
    await agent.report(metrics(run.assignment, [at("train/loss", 10, 1)]), checkpoint(run.assignment, 10), checkpoint(run.assignment, 20), metrics(run.assignment, [at("train/loss", 15, NaN)]));
    const second = await attempt(run.pipelineId, 2);
    expect(second.rollbacks).toEqual([{ fence: 1, step: 10 }]);
    expect(await found(run)).toMatchObject([{ action: "ROLLED_BACK", step: 15, reason: "health.onNonFinite is rollback: 1 of 1, to step 10." }]);
    expect(await world.stage(run.pipelineId, "train")).toMatchObject({ status: "RUNNING", attempts: 2, tries: 0, rollbacks: [{ attempt: 1, toStep: 10 }] });
    const types = await world.database.db.selectFrom("events").select(["type", "payload"]).where("pipeline_id", "=", run.pipelineId).where("type", "in", ["AttemptFailed", "StageQueued"]).orderBy("seq").execute();
    expect(types).toMatchObject([{ type: "StageQueued" }, { type: "AttemptFailed", payload: { rolledBackTo: 10, counts: false, failure: { code: "HEALTH_POLICY" } } }, { type: "StageQueued", payload: { cause: "ROLLBACK" } }]);
    await agent.report(metrics(second, [at("train/loss", 12, NaN)]));
    await world.ended(run.pipelineId, "FAILED");
    expect(await found(run)).toMatchObject([{ attempt: 1 }, { attempt: 2, action: "STOPPED", step: 12, reason: expect.stringContaining("its budget of 1 is used up") }]);
  });

  test("rollback goes to a checkpoint that came in the very report, and stops where there is none before it", async () => {
    const fresh = await running("fresh", { health: { onNonFinite: "rollback" } });
    await agent.report(checkpoint(fresh.assignment, 4), metrics(fresh.assignment, [at("train/loss", 5, NaN)]));
    expect((await attempt(fresh.pipelineId, 2)).rollbacks).toEqual([{ fence: 1, step: 4 }]);
    const none = await running("none", { health: { onNonFinite: "rollback" } });
    await agent.report(checkpoint(none.assignment, 9), metrics(none.assignment, [at("train/loss", 5, NaN)]));
    await world.ended(none.pipelineId, "FAILED");
    expect(await found(none)).toMatchObject([{ action: "STOPPED", reason: expect.stringContaining("no complete checkpoint before it") }]);
  });

  test("rollback goes to the checkpoint that the run has saved by then, though its report has yet to come", async () => {
    const none = await running("unreported", { saveEvery: 2, health: { onNonFinite: "rollback" } });
    await agent.report(metrics(none.assignment, [at("train/loss", 5, NaN)]));
    expect((await attempt(none.pipelineId, 2)).rollbacks).toEqual([{ fence: 1, step: 4 }]);
    const older = await running("older", { saveEvery: 2, health: { onNonFinite: "rollback" } });
    await agent.report(checkpoint(older.assignment, 2), metrics(older.assignment, [at("train/loss", 6, NaN)]));
    expect((await attempt(older.pipelineId, 2)).rollbacks).toEqual([{ fence: 1, step: 4 }]);
    const early = await running("early", { saveEvery: 2, health: { onNonFinite: "rollback" } });
    await agent.report(metrics(early.assignment, [at("train/loss", 2, NaN)]));
    await world.ended(early.pipelineId, "FAILED");
    expect(await found(early)).toMatchObject([{ action: "STOPPED", reason: expect.stringContaining("no complete checkpoint before it") }]);
  });

  test("a divergence acts by its own field, and goes back further than its first sign", async () => {
    const run = await running("diverges", { ...GRPO, health: { onDivergence: "rollback" } });
    await agent.report(...[5, 15, 25].map((step) => checkpoint(run.assignment, step)), metrics(run.assignment, Array.from({ length: 40 }, (_, index) => at("actor/ppo_kl", index + 1, index < 29 ? 0.001 : 4))));
    const second = await attempt(run.pipelineId, 2);
    expect(second.rollbacks).toEqual([{ fence: 1, step: 15 }]);
    expect((await found(run)).at(-1)).toMatchObject({ kind: "KL_EXPLOSION", severity: "CRITICAL", action: "ROLLED_BACK" });
  });

  test("shadow only says what would have been done", async () => {
    const run = await running("shadow", { health: { onNonFinite: "rollback", shadow: true } });
    await agent.report(checkpoint(run.assignment, 4), metrics(run.assignment, [at("train/loss", 5, NaN)]));
    expect(await found(run)).toMatchObject([{ action: "NOTIFIED", would: "ROLLED_BACK", reason: expect.stringContaining("health.shadow") }]);
    expect(await world.stage(run.pipelineId, "train")).toMatchObject({ status: "RUNNING", attempts: 1, live: { stopping: null } });
    expect(agent.stops.filter(({ attemptId }) => attemptId === run.assignment.attemptId)).toEqual([]);
  });

  test("an attempt that is being stopped already is left alone, and that is said", async () => {
    const run = await running("late");
    await agent.report(metrics(run.assignment, [at("train/loss", 1, NaN), at("val/loss", 1, NaN)]), metrics(run.assignment, [...[2, 3, 4, 5, 6].map((step) => at("train/loss", step, 1)), at("train/loss", 7, NaN)]));
    await world.ended(run.pipelineId, "FAILED");
    expect((await found(run)).filter(({ severity }) => severity === "CRITICAL")).toMatchObject([{ step: 1, action: "STOPPED" }, { step: 7, action: "NOTIFIED", reason: expect.stringContaining("being stopped already") }]);
  });
});
