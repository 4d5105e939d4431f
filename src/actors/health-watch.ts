// Looks at what train stages report, in the transaction that takes it in: finds anomalies, keeps them, and does what the stage's policy says.
//   W1. State, findings and what follows from them are stored with the reports that they come from, or not at all. Repetition finds nothing new.
//   W2. Every action goes through decide, which looks at the pipeline again: an attempt that is over, or being stopped already, is left alone, and that is said.
//   W3. Health never fails the batch that carries it: what cannot be read as a train stage is passed over.
//   W4. A rollback goes to what the run has saved by its params, where its report has yet to come: the agent looks at the disk when the run has ended.

import type pg from "pg";
import { checkpointBefore, insertAnomalies, knownAnomalies, readHealth, saveHealth, type JudgedAnomaly, type StoredHealth } from "../db/anomalies.js";
import { storableText, storableTime } from "../db/telemetry/gathered-points.js";
import type { TelemetryItem } from "../db/telemetry/ingest.js";
import type { PipelineId, StageId } from "../domain/ids.js";
import type { PipelineCommand } from "../domain/pipeline/commands.js";
import { resolvedParams } from "../domain/pipeline/decide.js";
import { MissingOutputError } from "../domain/pipeline/references.js";
import { findStage, liveAttempt, type PipelineState } from "../domain/pipeline/state.js";
import type { Anomaly, HealthFacts, HealthPoint } from "../domain/training/health/anomaly.js";
import { decideAction, type ActionDecision } from "../domain/training/health/decide-action.js";
import { detect } from "../domain/training/health/detect.js";
import type { HealthState } from "../domain/training/health/health-state.js";
import { detectInLog } from "../domain/training/health/log-lines.js";
import { trainParamsSchema, type TrainParams } from "../domain/training/train-params.js";
import { lastSavedBefore } from "../verl/run-length.js";

/** What is used of an open batch. */
export interface HealthTransaction {
  readonly client: pg.PoolClient;
  readonly at: number;
  readonly states: ReadonlyMap<PipelineId, PipelineState>;
  decide(pipelineId: PipelineId, command: PipelineCommand): void;
}

/** Telemetry of a train stage, with the stage's name. */
export interface WatchedItem { readonly stage: string; readonly item: TelemetryItem }

/** Steps by which a checkpoint must lie before a divergence: it is told only after it has lasted, and by then its beginning may have been saved. */
const DIVERGENCE_MARGIN = 10;

/** Returns the pipelines in which something was found. */
export async function watchHealth(transaction: HealthTransaction, watched: readonly WatchedItem[]): Promise<ReadonlySet<PipelineId>> {
  const runs = runsOf(transaction, watched);
  if (runs.length === 0) return new Set();
  const stored = await readHealth(transaction.client, [...new Set(runs.map(({ stageId }) => stageId))]);
  const changed = new Map<StageId, HealthState>();
  const judged: JudgedAnomaly[] = [];
  for (const run of runs) {
    const before: StoredHealth = { ...stored.get(run.stageId)!, ...(changed.has(run.stageId) ? { state: changed.get(run.stageId)! } : {}) };
    const { state, anomalies } = look(run, before);
    if (state !== before.state) changed.set(run.stageId, state);
    if (anomalies.length === 0) continue;
    const known = await knownAnomalies(transaction.client, run.stageId, anomalies.map(({ key }) => key));
    for (const anomaly of anomalies) {
      if (!known.has(anomaly.key)) judged.push({ stageId: run.stageId, pipelineId: run.pipelineId, attempt: run.attempt, anomaly, ...(await act(transaction, run, anomaly)) });
    }
  }
  if (changed.size > 0) await saveHealth(transaction.client, changed);
  if (judged.length > 0) await insertAnomalies(transaction.client, judged, new Date(transaction.at));
  return new Set(judged.map(({ pipelineId }) => pipelineId));
}

/** What one attempt of one stage reported. */
interface Run {
  readonly stageId: StageId;
  readonly pipelineId: PipelineId;
  readonly stage: string;
  readonly attempt: number;
  readonly params: TrainParams;
  readonly points: HealthPoint[];
  readonly lines: string[];
  /** Steps of checkpoints that stand in no table yet. */
  readonly checkpoints: number[];
}

