// How far stages are.

import type { StageId } from "../../domain/ids.js";
import type { Db } from "../database.js";
import { etaSeconds } from "./pace.js";

export interface StageProgress {
  readonly step: number;
  readonly totalSteps: number | null;
  /** Seconds to the end at the recent pace; null when the end or the pace is not known. */
  readonly etaSeconds: number | null;
}

/** Progress of the newest attempt that reported a step; stages that never did are missing. */
export async function readProgress(db: Db, stageIds: readonly StageId[]): Promise<Map<StageId, StageProgress>> {
  const rows = await db.selectFrom("stage_telemetry").select(["stage_id", "step", "total_steps", "pace"]).where("stage_id", "in", stageIds.length === 0 ? [""] as unknown as StageId[] : stageIds).execute();
  return new Map(rows.flatMap(({ stage_id, step, total_steps: totalSteps, pace }) => (step === null ? [] : [[stage_id, { step, totalSteps, etaSeconds: etaSeconds({ step, totalSteps, pace }) }] as const])));
}
