// The telemetry row of each stage: lock, batch number, end of the log, progress.
//   R1. Rows are locked in the order of stage ids, whatever the order of the reports: two batches that share stages cannot wait for each other.
//   R2. Batch numbers of a stage are given under its lock, which is kept until the commit: whoever sees batch n has all batches before it.

import type pg from "pg";
import type { StageId } from "../../domain/ids.js";
import type { LogEnd } from "./log-append.js";
import type { Progress } from "./pace.js";
import { float8Array, int8Array, timestampArray } from "./pg-binary.js";

export interface TelemetryRow {
  readonly stageId: StageId;
  /** Number of this batch within the stage. */
  readonly batch: number;
  log: LogEnd;
  progress: Progress | null;
}

interface Stored {
  stage_id: StageId; batch: number; log_length: number; log_stored_to: number; log_stored_bytes: number; log_limited: boolean;
  attempt: number | null; step: number; total_steps: number | null; pace: number | null; since: Date; advanced_at: Date;
}

/** Locks the rows (creating missing ones), counts their batch up and gives what they hold. Needs READ COMMITTED. */
export async function lockTelemetryRows(client: pg.PoolClient, stageIds: Iterable<StageId>): Promise<Map<StageId, TelemetryRow>> {
  const { rows } = await client.query<Stored>({
    name: "telemetry-lock",
    text: `insert into stage_telemetry as t (stage_id, batch) select k, 1 from unnest($1::text[]) k
           on conflict (stage_id) do update set batch = t.batch + 1
           returning stage_id, batch, log_length, log_stored_to, log_stored_bytes, log_limited, attempt, step, total_steps, pace, since, advanced_at`,
    values: [[...stageIds].sort()],
  });
  return new Map(rows.map((row) => [row.stage_id, fromStored(row)]));
}

function fromStored(row: Stored): TelemetryRow {
  const progress = row.attempt === null ? null : {
    attempt: row.attempt, step: row.step, totalSteps: row.total_steps, pace: row.pace, since: row.since.getTime(), advancedAt: row.advanced_at.getTime(),
  };
  return { stageId: row.stage_id, batch: row.batch, log: { length: row.log_length, storedTo: row.log_stored_to, storedBytes: row.log_stored_bytes, limited: row.log_limited }, progress };
}

/** Writes log end and progress back. The rows are locked by lockTelemetryRows. */
export async function saveTelemetryRows(client: pg.PoolClient, rows: readonly TelemetryRow[]): Promise<void> {
  if (rows.length === 0) return;
  const progress = rows.map((row) => row.progress);
  await client.query({
    name: "telemetry-save",
    text: `update stage_telemetry t set log_length = n.log_length, log_stored_to = n.log_stored_to, log_stored_bytes = n.log_stored_bytes, log_limited = n.log_limited,
             attempt = n.attempt, step = n.step, total_steps = n.total_steps, pace = n.pace, since = n.since, advanced_at = n.advanced_at
           from unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::boolean[], $6::int[], $7::bigint[], $8::bigint[], $9::double precision[], $10::timestamptz[], $11::timestamptz[])
             n (stage_id, log_length, log_stored_to, log_stored_bytes, log_limited, attempt, step, total_steps, pace, since, advanced_at)
           where t.stage_id = n.stage_id`,
    values: [
      rows.map((row) => row.stageId), int8Array(rows.map((row) => row.log.length)), int8Array(rows.map((row) => row.log.storedTo)), int8Array(rows.map((row) => row.log.storedBytes)), rows.map((row) => row.log.limited),
      progress.map((p) => p?.attempt ?? null), int8Array(progress.map((p) => p?.step ?? null)), int8Array(progress.map((p) => p?.totalSteps ?? null)), float8Array(progress.map((p) => p?.pace ?? null)),
      timestampArray(progress.map((p) => p?.since ?? null)), timestampArray(progress.map((p) => p?.advancedAt ?? null)),
    ],
  });
}
