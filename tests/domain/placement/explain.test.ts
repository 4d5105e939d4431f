import { expect, test } from "vitest";
import { explain, MAX_REASONS } from "../../../src/domain/placement/explain.js";
import type { AgentView, WaitingStage } from "../../../src/domain/placement/facts.js";
import { Fleet } from "../../../src/domain/placement/fleet.js";
import { place } from "../../../src/domain/placement/place.js";
import { agent, agentId, assignment, gpus, stageId, waiting } from "./worlds.js";

function reasons(stage: WaitingStage, agents: AgentView[], prepare: (fleet: Fleet) => void = () => {}, now = 60_000): string[] {
  const fleet = new Fleet();
  for (const view of agents) fleet.upsertAgent(view);
  prepare(fleet);
  fleet.addWaiting(stage);
  place(fleet, now);
  return explain(fleet, stage.stageId, now);
}

test("a busy slot names the stage that has it", () => {
  expect(reasons(waiting(1), [agent("gpu-1")], (fleet) => fleet.occupy(assignment(9, waiting("ft"), "gpu-1")))).toEqual(["Queue \"training\" on agent gpu-1: 1 of 1 slots busy with stage \"sft\" of pipeline pip_p."]);
});

test("missing GPUs are counted, with where they are", () => {
  const list = gpus(8).map((gpu) => ({ ...gpu, strangers: gpu.index === 7 ? 1 : 0 }));
  const hold = (fleet: Fleet) => fleet.occupy(assignment(9, waiting("e", { queue: "evaluation" }), "gpu-2", [0, 1, 2, 3, 4]));
  expect(reasons(waiting(1, { resources: { gpus: 4 } }), [agent("gpu-2", { gpus: list })], hold)).toEqual(["Agent gpu-2: 2 of 8 GPUs free, 4 needed (5 held by stages, 1 in use by programs that no stage started)."]);
  expect(reasons(waiting(1, { resources: { gpus: 1 } }), [agent("cpu")])).toEqual(["Agent cpu: no GPUs, 1 needed."]);
  expect(reasons(waiting(1, { resources: { gpus: 1, gpuModel: "B200" } }), [agent("gpu-2", { gpus: list })])).toEqual(["Agent gpu-2: 0 of 8 GPUs of model \"b200\", 1 needed."]);
  expect(reasons(waiting(1, { resources: { gpus: 1, gpuMemoryMiB: 70_000 } }), [agent("gpu-2", { gpus: gpus(1, { memoryUsedMiB: 20_000 }) })])).toEqual(["Agent gpu-2: 0 of 1 GPU free, 1 needed (1 with less than 70000 MiB free)."]);
});

test("agents that are away or draining are said to be", () => {
  const away: AgentView[] = [agent("gpu-3", { status: "UNRESPONSIVE", lastSeenAt: 8_000 }), agent("gpu-4", { status: "DRAINING" }), agent("gpu-5", { status: "OFFLINE", lastSeenAt: null })];
  expect(reasons(waiting(1), away)).toEqual(["Agent gpu-3 is unresponsive, last heard of 52 s ago.", "Agent gpu-4 is draining and takes no new work.", "Agent gpu-5 is offline."]);
});

test("what no agent offers is said once, with the cure", () => {
  expect(reasons(waiting(1), [])).toEqual(["No agent is known. Start one with: trainyard agent"]);
  expect(reasons(waiting(1, { queue: "nightly" }), [agent("a")])).toEqual(["No agent serves queue \"nightly\". Start one with TRAINYARD_AGENT_POOLS=\"nightly=1\", or add the queue to an agent's pools."]);
  expect(reasons(waiting(1, { capability: "merge" }), [agent("a")])).toEqual(["No agent can run \"merge\" stages: those that serve queue \"training\" offer command, train."]);
  expect(reasons(waiting(1, { resources: { labels: { zone: "eu" } } }), [agent("a", { labels: { zone: "us" } })])).toEqual(["Agent a: label zone is \"us\", \"eu\" needed."]);
  expect(reasons(waiting(1, { pinnedTo: [agentId("gone")] }), [agent("a")])).toEqual(["Agent agt_gone, which alone can run this, is not known here. Start it again."]);
});

