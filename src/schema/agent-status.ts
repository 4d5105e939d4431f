// How an agent is doing, from its row and the database's clock.

import type { AgentRow } from "./loaders.js";

export const AGENT_STATUSES = ["ONLINE", "UNRESPONSIVE", "LOST", "DRAINING", "OFFLINE"] as const;
export type AgentStatus = (typeof AGENT_STATUSES)[number];

export interface Silence {
  /** In milliseconds. */
  readonly unresponsiveAfterMs: number;
  readonly lostAfterMs: number;
}

/** Silence comes before drain: an agent that drains and no longer answers is shown as silent. */
export function agentStatus(row: Pick<AgentRow, "closed_at" | "last_heartbeat_at" | "draining" | "now">, silence: Silence): AgentStatus {
  if (row.closed_at !== null || row.last_heartbeat_at === null) return "OFFLINE";
  const silentMs = row.now.getTime() - row.last_heartbeat_at.getTime();
  if (silentMs > silence.lostAfterMs) return "LOST";
  if (silentMs > silence.unresponsiveAfterMs) return "UNRESPONSIVE";
  return row.draining ? "DRAINING" : "ONLINE";
}
