// What the watermark is for. State is guarded a second time: decide absorbs a start that was told before and refuses a second end, points are replaced by step and log bytes by address. What those
// cannot do is told apart here: an old report that comes again must not undo a newer one, and an agent that was in the right must not be told to stop.
import { afterEach, beforeEach, expect, test } from "vitest";
import type { Assignment, Report } from "../../src/protocol/messages.js";
import { commands } from "../support/specs.js";
import { startWorld, type ScriptedAgent, type World } from "../support/world.js";

let world: World;
let agent: ScriptedAgent;
let held: Assignment;
beforeEach(async () => {
  world = await startWorld();
  agent = await world.agent({ run: () => "hold" });
  const id = await world.submit(commands("one", [{ name: "s" }]));
  await world.until(id, (state) => state.stages.at(0).status === "RUNNING");
  held = agent.started[0]!;
});
afterEach(() => world.stop());

const report = (n: number, body: object): Report => ({ n, at: Date.now(), attemptId: held.attemptId, fence: held.fence, ...body }) as Report;
const loss = (n: number, value: number): Report => report(n, { type: "metrics", names: ["loss"], points: [[0, 1, 1_700_000_000_000 + n, value]] });
const values = async () => (await world.database.db.selectFrom("metric_points").select("value").execute()).map((row) => row.value);
const watermark = async () => (await world.database.db.selectFrom("agents").select("watermark").executeTakeFirstOrThrow()).watermark;

test("an old report that comes again does not undo what a newer one said", async () => {
  await agent.send([loss(2, 0.5), loss(3, 0.7)]); // written anew, as a program that went back a step does
  expect(await values()).toEqual([0.7]);
  await agent.send([loss(2, 0.5)]);
  expect(await values()).toEqual([0.7]);
});

test("an old report that comes again does not lower the watermark: what follows is still in order", async () => {
  await agent.send([loss(2, 0.5), loss(3, 0.7)]);
  expect(await agent.send([loss(2, 0.5)])).toEqual({ watermark: 3, refused: [] });
  expect(await watermark()).toBe(3);
  expect(await agent.send([loss(4, 0.9)])).toEqual({ watermark: 4, refused: [] });
});

test("an end that comes again is absorbed and not refused: nothing tells its agent that the lease was lost", async () => {
  const ended = report(2, { type: "ended", outcome: { kind: "COMPLETED", outputs: {} } });
  expect(await agent.send([ended])).toEqual({ watermark: 2, refused: [] });
  expect(await agent.send([ended])).toEqual({ watermark: 2, refused: [] });
  expect(await agent.send([loss(1, 0.5), ended])).toEqual({ watermark: 2, refused: [] });
  expect(await values()).toEqual([]);
});

test("two control planes that are given the same reports at once apply them once", async () => {
  const other = world.second();
  const told = [loss(2, 0.5), report(3, { type: "ended", outcome: { kind: "COMPLETED", outputs: {} } })];
  const { agentId, epoch } = { agentId: (await world.database.db.selectFrom("agents").select("id").executeTakeFirstOrThrow()).id, epoch: (await world.database.db.selectFrom("agents").select("epoch").executeTakeFirstOrThrow()).epoch };
  const answers = await Promise.all([world.actors, other, world.actors, other].map((plane) => plane.engine.report(agentId, epoch!, told)));
  expect(answers).toEqual(Array(4).fill({ watermark: 3, refused: [] }));
  expect((await world.eventTypes(held.pipelineId)).filter((type) => type === "StageCompleted")).toHaveLength(1);
});
