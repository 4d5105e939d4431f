// Small worlds for the scheduler's tests: builders for examples, arbitraries for properties, and the changes a shell may report.

import fc from "fast-check";
import type { AgentId, AttemptId, PipelineId, StageId } from "../../../src/domain/ids.js";
import type { AgentGpu, AgentView, LiveAssignment, WaitingStage } from "../../../src/domain/placement/facts.js";
import type { Resources } from "../../../src/domain/pipeline/spec.js";

export const agentId = (name: string) => `agt_${name}` as AgentId;
export const stageId = (name: string | number) => `stg_${name}` as StageId;
export const pipelineId = (name: string | number) => `pip_${name}` as PipelineId;
export const attemptId = (name: string | number) => `att_${name}` as AttemptId;

export function waiting(name: string | number, over: Partial<Omit<WaitingStage, "resources">> & { resources?: Partial<Resources> } = {}): WaitingStage {
  return {
    pipelineId: pipelineId("p"), stageId: stageId(name), stage: `s${name}`, queue: "training", capability: "train", priority: 0, queuedAt: 0, notBefore: null, paused: false, pinnedTo: null,
    ...over,
    resources: { gpus: 0, nodes: 1, ...over.resources },
  };
}

export function gpus(count: number, over: Partial<AgentGpu> = {}): AgentGpu[] {
  return Array.from({ length: count }, (_, index) => ({ index, model: "NVIDIA H100 80GB HBM3", memoryTotalMiB: 80_000, memoryUsedMiB: 0, strangers: 0, ...over }));
}

export function agent(name: string, over: Partial<AgentView> = {}): AgentView {
  return {
    id: agentId(name), name, status: "ONLINE", lastSeenAt: 0, pools: [{ queues: ["training"], concurrency: 1 }, { queues: ["default", "evaluation"], concurrency: 4 }],
    capabilities: ["train", "command"], labels: {}, gpus: [],
    ...over,
  };
}

export function assignment(attempt: string | number, stage: WaitingStage, agentName: string, indices: readonly number[] = []): LiveAssignment {
  return { attemptId: attemptId(attempt), pipelineId: stage.pipelineId, stageId: stage.stageId, stage: stage.stage, agentId: agentId(agentName), queue: stage.queue, gpus: indices };
}

// ── arbitraries: few names and small numbers, so that needs and capacity often meet ─────────────────

const AGENT_NAMES = ["a", "b", "c", "d"];
/** Stage ids run from 0 to one less. */
export const STAGES = 24;
const sometimes = <T, U>(arbitrary: fc.Arbitrary<T>, otherwise: U): fc.Arbitrary<T | U> => fc.oneof({ weight: 1, arbitrary }, { weight: 6, arbitrary: fc.constant(otherwise) });
const queueName = fc.constantFrom("training", "default", "evaluation");

export const anyStage: fc.Arbitrary<WaitingStage> = fc.record({
  id: fc.nat(STAGES - 1), pipeline: fc.integer({ min: 0, max: 2 }), queue: queueName, capability: fc.constantFrom("command", "command", "command", "train"),
  priority: fc.integer({ min: 0, max: 2 }), queuedAt: fc.integer({ min: 0, max: 60 }),
  notBefore: sometimes(fc.integer({ min: 0, max: 300 }), null), paused: sometimes(fc.constant(true), false),
  pinnedTo: sometimes(fc.uniqueArray(fc.constantFrom(...AGENT_NAMES, ...AGENT_NAMES, "unknown"), { maxLength: 3 }), null),
  gpus: fc.constantFrom(0, 0, 1, 1, 2, 3), nodes: fc.constantFrom(1, 1, 1, 2, 3), gpuModel: sometimes(fc.constantFrom("h100", "A100"), undefined),
  gpuMemoryMiB: sometimes(fc.constantFrom(10, 50), undefined), zone: sometimes(fc.constantFrom("eu", 1), undefined),
}).map((any) => waiting(any.id, {
  pipelineId: pipelineId(any.pipeline), queue: any.queue, capability: any.capability, priority: any.priority, queuedAt: any.queuedAt, notBefore: any.notBefore,
  paused: any.paused, pinnedTo: any.pinnedTo?.map(agentId) ?? null,
  resources: {
    gpus: any.gpus, nodes: any.nodes,
    ...(any.gpuModel === undefined ? {} : { gpuModel: any.gpuModel }), ...(any.gpuMemoryMiB === undefined ? {} : { gpuMemoryMiB: any.gpuMemoryMiB }), ...(any.zone === undefined ? {} : { labels: { zone: any.zone } }),
  },
}));

