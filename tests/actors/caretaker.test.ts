import { afterEach, expect, test } from "vitest";
import type { PipelineId } from "../../src/domain/ids.js";
import type { Outputs } from "../../src/domain/pipeline/state.js";
import { commands } from "../support/specs.js";
import { startWorld, type World } from "../support/world.js";

let world: World;
afterEach(() => world.stop());

test("an attempt that runs longer than its timeout is stopped and the stage fails as TIMEOUT", async () => {
  world = await startWorld();
  const agent = await world.agent({ run: () => "hold" });
  const id = await world.submit(commands("slow", [{ name: "s", timeoutSeconds: 0.3 }]));
  await world.ended(id, "FAILED");
  expect(agent.stops).toMatchObject([{ cause: "TIMEOUT" }]);
  expect(await world.stage(id, "s")).toMatchObject({ status: "FAILED", failure: { code: "TIMEOUT", hint: expect.stringContaining("timeoutSeconds") } });
});

test("a stage that no agent starts in time fails as START_TIMEOUT and what depends on it is skipped", async () => {
  world = await startWorld();
  const id = await world.submit(commands("nobody", [{ name: "s", startTimeoutSeconds: 0.3 }, { name: "t", dependsOn: ["s"] }]));
  await world.ended(id, "FAILED");
  expect(await world.stage(id, "s")).toMatchObject({ status: "FAILED", failure: { code: "START_TIMEOUT" } });
  expect(await world.stage(id, "t")).toMatchObject({ status: "SKIPPED" });
});

