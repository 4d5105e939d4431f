// Which points of a stage count. A resumed attempt writes some steps again; what the attempts before it had at or after its first step is superseded.
//   V1. Points of attempt k count below the lowest step that any later attempt of the stage reported, of whatever metric.
//   V2. So the windows of one metric's attempts follow each other and never overlap: joined in the order of attempts they are one rising series.

import { sql } from "kysely";
import type { StageId } from "../../domain/ids.js";
import type { Db } from "../database.js";

/** Above every step. */
export const NO_LIMIT = Number.MAX_SAFE_INTEGER;

export interface SeriesRow { readonly id: number; readonly stageId: StageId; readonly attempt: number; readonly name: string; readonly firstStep: number }

/** A series with the steps of it that count: from its first up to but not including `before`. */
export interface VisibleSeries extends SeriesRow { readonly before: number }

/** V1. Series of which nothing counts are left out; the order is by attempt. `rows`: all series of the stages. */
export function visibleSeries(rows: readonly SeriesRow[]): VisibleSeries[] {
  const firstOf = new Map<StageId, Map<number, number>>();
  for (const { stageId, attempt, firstStep } of rows) {
    const attempts = firstOf.get(stageId) ?? new Map<number, number>();
    firstOf.set(stageId, attempts.set(attempt, Math.min(attempts.get(attempt) ?? NO_LIMIT, firstStep)));
  }
  const limitOf = new Map<StageId, Map<number, number>>();
  for (const [stageId, attempts] of firstOf) {
    const limits = new Map<number, number>();
    let before = NO_LIMIT;
    for (const attempt of [...attempts.keys()].sort((a, b) => b - a)) {
      limits.set(attempt, before);
      before = Math.min(before, attempts.get(attempt)!);
    }
    limitOf.set(stageId, limits);
  }
  return rows
    .map((row) => ({ ...row, before: limitOf.get(row.stageId)!.get(row.attempt)! }))
    .filter((series) => series.firstStep < series.before)
    .sort((a, b) => a.attempt - b.attempt || (a.name < b.name ? -1 : 1));
}

/** The series of these stages that count. */
export async function readVisibleSeries(db: Db, stageIds: readonly StageId[]): Promise<VisibleSeries[]> {
  const { rows } = await sql<SeriesRow>`
    select id, stage_id as "stageId", attempt, name, first_step as "firstStep" from metric_series where stage_id = any(${stageIds}::text[])`.execute(db);
  return visibleSeries(rows);
}
