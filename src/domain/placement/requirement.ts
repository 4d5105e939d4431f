// What a stage asks of its agents. Stages that ask the same are one class to the scheduler: it judges each agent once for all of them.

import type { AgentId } from "../ids.js";
import type { AgentView, WaitingStage } from "./facts.js";

export interface Requirement {
  readonly queue: string;
  readonly capability: string;
  /** Different agents at once. */
  readonly nodes: number;
  /** On each agent. */
  readonly gpus: number;
  /** Lower case; null: any. */
  readonly gpuModel: string | null;
  readonly gpuMemoryMiB: number | null;
  /** Name and value as text, by name: an agent's labels come from its environment, where 1 and "1" are the same. */
  readonly labels: readonly (readonly [string, string])[];
  /** Each agent once; never empty. */
  readonly pinnedTo: readonly AgentId[] | null;
}

export function requirementOf(stage: WaitingStage): Requirement {
  const { gpus, nodes, gpuModel, gpuMemoryMiB, labels } = stage.resources;
  const pinnedTo = stage.pinnedTo === null || stage.pinnedTo.length === 0 ? null : [...new Set(stage.pinnedTo)];
  return {
    queue: stage.queue,
    capability: stage.capability,
    nodes: pinnedTo?.length ?? nodes,
    gpus,
    gpuModel: gpus > 0 ? (gpuModel?.toLowerCase() ?? null) : null,
    gpuMemoryMiB: gpus > 0 ? (gpuMemoryMiB ?? null) : null,
    labels: labels === undefined ? [] : Object.entries(labels).map(([name, value]) => [name, String(value)] as const).sort(([a], [b]) => (a < b ? -1 : 1)),
    pinnedTo,
  };
}

/** Equal for equal requirements and only then. */
export function signatureOf(requirement: Requirement): string {
  return JSON.stringify(Object.values(requirement));
}

/** Whether the stage needs several things at once (GPUs beside a slot, several agents): then smaller stages can keep it waiting, see reservation.ts. */
export function needsSeveralThings(requirement: Requirement): boolean {
  return requirement.gpus > 0 || requirement.nodes > 1;
}

/** Why an agent cannot run such stages however idle it is, GPUs aside. */
export type Mismatch =
  | { readonly kind: "QUEUE" }
  | { readonly kind: "CAPABILITY" }
  | { readonly kind: "LABEL"; readonly name: string; readonly needed: string; readonly found: string | null };

export function mismatchOf(requirement: Requirement, agent: AgentView): Mismatch | null {
  if (!agent.pools.some((pool) => pool.queues.includes(requirement.queue))) return { kind: "QUEUE" };
  if (!agent.capabilities.includes(requirement.capability)) return { kind: "CAPABILITY" };
  for (const [name, needed] of requirement.labels) {
    const value = Object.hasOwn(agent.labels, name) ? agent.labels[name] : undefined;
    const found = value === undefined ? null : String(value);
    if (found !== needed) return { kind: "LABEL", name, needed, found };
  }
  return null;
}
