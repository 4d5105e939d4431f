// How an agent is doing, from its row and the database's clock.

import { agentStanding } from "../domain/agent-standing.js";
import { AGENT_STANDINGS, type AgentStanding } from "../domain/placement/facts.js";
import type { AgentRow } from "./loaders.js";

export const AGENT_STATUSES = AGENT_STANDINGS;
export type AgentStatus = AgentStanding;

export interface Silence {
  /** In milliseconds. */
  readonly unresponsiveAfterMs: number;
  readonly leaseTtlMs: number;
}

export function agentStatus(row: Pick<AgentRow, "closed_at" | "last_heartbeat_at" | "draining" | "stopping" | "now">, silence: Silence): AgentStatus {
  return agentStanding({ draining: row.draining || row.stopping, lastHeartbeatAt: row.last_heartbeat_at?.getTime() ?? null, closedAt: row.closed_at?.getTime() ?? null }, row.now.getTime(), silence);
}
