// How an agent stands, from what is known of it and the time. Unresponsive is not lost: between the two it keeps its work and gets no more (decision 0004).

import type { AgentStanding } from "./placement/facts.js";

export interface AgentLife {
  readonly draining: boolean;
  /** Milliseconds since 1970; null: never seen. */
  readonly lastHeartbeatAt: number | null;
  /** When its session was closed in good order; null while it is open. */
  readonly closedAt: number | null;
}

/** `now` by the clock that wrote the heartbeats. Times in milliseconds. */
export function agentStanding(agent: AgentLife, now: number, limits: { unresponsiveAfterMs: number; leaseTtlMs: number }): AgentStanding {
  if (agent.closedAt !== null || agent.lastHeartbeatAt === null) return "OFFLINE";
  const silent = now - agent.lastHeartbeatAt;
  if (silent > limits.leaseTtlMs) return "LOST";
  if (silent > limits.unresponsiveAfterMs) return "UNRESPONSIVE";
  return agent.draining ? "DRAINING" : "ONLINE";
}