const anyGpu = fc.record({
  model: fc.constantFrom("NVIDIA H100", "NVIDIA H100", "NVIDIA A100"), memoryTotalMiB: fc.constantFrom(40, 80), memoryUsedMiB: fc.constantFrom(0, 0, null, 35), strangers: sometimes(fc.constant(1), 0),
});

const anyStatus: fc.Arbitrary<AgentView["status"]> = sometimes(fc.constantFrom<AgentView["status"][]>("DRAINING", "UNRESPONSIVE"), "ONLINE" as const);

export const anyAgent: fc.Arbitrary<AgentView> = fc.record({
  name: fc.constantFrom(...AGENT_NAMES),
  status: anyStatus,
  pools: fc.constantFrom<AgentView["pools"][]>(
    [{ queues: ["training"], concurrency: 1 }, { queues: ["default", "evaluation"], concurrency: 2 }], [{ queues: ["training", "default"], concurrency: 2 }],
    [{ queues: ["training"], concurrency: 3 }], [{ queues: ["default"], concurrency: 1 }, { queues: ["evaluation", "training"], concurrency: 2 }],
  ),
  capabilities: sometimes(fc.constantFrom(["command"], ["train"]), ["train", "command"]),
  labels: fc.constantFrom<AgentView["labels"][]>({}, { zone: "eu" }, { zone: "1" }),
  gpus: fc.array(anyGpu, { maxLength: 4, size: "max" }),
  lastSeenAt: fc.integer({ min: 0, max: 100 }),
}).map(({ name, gpus: list, ...rest }) => ({ ...rest, id: agentId(name), name, gpus: list.map((gpu, index) => ({ ...gpu, index })) }));

export type Change =
  | { readonly type: "add"; readonly stage: WaitingStage }
  | { readonly type: "remove"; readonly stageId: StageId }
  | { readonly type: "pause"; readonly pipelineId: PipelineId; readonly paused: boolean }
  | { readonly type: "agent"; readonly view: AgentView }
  /** The agent as it was, but for its status and what its GPUs are used for. */
  | { readonly type: "stir"; readonly agentId: AgentId; readonly status: AgentView["status"]; readonly memoryUsedMiB: number | null; readonly strangers: number }
  | { readonly type: "forget"; readonly agentId: AgentId }
  /** Of placements and assignments there are, the nth (modulo). */
  | { readonly type: "confirm" | "withdraw" | "release" | "releaseMember" | "occupyPlaced"; readonly nth: number }
  | { readonly type: "occupy"; readonly stage: WaitingStage; readonly agent: string; readonly gpus: readonly number[] }
  | { readonly type: "pass"; readonly after: number };

const anyChange: fc.Arbitrary<Change> = fc.oneof(
  { weight: 12, arbitrary: fc.record({ type: fc.constant("add" as const), stage: anyStage }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant("remove" as const), stageId: fc.nat(STAGES - 1).map(stageId) }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant("pause" as const), pipelineId: fc.integer({ min: 0, max: 2 }).map(pipelineId), paused: fc.boolean() }) },
  { weight: 3, arbitrary: anyAgent.map((view) => ({ type: "agent" as const, view })) },
  { weight: 3, arbitrary: fc.record({ type: fc.constant("stir" as const), agentId: fc.constantFrom(...AGENT_NAMES).map(agentId), status: anyStatus, memoryUsedMiB: fc.constantFrom(0, null, 35), strangers: sometimes(fc.constant(1), 0) }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant("forget" as const), agentId: fc.constantFrom(...AGENT_NAMES).map(agentId) }) },
  { weight: 12, arbitrary: fc.record({ type: fc.constantFrom("confirm" as const, "confirm" as const, "withdraw" as const, "release" as const, "release" as const, "releaseMember" as const, "occupyPlaced" as const), nth: fc.nat(20) }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant("occupy" as const), stage: anyStage, agent: fc.constantFrom(...AGENT_NAMES), gpus: fc.uniqueArray(fc.nat(3), { maxLength: 2 }) }) },
  { weight: 6, arbitrary: fc.record({ type: fc.constant("pass" as const), after: fc.integer({ min: 0, max: 30 }) }) },
);

/** A fleet of up to four agents, then whatever happens, and a pass at the end. */
export const anyHistory: fc.Arbitrary<readonly Change[]> = fc.record({
  agents: fc.array(anyAgent, { minLength: 3, maxLength: 6, size: "max" }),
  changes: fc.array(anyChange, { maxLength: 80, size: "max" }),
}).map(({ agents, changes }) => [...agents.map((view) => ({ type: "agent" as const, view })), ...changes, { type: "pass" as const, after: 5 }]);
