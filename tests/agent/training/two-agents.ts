// Two agents on this machine, each with its own control plane's side, and one folder that both see.

import { mkdtempSync } from "node:fs";
import { join } from "node:path";
import { inject } from "vitest";
import type { Assignment } from "../../../src/protocol/messages.js";
import { startTrainingWorld, trainAssignment, type TrainingWorld } from "./training-world.js";

export const TEST_PORTS = { first: 31_000, last: 31_999 };

export function sharedFolder(): string {
  return mkdtempSync(join(inject("runFolder"), "shared-"));
}

export async function startTwo(settings: Record<string, string>): Promise<readonly [TrainingWorld, TrainingWorld]> {
  const all = { TRAINYARD_AGENT_PORTS: `${TEST_PORTS.first}-${TEST_PORTS.last}`, ...settings };
  return [await startTrainingWorld({ gpus: true, settings: all }), await startTrainingWorld({ gpus: true, settings: all })];
}

/** The assignments of both members. */
export function twoMembers(params: Record<string, unknown>, more: Partial<Omit<Assignment, "params">> = {}): readonly [Assignment, Assignment] {
  const head = trainAssignment(params, { gpus: [0], members: [0, 1].map((rank) => ({ agentName: `agent-${rank}`, address: "127.0.0.1", gpus: [0] })), ...more });
  return [head, { ...head, rank: 1 }];
}
