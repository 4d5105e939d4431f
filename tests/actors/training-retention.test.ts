// Checkpoints of trainings and what may be deleted of them: never what is pinned, best, newest, or read by a stage that runs.
import { afterEach, expect, test } from "vitest";
import { runRetention } from "../../src/actors/caretaker/retention.js";
import { pinCheckpoint } from "../../src/db/telemetry/checkpoints.js";
import type { CheckpointId, PipelineId } from "../../src/domain/ids.js";
import type { Assignment } from "../../src/protocol/messages.js";
import { silent, startWorld, type ScriptedAgent, type World } from "../support/world.js";

let world: World;
afterEach(() => world.stop());

const GRPO = { algorithm: "grpo", model: "m", trainFiles: "/d/t.parquet", valFiles: "/d/v.parquet", batchSize: 64, simulate: true };

async function trained(agent: ScriptedAgent, name: string, steps: readonly (readonly [step: number, reward: number])[]): Promise<{ pipelineId: PipelineId; assignment: Assignment; ids: Map<number, CheckpointId> }> {
  const pipelineId = await world.submit({ name, stages: [{ name: "train", kind: "train", params: GRPO }] });
  await world.until(pipelineId, (state) => state.stages.at(0).status === "RUNNING");
  const assignment = agent.started.find((each) => each.pipelineId === pipelineId)!;
  const { attemptId, fence } = assignment;
  for (const [step, reward] of steps) {
    await agent.report({ type: "metrics", attemptId, fence, names: ["val-core/gsm8k/reward/mean@1", "actor/pg_loss"], points: [[0, step, Date.now(), reward], [1, step, Date.now(), -step]] },
      { type: "checkpoint", attemptId, fence, step, path: `/c/${name}/global_step_${step}`, sizeBytes: 1 });
  }
  const rows = await world.database.db.selectFrom("checkpoints").select(["id", "step"]).where("pipeline_id", "=", pipelineId).execute();
  return { pipelineId, assignment, ids: new Map(rows.map(({ id, step }) => [step, id])) };
}

test("of a finished training the best by reward, the newest, the pinned and the one that another training reads stay however old", async () => {
  world = await startWorld();
  const agent = await world.agent({ pools: [{ queues: ["training"], concurrency: 10 }], capabilities: ["train:simulate"], run: () => "hold" });
  const { assignment, ids, pipelineId } = await trained(agent, "old", [[10, 0.2], [20, 0.9], [30, 0.3], [40, 0.4], [50, 0.5], [60, 0.1]]);
  await pinCheckpoint(world.database.db, ids.get(30)!, true);
  const later = new Date(Date.now() + 100 * 86_400_000);
  const ordered: CheckpointId[] = [];
  const deps = { db: world.database.db, log: silent, eventDays: 0, metricDays: 0, logDays: 0, sampleDays: 0, checkpointDays: 30, deleteCheckpoint: (id: CheckpointId) => { ordered.push(id); return Promise.resolve(); } };
  await runRetention(deps, later);
  expect(ordered).toEqual([]); // it still runs: all of them may be gone on from

  await agent.end(assignment, { kind: "COMPLETED", outputs: {} });
  await world.ended(pipelineId, "COMPLETED");
  const reader = await world.submit({ name: "reader", stages: [{ name: "train", kind: "train", params: { ...GRPO, resume: { from: "/c/old/global_step_40" } } }] });
  await world.until(reader, (state) => state.stages.at(0).status === "RUNNING");
  await runRetention(deps, later);
  expect(ordered.map((id) => [...ids].find(([, other]) => other === id)![0])).toEqual([10, 50]);

  await agent.end(agent.started.find((each) => each.pipelineId === reader)!, { kind: "COMPLETED", outputs: {} });
  await world.ended(reader, "COMPLETED");
  ordered.length = 0;
  await runRetention(deps, later);
  expect(ordered).toContain(ids.get(40));
  for (const step of [20, 30, 60]) expect(ordered).not.toContain(ids.get(step));
});