function runsOf({ states }: HealthTransaction, watched: readonly WatchedItem[]): Run[] {
  const runs = new Map<string, Run | null>();
  for (const { stage, item } of watched) {
    if (item.report.type !== "metrics" && item.report.type !== "log" && item.report.type !== "checkpoint") continue;
    const key = `${item.stageId}#${item.attempt}`;
    let run = runs.get(key);
    if (run === undefined) {
      const params = paramsOf(states.get(item.pipelineId), stage);
      run = params === null ? null : { stageId: item.stageId, pipelineId: item.pipelineId, stage, attempt: item.attempt, params, points: [], lines: [], checkpoints: [] };
      runs.set(key, run);
    }
    if (run !== null) gather(run, item.report);
  }
  return [...runs.values()].filter((run) => run !== null).sort((a, b) => a.attempt - b.attempt);
}

function gather(run: Run, report: TelemetryItem["report"]): void {
  if (report.type === "log") run.lines.push(...report.text.split("\n"));
  else if (report.type === "checkpoint") run.checkpoints.push(report.step);
  else if (report.type === "metrics") {
    const names = report.names.map(storableText);
    for (const [index, step, at, wire] of report.points) {
      const name = names[index];
      if (name !== undefined) run.points.push({ name, step, at: storableTime(at), value: Number(wire) });
    }
  }
}

function newest(one: number | null, other: number | null): number | null {
  return one === null ? other : Math.max(one, other ?? one);
}

/** W3. */
function paramsOf(state: PipelineState | undefined, stage: string): TrainParams | null {
  if (state === undefined) return null;
  try {
    return trainParamsSchema.safeParse(resolvedParams(state, stage)).data ?? null;
  } catch (error) {
    if (error instanceof MissingOutputError) return null;
    throw error;
  }
}

function look(run: Run, { state, totalSteps }: StoredHealth): { state: HealthState; anomalies: readonly Anomaly[] } {
  const { params } = run;
  const steps = params.steps ?? totalSteps;
  const facts: HealthFacts = { attempt: run.attempt, algorithm: params.algorithm, warmupSteps: params.warmupRatio === undefined || steps === null ? null : Math.ceil(params.warmupRatio * steps) };
  const inMetrics = run.points.length === 0 ? { state, anomalies: [] } : detect(state, run.points, facts);
  const inLog = run.lines.length === 0 ? { state: inMetrics.state, anomalies: [] } : detectInLog(inMetrics.state, run.lines, facts);
  return { state: inLog.state, anomalies: [...inMetrics.anomalies, ...inLog.anomalies] };
}

/** Decides, and does what is decided. W2. */
async function act(transaction: HealthTransaction, run: Run, anomaly: Anomaly): Promise<ActionDecision> {
  const { stage } = findStage(transaction.states.get(run.pipelineId)!, run.stage)!;
  const rollbacks = stage.rollbacks ?? [];
  let decision = decideAction(anomaly, run.params.health, { budgetUsed: rollbacks.length });
  let rollbackTo: number | null = null;
  if (decision.action === "ROLLED_BACK" || decision.would === "ROLLED_BACK") {
    const before = (anomaly.step ?? 0) - (anomaly.kind === "NON_FINITE" ? 0 : DIVERGENCE_MARGIN);
    const known = await checkpointBefore(transaction.client, run.stageId, before, rollbacks, run.checkpoints);
    rollbackTo = newest(known, lastSavedBefore(run.params, before)); // W4
    decision = decideAction(anomaly, run.params.health, { budgetUsed: rollbacks.length, checkpointStep: rollbackTo });
  }
  if (decision.action === "NOTIFIED") return decision;
  const live = liveAttempt(stage);
  if (live === null || live.number !== run.attempt) return { action: "NOTIFIED", would: null, reason: `Only told, as the attempt is over already. ${decision.reason}` };
  if (live.stopping !== null) return { action: "NOTIFIED", would: null, reason: `Only told, as the attempt is being stopped already. ${decision.reason}` };
  const reason = `${anomaly.kind}: ${anomaly.message} ${decision.reason}`;
  transaction.decide(run.pipelineId, { type: "StopUnhealthyAttempt", at: transaction.at, stage: run.stage, attemptId: live.id, reason, rollbackTo: decision.action === "ROLLED_BACK" ? rollbackTo : null });
  return decision;
}
