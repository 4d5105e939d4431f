// What the scheduler is told and what it answers. The shell turns rows and reports into these; nothing here knows of either.

import type { AgentId, AttemptId, PipelineId, StageId } from "../ids.js";
import type { Resources } from "../pipeline/spec.js";

/** A QUEUED stage without a live attempt. */
export interface WaitingStage {
  readonly pipelineId: PipelineId;
  readonly stageId: StageId;
  /** The stage's name. */
  readonly stage: string;
  readonly queue: string;
  /** What the agent must be able to run, see capabilityOf. */
  readonly capability: string;
  readonly priority: number;
  /** Milliseconds since 1970. */
  readonly queuedAt: number;
  /** A retry waits until then; milliseconds since 1970. */
  readonly notBefore: number | null;
  /** Whether its pipeline is paused. */
  readonly paused: boolean;
  readonly resources: Resources;
  /** Exactly these agents, all at once, rank by position; then `resources.nodes` has no say. Null or empty: any agents. */
  readonly pinnedTo: readonly AgentId[] | null;
}

export const AGENT_STANDINGS = ["ONLINE", "UNRESPONSIVE", "LOST", "DRAINING", "OFFLINE"] as const;
/** Only ONLINE agents are given work. */
export type AgentStanding = (typeof AGENT_STANDINGS)[number];

export interface AgentGpu {
  readonly index: number;
  readonly model: string;
  readonly memoryTotalMiB: number;
  /** Null, not reported: taken as 0. */
  readonly memoryUsedMiB: number | null;
  /** Programs on the GPU that no attempt started; with any, the GPU is not given out. */
  readonly strangers: number;
}

/** Queues that share slots: `concurrency` assignments at once over all of `queues`. */
export interface AgentPool {
  readonly queues: readonly string[];
  readonly concurrency: number;
}

export interface AgentView {
  readonly id: AgentId;
  readonly name: string;
  readonly status: AgentStanding;
  /** When the agent was last heard of, milliseconds since 1970; only shown. */
  readonly lastSeenAt: number | null;
  readonly pools: readonly AgentPool[];
  readonly capabilities: readonly string[];
  readonly labels: Readonly<Record<string, string | number | boolean>>;
  readonly gpus: readonly AgentGpu[];
}

/** One agent's part of a live attempt: it takes a slot of the pool that serves `queue`, and the GPUs. */
export interface LiveAssignment {
  readonly attemptId: AttemptId;
  readonly pipelineId: PipelineId;
  readonly stageId: StageId;
  /** The stage's name. */
  readonly stage: string;
  readonly agentId: AgentId;
  readonly queue: string;
  /** GPU indices on that agent. */
  readonly gpus: readonly number[];
}

export interface PlacedMember {
  readonly agentId: AgentId;
  readonly agentName: string;
  /** GPU indices on that agent, ascending. */
  readonly gpus: readonly number[];
  readonly rank: number;
}

/** A decision: this stage, now, on these agents. */
export interface Placement {
  readonly pipelineId: PipelineId;
  readonly stageId: StageId;
  readonly stage: string;
  /** By rank; different agents. */
  readonly members: readonly PlacedMember[];
}

/** Whether `a` goes before `b`: by priority, then age, then id. A total order over different stages. */
export function goesBefore(a: WaitingStage, b: WaitingStage): boolean {
  if (a.priority !== b.priority) return a.priority > b.priority;
  if (a.queuedAt !== b.queuedAt) return a.queuedAt < b.queuedAt;
  return a.stageId < b.stageId;
}
