// The argv of a member of a run over a Ray cluster of its own (src/verl/python/ray_member.py), and its orders.

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Assignment } from "../../protocol/messages.js";
import type { RayOrders } from "../../verl/ray-orders.js";
import type { AttemptDirectory } from "../attempt/attempt-directory.js";
import type { ProgramPlan } from "../attempt/program-role.js";
import type { Place } from "../place/place.js";
import type { Meeting } from "./meeting.js";
import { pythonProgram, withOurPrograms } from "./python-programs.js";

/** For the others to come and for their GPUs to be told, in milliseconds. */
const PATIENCE_MS = 300_000;

/** Rejects with the signal's reason. */
export async function rayMember({ folder, address, port }: Meeting & { readonly port: number }, assignment: Assignment, member: Pick<RayOrders, "python" | "trainer" | "cpus" | "temporaryFolder" | "cluster">,
  directory: AttemptDirectory, where: { readonly place: Place; readonly signal: AbortSignal; say(text: string): void }): Promise<Required<Pick<ProgramPlan, "argv" | "reads">>> {
  const { place } = where;
  const [program, awaitProgram] = (await withOurPrograms(place, [pythonProgram("ray_member"), pythonProgram("await_cluster")], where)) as [string, string];
  const orders: RayOrders = {
    ...member, trainer: member.trainer.map((word) => place.there(word)), attemptId: assignment.attemptId, rank: assignment.rank, nodes: assignment.members.length, gpus: assignment.gpus.length, address, port,
    gpusInAll: assignment.members.reduce((sum, { gpus }) => sum + gpus.length, 0), awaitProgram, endFile: join(folder, "ended.json"), patienceMs: PATIENCE_MS,
  };
  const file = join(directory.root, "ray.json");
  writeFileSync(file, JSON.stringify(orders), { mode: 0o600 });
  return { argv: [...member.python, program, file], reads: [file] };
}
