// Every Redis name we use, in one place. Nothing behind them is a fact: losing them all costs seconds.

import type { AgentId } from "../domain/ids.js";

/** Consumer group through which an agent reads its orders. */
export const AGENT_GROUP = "agent";
/** Consumer group through which the control plane reads reports. */
export const CONTROL_PLANE_GROUP = "control-plane";
/** The only consumer of each group: whoever takes over finds what its predecessor read and did not acknowledge. */
export const CONSUMER = "reader";
/** The one field of a stream entry; it holds JSON. */
export const BATCH_FIELD = "batch";

export interface BusKeys {
  /** Stream: control plane → agent. */
  orders(agentId: AgentId): string;
  /** Stream: agent → control plane. */
  reports(agentId: AgentId): string;
  /** Key pattern of everything that belongs to one agent, for its ACL user. */
  agentPattern(agentId: AgentId): string;
}

/** The names under one prefix (TRAINYARD_REDIS_PREFIX). */
export function busKeys(prefix: string): BusKeys {
  return {
    orders: (agentId) => `${prefix}:agent:${agentId}:orders`,
    reports: (agentId) => `${prefix}:agent:${agentId}:reports`,
    agentPattern: (agentId) => `${prefix}:agent:${agentId}:*`,
  };
}
