// The argv of a member of a run over a Ray cluster of its own (ray-member.program.ts), and its orders.

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Assignment } from "../../protocol/messages.js";
import { programArguments } from "../../worker-program.js";
import type { Meeting } from "./meeting.js";
import { pythonProgram } from "./python-programs.js";
import type { RayOrders } from "./ray-orders.js";

/** For the others to come and for their GPUs to be told, in milliseconds. */
const PATIENCE_MS = 300_000;

export function rayMember({ folder, address, port }: Meeting, assignment: Assignment, member: Pick<RayOrders, "python" | "trainer" | "cpus" | "temporaryFolder" | "cluster">, attemptRoot: string): readonly string[] {
  const orders: RayOrders = {
    ...member, attemptId: assignment.attemptId, rank: assignment.rank, nodes: assignment.members.length, gpus: assignment.gpus.length, address, port,
    gpusInAll: assignment.members.reduce((sum, { gpus }) => sum + gpus.length, 0), awaitProgram: pythonProgram("await_cluster"), endFile: join(folder, "ended.json"), patienceMs: PATIENCE_MS,
  };
  const file = join(attemptRoot, "ray.json");
  writeFileSync(file, JSON.stringify(orders), { mode: 0o600 });
  return [process.execPath, ...programArguments("agent/training/ray-member.program"), file];
}
