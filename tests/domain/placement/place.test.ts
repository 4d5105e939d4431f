import { expect, test } from "vitest";
import { Fleet } from "../../../src/domain/placement/fleet.js";
import { place } from "../../../src/domain/placement/place.js";
import { agent, agentId, assignment, attemptId, gpus, pipelineId, stageId, waiting } from "./worlds.js";

function fleetOf(...views: Parameters<Fleet["upsertAgent"]>[0][]): Fleet {
  const fleet = new Fleet();
  for (const view of views) fleet.upsertAgent(view);
  return fleet;
}

/** stage → agents (with GPUs). */
function placed(fleet: Fleet, now = 0): string[] {
  return place(fleet, now).map(({ stage, members }) => `${stage} → ${members.map((member) => `${member.agentName}[${member.gpus.join()}]`).join(" ")}`);
}

test("higher priority goes first, then age, then id", () => {
  const fleet = fleetOf(agent("one", { pools: [{ queues: ["training"], concurrency: 9 }] }));
  for (const stage of [waiting("d", { queuedAt: 5 }), waiting("c", { queuedAt: 5 }), waiting("b", { queuedAt: 9, priority: 1 }), waiting("a", { queuedAt: 7 })]) fleet.addWaiting(stage);
  expect(place(fleet, 10).map((placement) => placement.stage)).toEqual(["sb", "sc", "sd", "sa"]);
});

test("short work does not wait behind training", () => {
  const fleet = fleetOf(agent("one"));
  for (const n of [1, 2, 3]) fleet.addWaiting(waiting(`t${n}`, { priority: 9 }));
  for (const n of [1, 2, 3, 4, 5]) fleet.addWaiting(waiting(`d${n}`, { queue: "default" }));
  expect(placed(fleet)).toEqual(["st1 → one[]", "sd1 → one[]", "sd2 → one[]", "sd3 → one[]", "sd4 → one[]"]);
});

test("the slots of a pool are shared by its queues", () => {
  const fleet = fleetOf(agent("one", { pools: [{ queues: ["default", "evaluation"], concurrency: 1 }] }));
  fleet.addWaiting(waiting(1, { queue: "default" }));
  fleet.addWaiting(waiting(2, { queue: "evaluation" }));
  expect(placed(fleet)).toEqual(["s1 → one[]"]);
});

test("a GPU stage takes the agent with the fewest free GPUs that suffice", () => {
  const fleet = fleetOf(agent("big", { gpus: gpus(8) }), agent("small", { gpus: gpus(2) }), agent("tiny", { gpus: gpus(1) }));
  fleet.addWaiting(waiting(1, { resources: { gpus: 2 } }));
  expect(placed(fleet)).toEqual(["s1 → small[0,1]"]);
});

test("equal agents share the load, by name when it is equal", () => {
  const fleet = fleetOf(agent("b"), agent("a"));
  for (const n of [1, 2, 3, 4]) fleet.addWaiting(waiting(n, { queue: "default" }));
  expect(placed(fleet)).toEqual(["s1 → a[]", "s2 → b[]", "s3 → a[]", "s4 → b[]"]);
});

test("work without GPUs goes to hosts without GPUs while they have slots", () => {
  const fleet = fleetOf(agent("a-gpu", { gpus: gpus(8) }), agent("cpu", { pools: [{ queues: ["default"], concurrency: 1 }] }));
  for (const n of [1, 2]) fleet.addWaiting(waiting(n, { queue: "default" }));
  expect(placed(fleet)).toEqual(["s1 → cpu[]", "s2 → a-gpu[]"]);
});

test("GPUs that are held, used by strangers, of another model or short of memory are not given out, and small ones go first", () => {
  const list = [
    { model: "NVIDIA A100" }, { strangers: 1 }, { memoryUsedMiB: 60_000 }, {}, { memoryTotalMiB: 141_000 }, {}, {},
  ].map((over, index) => ({ ...gpus(1)[0]!, ...over, index }));
  const fleet = fleetOf(agent("one", { gpus: list, pools: [{ queues: ["training"], concurrency: 9 }] }));
  fleet.occupy(assignment("x", waiting("x"), "one", [3]));
  fleet.addWaiting(waiting(1, { resources: { gpus: 2, gpuModel: "h100", gpuMemoryMiB: 40_000 } }));
  expect(placed(fleet)).toEqual(["s1 → one[5,6]"]);
});

