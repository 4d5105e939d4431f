// Trainings that have fallen silent: judged by the clock, as no report comes that could be looked at.
//   Q1. Only told: what acts on silence is noProgressTimeoutSeconds, by a sweep of its own.
//   Q2. Judged twice: without a lock to find them, under the pipeline's lock before anything is written.
//   Q3. Only of agents that were heard of just now: what an agent could not send is no silence of its program.

import type pg from "pg";
import { insertAnomalies, readHealth, saveHealth } from "../../db/anomalies.js";
import type { PipelineId, StageId } from "../../domain/ids.js";
import { judgeSilence } from "../../domain/training/health/silence.js";
import { TOPICS, type Wakeups } from "../control-plane.js";

export interface SilenceDeps {
  readonly pool: pg.Pool;
  readonly wakeups: Pick<Wakeups, "wake">;
}

interface Running { stage_id: StageId; pipeline_id: PipelineId; fence: number }

const STAGES_AT_ONCE = 1_000;
/** Q3, in seconds. */
const HEARD_OF_WITHIN = 60;

const RUNNING = `
  select distinct s.id as stage_id, s.pipeline_id, a.fence from assignments a join pipelines p on p.id = a.pipeline_id join stages s on s.pipeline_id = a.pipeline_id and s.name = a.stage join training_health h on h.stage_id = s.id
   where s.kind = 'train' and s.status = 'RUNNING' and p.status = 'RUNNING' and a.status = 'RUNNING' and a.stop is null and a.lease_renewed_at > clock_timestamp() - interval '${HEARD_OF_WITHIN} seconds'`;

/** Tells of runs that have been silent for longer than their pace explains. `now`: milliseconds since 1970. Returns how many findings are new. */
export async function sweepTrainingSilence(deps: SilenceDeps, now: number): Promise<number> {
  const client = await deps.pool.connect();
  let broken: Error | undefined;
  try {
    const { rows } = await client.query<Running>(`${RUNNING} limit $1`, [STAGES_AT_ONCE]);
    const states = await readHealth(client, rows.map((row) => row.stage_id));
    const silent = rows.filter((row) => isSilent(states.get(row.stage_id)!.state, row, now));
    let found = 0;
    for (const row of silent) found += await tell(deps, client, row, now);
    return found;
  } catch (error) {
    broken = error as Error;
    throw error;
  } finally {
    client.release(broken);
  }
}

function isSilent(state: Parameters<typeof judgeSilence>[0], { fence }: Running, now: number): boolean {
  return state.attempt === fence && judgeSilence(state, now).anomalies.length > 0;
}

/** Q2. */
async function tell({ wakeups }: SilenceDeps, client: pg.PoolClient, { pipeline_id: pipelineId, stage_id: stageId }: Running, now: number): Promise<number> {
  await client.query("begin");
  await client.query("select 1 from pipelines where id = $1 for update", [pipelineId]);
  const { rows: [still] } = await client.query<Running>(`${RUNNING} and s.id = $1 limit 1`, [stageId]);
  const { state: before } = (await readHealth(client, [stageId])).get(stageId)!;
  const { state, anomalies } = judgeSilence(before, now);
  if (still !== undefined && still.fence === before.attempt && anomalies.length > 0) {
    await saveHealth(client, new Map([[stageId, state]]));
    await insertAnomalies(client, anomalies.map((anomaly) => ({ stageId, pipelineId, attempt: before.attempt, anomaly, action: "NOTIFIED", would: null, reason: "NO_PROGRESS is only told." })), new Date(now));
  }
  await client.query("commit");
  if (still === undefined) return 0;
  wakeups.wake([TOPICS.anomalies(pipelineId)]);
  return anomalies.length;
}
