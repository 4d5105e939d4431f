// The periodic scan of failed attempts: what the log and the metrics say about the cause is found out once and kept. The judgement is in domain/diagnosis.ts.
//   S1. One diagnosis per attempt, whoever scans and however often.
//   S2. A run has a bound and begins with the newest: who looks at a failure now sees it diagnosed first.

import { sql } from "kysely";
import type { Logger } from "pino";
import type { Db } from "../../db/database.js";
import { readLogTail } from "../../db/telemetry/logs.js";
import { diagnose, type DiagnosisFacts } from "../../domain/diagnosis.js";
import type { AttemptId, StageId } from "../../domain/ids.js";
import type { Failure } from "../../domain/pipeline/state.js";
import { DAY_MS } from "../../domain/retention.js";

export interface ScanDeps {
  readonly db: Db;
  readonly log: Pick<Logger, "info">;
  /** Attempts judged at most in one run. Default 100. */
  readonly limit?: number;
}

const ATTEMPTS_PER_RUN = 100;
/** Older failures are left as they are: their logs may be gone, and nobody waits for them. */
const LOOK_BACK_DAYS = 30;
/** Lines of the log that are judged. */
const LOG_LINES = 400;

interface Failed { id: AttemptId; stage_id: StageId; number: number; status: "FAILED" | "LOST"; error: Failure | null }

/** Judges failed and lost attempts that nobody has judged yet. Returns how many. */
export async function scanFailures(deps: ScanDeps, now: Date): Promise<number> {
  const { rows } = await sql<Failed>`
    select a.id, a.stage_id, a.number, a.status, a.error from attempts a
     where a.status in ('FAILED', 'LOST') and a.finished_at > ${new Date(now.getTime() - LOOK_BACK_DAYS * DAY_MS)}::timestamptz
       and not exists (select 1 from diagnoses d where d.attempt_id = a.id)
     order by a.finished_at desc limit ${deps.limit ?? ATTEMPTS_PER_RUN}::int`.execute(deps.db);
  for (const attempt of rows) {
    const { cause, evidence, suggestion } = diagnose({
      status: attempt.status, failure: attempt.error,
      logTail: await readLogTail(deps.db, attempt.stage_id, LOG_LINES, attempt.number),
      metricsTail: await newestMetrics(deps.db, attempt.stage_id, attempt.number),
    });
    await deps.db.insertInto("diagnoses").values({ attempt_id: attempt.id, cause, evidence: JSON.stringify(evidence), suggestion, created_at: now })
      .onConflict((conflict) => conflict.column("attempt_id").doNothing()).execute(); // S1
  }
  if (rows.length > 0) deps.log.info({ attempts: rows.length }, "failed attempts were diagnosed");
  return rows.length;
}

async function newestMetrics(db: Db, stageId: StageId, attempt: number): Promise<DiagnosisFacts["metricsTail"]> {
  const { rows } = await sql<{ name: string; step: number; value: number }>`
    select s.name, b.last_step as step, b.last_value as value from metric_series s
     cross join lateral (select last_step, last_value from metric_blocks where series_id = s.id order by block desc limit 1) b
     where s.stage_id = ${stageId} and s.attempt = ${attempt}`.execute(db);
  return Object.fromEntries(rows.map(({ name, step, value }) => [name, { step, value }]));
}