test("several agents are taken at once or not at all", () => {
  const fleet = fleetOf(agent("a", { gpus: gpus(8) }), agent("b", { gpus: gpus(8) }), agent("c", { gpus: gpus(4) }));
  fleet.addWaiting(waiting(1, { resources: { gpus: 8, nodes: 3 } }));
  fleet.addWaiting(waiting(2, { queuedAt: 1, resources: { gpus: 8, nodes: 2 } }));
  expect(placed(fleet)).toEqual(["s2 → a[0,1,2,3,4,5,6,7] b[0,1,2,3,4,5,6,7]"]);
});

test("a pinned stage waits for exactly its agents and keeps their order", () => {
  const fleet = fleetOf(agent("a"), agent("b"), agent("c"));
  fleet.addWaiting(waiting(1, { pinnedTo: [agentId("c"), agentId("a")] }));
  fleet.occupy(assignment("x", waiting("x"), "a"));
  expect(placed(fleet)).toEqual([]);
  fleet.release(attemptId("x"));
  expect(placed(fleet)).toEqual(["s1 → c[] a[]"]);
});

test("labels are compared as text: the agent's come from its environment", () => {
  const fleet = fleetOf(agent("a", { labels: { tier: "2" } }), agent("b", { labels: { tier: "1", zone: "eu" } }));
  fleet.addWaiting(waiting(1, { resources: { labels: { tier: 1 } } }));
  expect(placed(fleet)).toEqual(["s1 → b[]"]);
});

test("paused and backing-off stages wait; the fleet knows when the next back-off ends", () => {
  const fleet = fleetOf(agent("one", { pools: [{ queues: ["training"], concurrency: 9 }] }));
  fleet.addWaiting(waiting(1, { notBefore: 500 }));
  fleet.addWaiting(waiting(2, { paused: true, pipelineId: pipelineId("q") }));
  expect(placed(fleet, 499)).toEqual([]);
  expect(fleet.nextDueAt()).toBe(500);
  expect(placed(fleet, 500)).toEqual(["s1 → one[]"]);
  expect(fleet.nextDueAt()).toBeNull();
  fleet.setPaused(pipelineId("q"), false);
  expect(placed(fleet, 500)).toEqual(["s2 → one[]"]);
});

test("agents that are not online get nothing; what they run still counts when they return", () => {
  const fleet = fleetOf(agent("a", { status: "DRAINING" }), agent("b", { status: "UNRESPONSIVE" }), agent("c"));
  const running = waiting("x");
  fleet.occupy(assignment("x", running, "c"));
  fleet.removeAgent(agentId("c"));
  fleet.addWaiting(waiting(1));
  expect(placed(fleet)).toEqual([]);
  fleet.upsertAgent(agent("c"));
  expect(placed(fleet)).toEqual([]);
  fleet.release(attemptId("x"), agentId("c"));
  expect(placed(fleet)).toEqual(["s1 → c[]"]);
});

test("a placement is occupied until it is withdrawn, or its attempt is named and ends; a stale end frees nothing", () => {
  const fleet = fleetOf(agent("one"));
  const first = waiting(1), second = waiting(2, { queuedAt: 1 });
  fleet.addWaiting(first);
  fleet.addWaiting(second);
  expect(placed(fleet)).toEqual(["s1 → one[]"]);
  expect(placed(fleet)).toEqual([]);
  fleet.withdraw(first.stageId);
  fleet.addWaiting(first);
  expect(placed(fleet)).toEqual(["s1 → one[]"]);
  fleet.confirm(first.stageId, attemptId(7));
  fleet.occupy(assignment(7, first, "one"));
  fleet.withdraw(first.stageId);
  fleet.release(attemptId(6));
  expect(placed(fleet)).toEqual([]);
  fleet.release(attemptId(7));
  fleet.release(attemptId(7));
  expect(placed(fleet)).toEqual(["s2 → one[]"]);
  expect(fleet.isWaiting(stageId(2))).toBe(false);
});

test("more assigned than an agent has slots or GPUs is counted as it is", () => {
  const fleet = fleetOf(agent("one", { gpus: gpus(1) }));
  for (const n of [1, 2]) fleet.occupy(assignment(n, waiting(`x${n}`), "one", [0]));
  fleet.addWaiting(waiting(1, { resources: { gpus: 1 } }));
  fleet.release(attemptId(1));
  expect(placed(fleet)).toEqual([]);
  fleet.release(attemptId(2));
  expect(placed(fleet)).toEqual(["s1 → one[0]"]);
});
