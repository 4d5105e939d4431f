// What a cleanup stage deletes, agent by agent. Rows follow files: nothing is marked here, the agents' reports do that.
//   P1. Checkpoints that a running stage of any pipeline names in its parameters stay.
//   P2. Only what is neither deleted nor ordered already is planned.

import { sql } from "kysely";
import type { AgentId, AttemptId, CheckpointId, PipelineId, StageId } from "../../domain/ids.js";
import type { CleanupParams } from "../../domain/pipeline/spec.js";
import type { StageStatus } from "../../domain/pipeline/state.js";
import { TERMINAL_STAGE } from "../../domain/pipeline/state.js";
import { checkpointsToDelete, textsWithin } from "../../domain/retention.js";
import type { Db } from "../database.js";
import { listCheckpoints, readScores, type CheckpointRow } from "./checkpoints.js";

export interface PlannedDeletion {
  readonly checkpointId: CheckpointId;
  readonly path: string;
  /** The attempt that made it, and that attempt's fence. */
  readonly attemptId: AttemptId;
  readonly fence: number;
}

export type CleanupPlan = Map<AgentId, PlannedDeletion[]>;

/** The deletions of a cleanup stage with these parameters, as of `now`, oldest first per agent; agents with nothing to do are missing. */
export async function cleanupPlan(db: Db, pipelineId: PipelineId, params: CleanupParams, now: Date = new Date()): Promise<CleanupPlan> {
  const stages = await db.selectFrom("stages").select(["id", "status"]).where("pipeline_id", "=", pipelineId).where(sql<boolean>`name = any(${params.stages}::text[])`).execute();
  const statuses = new Map<StageId, StageStatus>(stages.map(({ id, status }) => [id, status]));
  const checkpoints = (await listCheckpoints(db, [...statuses.keys()])).filter(({ deletedAt, deleteOrderedAt }) => deletedAt === null && deleteOrderedAt === null);
  const scores = await readScores(db, checkpoints.map(({ id }) => id));
  const inUse = await pathsInUse(db);
  const plan: CleanupPlan = new Map();
  for (const [stageId, status] of statuses) {
    const own = checkpoints.filter((checkpoint) => checkpoint.stageId === stageId).map((checkpoint) => ({ ...checkpoint, metrics: { ...scores.get(checkpoint.id), ...checkpoint.metrics } }));
    const going = new Set(checkpointsToDelete(own, params, { open: !TERMINAL_STAGE.has(status), pathsInUse: inUse, now: now.getTime() }));
    for (const checkpoint of own) if (going.has(checkpoint.id)) enter(plan, checkpoint);
  }
  return plan;
}

function enter(plan: CleanupPlan, { agentId, id, path, attemptId, attempt }: CheckpointRow): void {
  const some = plan.get(agentId) ?? [];
  some.push({ checkpointId: id, path, attemptId, fence: attempt });
  plan.set(agentId, some);
}

/** P1: every text in the parameters of the attempts that live now. Cleanup stages name checkpoints only to delete them. */
export async function pathsInUse(db: Db): Promise<Set<string>> {
  const { rows } = await sql<{ params: unknown }>`select body -> 'params' as params from assignments where body ->> 'kind' <> 'cleanup'`.execute(db);
  return new Set(rows.flatMap(({ params }) => textsWithin(params)).filter((text) => text.includes("/")));
}