test("silence beyond the limit stops an attempt as NO_PROGRESS; output keeps it alive", async () => {
  world = await startWorld();
  const agent = await world.agent({ run: () => "hold" });
  const id = await world.submit(commands("silent", [{ name: "quiet", noProgressTimeoutSeconds: 0.6 }, { name: "loud", noProgressTimeoutSeconds: 0.6 }]));
  await world.until(id, (state) => state.counts.RUNNING === 2);
  const loud = agent.started.find((one) => one.stage === "loud")!;
  let fromByte = 0;
  while ((await world.stage(id, "quiet")).status === "RUNNING") {
    await agent.report({ type: "log", attemptId: loud.attemptId, fence: loud.fence, fromByte, skippedBytes: 0, text: "still here\n" });
    fromByte += 11;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  expect(agent.stops).toMatchObject([{ cause: "NO_PROGRESS", attemptId: agent.started.find((one) => one.stage === "quiet")!.attemptId }]);
  expect(await world.stage(id, "loud")).toMatchObject({ status: "RUNNING" });
  await agent.end(loud, { kind: "COMPLETED", outputs: {} });
  await world.ended(id, "FAILED");
  expect(await world.stage(id, "quiet")).toMatchObject({ failure: { code: "NO_PROGRESS" } });
});

test("an agent that is merely unresponsive keeps its work and gets no more; when it is back it goes on", async () => {
  world = await startWorld({ unresponsiveAfterMs: 400, renewEveryMs: 60_000 });
  const agent = await world.agent({ run: () => "hold" });
  const id = await world.submit(commands("one", [{ name: "s" }]));
  await world.until(id, (state) => state.counts.RUNNING === 1);
  await expect.poll(async () => {
    const later = await world.submit(commands("later", [{ name: "t" }]));
    return (await world.actors.controlPlane.waitReasons(later, "t")).join(" ");
  }, { timeout: 8_000, interval: 500 }).toMatch(/unresponsive/);
  expect(await world.stage(id, "s")).toMatchObject({ status: "RUNNING", live: { number: 1 } });
  await agent.renew();
  await agent.end(agent.started[0]!, { kind: "COMPLETED", outputs: {} });
  await world.ended(id, "COMPLETED");
});

test("an agent that comes back without what it ran has lost it at once, and the stage is retried", async () => {
  world = await startWorld();
  const first = await world.agent({ run: () => "hold" });
  const id = await world.submit(commands("one", [{ name: "s", retry: { maxAttempts: 2, backoffSeconds: 0 } }]));
  await world.until(id, (state) => state.counts.RUNNING === 1);
  await first.vanish();
  await world.actors.gateway.close({ tokenId: world.agentToken, agentName: null }, first.session.sessionId);
  await world.agent({ name: "a1" });
  await world.ended(id, "COMPLETED");
  expect(await world.database.db.selectFrom("attempts").select(["number", "status"]).orderBy("number").execute()).toEqual([{ number: 1, status: "LOST" }, { number: 2, status: "COMPLETED" }]);
});

test("an agent that says it drains, or that an operator drains, keeps what it runs and gets nothing new", async () => {
  world = await startWorld({ renewEveryMs: 60_000 });
  const agent = await world.agent({ run: ({ stage }) => (stage === "first" ? "hold" : { kind: "COMPLETED", outputs: {} }) });
  const first = await world.submit(commands("one", [{ name: "first" }]));
  await world.until(first, (state) => state.counts.RUNNING === 1);
  const reasons = (id: PipelineId) => expect.poll(async () => (await world.actors.controlPlane.waitReasons(id, "s")).join(" "), { timeout: 5_000 });
  await agent.renew(true);
  const second = await world.submit(commands("two", [{ name: "s" }]));
  await reasons(second).toMatch(/drain/i);
  await agent.renew(false);
  await world.ended(second, "COMPLETED");
  await world.actors.controlPlane.drainAgent(agent.session.agentId, true);
  const third = await world.submit(commands("three", [{ name: "s" }]));
  await reasons(third).toMatch(/drain/i);
  expect(await world.stage(first, "first")).toMatchObject({ status: "RUNNING" });
  await world.actors.controlPlane.drainAgent(agent.session.agentId, false);
  await world.ended(third, "COMPLETED");
});

test("a second agent under a name that is connected is refused", async () => {
  world = await startWorld();
  await world.agent({ name: "gpu-1" });
  await expect(world.agent({ name: "gpu-1" })).rejects.toMatchObject({ code: "AGENT_NAME_TAKEN" });
});

test("evaluate stages store their scores, and fail clearly without any", async () => {
  world = await startWorld();
  const outputs: Record<string, Outputs> = { good: { scores: { accuracy: 0.75 }, sampleCount: 40 }, bad: { accuracy: 0.5 } };
  await world.agent({ run: ({ stage }) => ({ kind: "COMPLETED", outputs: { ...outputs[stage] } }) });
  const id = await world.submit({ name: "evals", stages: ["good", "bad"].map((name) => ({ name, kind: "evaluate", params: { run: ["x"] } })) });
  await world.ended(id, "FAILED");
  expect(await world.database.db.selectFrom("evaluations").select(["scores", "sample_count"]).execute()).toEqual([{ scores: { accuracy: 0.75 }, sample_count: 40 }]);
  expect(await world.stage(id, "bad")).toMatchObject({ failure: { code: "INVALID_OUTPUTS", message: expect.stringContaining("scores") } });
});

test("a cleanup stage runs on the agent that holds the checkpoints, and rows agree with what it reports", async () => {
  world = await startWorld();
  const answered: string[] = [];
  await world.agent({ name: "elsewhere", capabilities: ["cleanup"] });
  const holder = await world.agent({
    name: "holder", capabilities: ["command", "cleanup"],
    run: async (assignment) => {
      const { attemptId, fence } = assignment;
      if (assignment.kind === "cleanup") {
        for (const { checkpointId, path } of assignment.deletions) {
          answered.push(path);
          await holder.report({ type: "checkpoint-deleted", attemptId, fence, checkpointId, freedBytes: 10, error: null });
        }
        return { kind: "COMPLETED", outputs: {} };
      }
      for (const [step, loss] of [[1, 0.9], [2, 0.3], [3, 0.5], [4, 0.4]] as const) {
        await holder.report(
          { type: "metrics", attemptId, fence, names: ["eval/loss"], points: [[0, step, Date.now(), loss]] },
          { type: "checkpoint", attemptId, fence, step, path: `/attempt/step-${step}`, sizeBytes: 10 },
        );
      }
      return { kind: "COMPLETED", outputs: {} };
    },
  });
  const id = await world.submit({ name: "tidy", stages: [
    { name: "train", kind: "command", params: { run: ["x"] } },
    { name: "tidy", kind: "cleanup", dependsOn: ["train"], params: { stages: ["train"], keepBest: 1, metric: "eval/loss", mode: "min", keepLast: 1 } },
  ] });
  await world.ended(id, "COMPLETED");
  expect(answered.sort()).toEqual(["/attempt/step-1", "/attempt/step-3"]);
  const kept = await world.database.db.selectFrom("checkpoints").select("step").where("deleted_at", "is", null).orderBy("step").execute();
  expect(kept).toEqual([{ step: 2 }, { step: 4 }]);
});

test("what an agent learns of its host after it has connected is placed upon at once", async () => {
  world = await startWorld({ renewEveryMs: 60_000 });
  const agent = await world.agent({ capabilities: ["cleanup"] });
  const id = await world.submit(commands("one", [{ name: "s" }]));
  await expect.poll(async () => (await world.actors.controlPlane.waitReasons(id, "s")).join(" "), { timeout: 5_000 }).toMatch(/cleanup/);
  await agent.renew(false, { capabilities: ["cleanup", "command"], versions: { agent: "test", verl: "0.7.1" } });
  await world.ended(id, "COMPLETED");
  expect(await world.database.db.selectFrom("agents").select("versions").executeTakeFirst()).toEqual({ versions: { agent: "test", verl: "0.7.1" } });
  await agent.renew();
  expect(await world.database.db.selectFrom("agents").select("capabilities").executeTakeFirst()).toEqual({ capabilities: ["cleanup", "command"] });
});