test("a stage over several agents says how many it has", () => {
  const two = [agent("a", { gpus: gpus(8) }), agent("b", { gpus: gpus(8) })];
  expect(reasons(waiting(1, { resources: { gpus: 8, nodes: 4 } }), two)).toEqual(["Needs 4 agents at once; only 2 agents could take a part even when idle."]);
  expect(reasons(waiting(1, { resources: { gpus: 8, nodes: 2 } }), two, (fleet) => fleet.occupy(assignment(9, waiting("x"), "a", [])))).toEqual([
    "Needs 2 agents at once; 1 can take a part now.", "Queue \"training\" on agent a: 1 of 1 slots busy with stage \"sx\" of pipeline pip_p.",
  ]);
});

test("a pause and a back-off are the reasons while they last, beside what they cannot cure", () => {
  expect(reasons(waiting(1, { notBefore: 72_000 }), [agent("a")])).toEqual(["Waits 12 s more before its next try."]);
  expect(reasons(waiting(1, { paused: true }), [agent("a")], (fleet) => fleet.occupy(assignment(9, waiting("x"), "a")))).toEqual(["The pipeline is paused."]);
  expect(reasons(waiting(1, { paused: true, queue: "nightly" }), [agent("a")])).toHaveLength(2);
});

test("the stages ahead are counted", () => {
  const ahead = (fleet: Fleet) => {
    fleet.occupy(assignment(9, waiting("x"), "a"));
    for (const n of [2, 3, 4]) fleet.addWaiting(waiting(n, { priority: n - 3 }));
  };
  expect(reasons(waiting(1, { queuedAt: 5 }), [agent("a")], ahead).at(-1)).toBe("Behind 2 stages of higher priority or age in queue \"training\".");
});

test("hundreds of agents share their reasons", () => {
  const agents = Array.from({ length: 300 }, (_, n) => agent(`n${String(n).padStart(3, "0")}`, n < 98 ? {} : n < 99 ? { status: "DRAINING" } : { gpus: gpus(8) }));
  const busy = (fleet: Fleet) => agents.forEach((view, n) => { if (n >= 99) fleet.occupy(assignment(n, waiting(`x${n}`), view.name)); });
  expect(reasons(waiting(1, { resources: { gpus: 1 } }), agents, busy)).toEqual([
    "Agent n099 and 200 more agents: 1 of 1 slots busy in queue \"training\".", "Agent n098 is draining and takes no new work.", "Agent n000 and 97 more agents: no GPUs, 1 needed.",
  ]);
});

test("however different the agents are, the reasons fit a page", () => {
  const agents = Array.from({ length: 200 }, (_, n) => agent(`n${String(n).padStart(3, "0")}`, {
    status: n % 5 === 0 ? "UNRESPONSIVE" : "ONLINE", lastSeenAt: n, labels: n % 5 === 1 ? { zone: `z${n}` } : { zone: "eu" }, gpus: gpus(n % 9), capabilities: n % 5 === 2 ? ["command"] : ["train"], pools: [{ queues: ["training"], concurrency: 1 + (n % 6) }],
  }));
  const busy = (fleet: Fleet) => agents.forEach((view, n) => { for (let i = 0; i <= n % 4; i++) fleet.occupy(assignment(`${n}-${i}`, waiting(`x${n}-${i}`), view.name, [i])); });
  const told = reasons(waiting(1, { resources: { gpus: 8, labels: { zone: "eu" } } }), agents, busy);
  expect(told.length).toBeLessThanOrEqual(MAX_REASONS);
  expect(told.filter((one) => /^And \d+ more agents: /.test(one)).length).toBeGreaterThan(1);
});

test("before the pass that places it, a stage is said to be next", () => {
  const fleet = new Fleet();
  fleet.upsertAgent(agent("a"));
  fleet.addWaiting(waiting(1));
  expect(explain(fleet, stageId(1), 0)).toEqual(["Nothing stands in its way: it is placed with the next pass."]);
  place(fleet, 0);
  expect(explain(fleet, stageId(1), 0)).toEqual([]);
});
