// Stores what agents report beside state: metric points, progress, logs, checkpoints, data sets, samples. A handful of statements per batch, however many stages it touches.
//   I1. Runs inside the transaction that moves the agents' watermarks: telemetry is in exactly when its report counts as received. READ COMMITTED.
//   I2. Everything of one stage is ordered by the lock of its telemetry row (telemetry-rows.ts); that is what cursors of live readers rest on.
//   I3. All of it may be repeated: points are replaced by step, log bytes by address, checkpoints by (attempt, step, path), data sets by name and content, samples by key.
// Call it once per transaction: locks of two calls could be taken in opposite orders by two transactions (Postgres would then end one of them).

import type pg from "pg";
import type { AgentId, AttemptId, PipelineId, StageId } from "../../domain/ids.js";
import { assertNever } from "../../domain/errors.js";
import type { ReportOf } from "../../protocol/messages.js";
import { recordDeletions, recordGone, refreshCheckpointMetrics, registerCheckpoints, type CheckpointReport, type Deletion, type StepRange } from "./checkpoint-writer.js";
import { recordReads, registerReported, type DatasetReadReport, type DatasetReport } from "./dataset-writer.js";
import { gatherPoints, sorted, storableTime, type GatheredAttempt, type GatheredPoints } from "./gathered-points.js";
import { writeLogs, type LogReport } from "./log-writer.js";
import { advance } from "./pace.js";
import { writePoints } from "./point-writer.js";
import { storeSamples, type SamplesReport } from "./sample-writer.js";
import { createSeriesIds, seriesKey, type SeriesIds } from "./series-ids.js";
import { lockTelemetryRows, saveTelemetryRows, type TelemetryRow } from "./telemetry-rows.js";

export type TelemetryReport = ReportOf<"metrics" | "progress" | "log" | "checkpoint" | "checkpoint-deleted" | "dataset" | "dataset-read" | "samples">;

/** A report whose fence has been checked, with where it belongs. */
export interface TelemetryItem {
  readonly stageId: StageId;
  readonly pipelineId: PipelineId;
  readonly attemptId: AttemptId;
  /** The fence. */
  readonly attempt: number;
  readonly agentId: AgentId;
  readonly report: TelemetryReport;
}

export interface Ingested {
  /** Stages with something new, each once: their readers are to be woken. */
  readonly stageIds: StageId[];
  /** Metric points stored. */
  readonly points: number;
}

export interface IngestOptions {
  /** Log bytes stored per stage; what comes after is counted and declared as a gap. */
  readonly logLimitBytes: number;
  /** Bytes of samples stored per stage; what comes after is counted. */
  readonly sampleLimitBytes: number;
  /** What the process remembers of series numbers (createSeriesIds); without it they are looked up each time. */
  readonly series?: SeriesIds;
}

/** Stores a batch; the order of items counts within a stage. Throws what Postgres throws: then the transaction is to be rolled back as a whole. */
export async function ingestTelemetry(client: pg.PoolClient, batch: readonly TelemetryItem[], now: Date, options: IngestOptions): Promise<Ingested> {
  if (batch.length === 0) return { stageIds: [], points: 0 };
  const work = sortByKind(batch);
  const rows = await lockTelemetryRows(client, new Set(batch.map((item) => item.stageId)));
  const stageIds = new Set(rows.keys());

  const attempts = [...work.points.attempts.values()];
  const points = attempts.length === 0 ? 0 : await storePoints(client, rows, attempts, options.series ?? createSeriesIds());
  const moved = moveProgress(rows, work);
  if (work.logs.length > 0) await writeLogs(client, rows, work.logs, options.logLimitBytes, now);
  for (const log of work.logs) moved.add(log.stageId);
  await saveTelemetryRows(client, [...moved].map((stageId) => rows.get(stageId)!));

  if (work.checkpoints.length > 0) {
    await registerCheckpoints(client, work.checkpoints, now);
    await recordGone(client, work.checkpoints, now);
  }
  const ranges = rangesOf(attempts, work.checkpoints);
  if (ranges.length > 0) await refreshCheckpointMetrics(client, ranges);
  if (work.deletions.length > 0) for (const stageId of await recordDeletions(client, work.deletions, now)) stageIds.add(stageId);
  if (work.datasets.length > 0) await registerReported(client, work.datasets, now);
  if (work.reads.length > 0) await recordReads(client, work.reads, now);
  if (work.samples.length > 0) await storeSamples(client, work.samples, options.sampleLimitBytes);
  return { stageIds: [...stageIds], points };
}

interface Sorted {
  readonly points: GatheredPoints;
  readonly progress: { stageId: StageId; attempt: number; report: ReportOf<"progress"> }[];
  readonly logs: LogReport[];
  readonly checkpoints: CheckpointReport[];
  readonly deletions: Deletion[];
  readonly datasets: DatasetReport[];
  readonly reads: DatasetReadReport[];
  readonly samples: SamplesReport[];
}

function sortByKind(batch: readonly TelemetryItem[]): Sorted {
  const work: Sorted = { points: gatherPoints(), progress: [], logs: [], checkpoints: [], deletions: [], datasets: [], reads: [], samples: [] };
  for (const { report, ...origin } of batch) {
    const { stageId, attempt, agentId } = origin;
    switch (report.type) {
      case "metrics": work.points.add(stageId, attempt, report); break;
      case "progress": work.progress.push({ stageId, attempt, report }); break;
      case "log": work.logs.push({ stageId, attempt, agentId, fromByte: report.fromByte, text: report.text }); break;
      case "checkpoint": work.checkpoints.push({ ...origin, report }); break;
      case "checkpoint-deleted": work.deletions.push({ agentId, checkpointId: report.checkpointId, error: report.error }); break;
      case "dataset": work.datasets.push({ ...origin, report }); break;
      case "dataset-read": work.reads.push({ ...origin, report }); break;
      case "samples": work.samples.push({ stageId, attempt, report }); break;
      default: assertNever(report);
    }
  }
  return work;
}

async function storePoints(client: pg.PoolClient, rows: ReadonlyMap<StageId, TelemetryRow>, attempts: readonly GatheredAttempt[], seriesIds: SeriesIds): Promise<number> {
  const ids = await seriesIds.resolve(client, attempts);
  return writePoints(client, attempts.flatMap(({ stageId, attempt, series }) =>
    [...series.values()].map((one) => ({ id: ids.get(seriesKey(stageId, attempt, one.name))!, batch: rows.get(stageId)!.batch, points: sorted(one) }))));
}

/** Metrics move progress as well as progress reports do. Returns the stages whose progress changed. */
function moveProgress(rows: ReadonlyMap<StageId, TelemetryRow>, work: Sorted): Set<StageId> {
  const moved = new Set<StageId>();
  const take = (stageId: StageId, sample: Parameters<typeof advance>[1]): void => {
    const row = rows.get(stageId)!;
    const after = advance(row.progress, sample);
    if (after === row.progress) return;
    row.progress = after;
    moved.add(stageId);
  };
  for (const { stageId, attempt, newest } of work.points.attempts.values()) if (newest !== null) take(stageId, { attempt, step: newest.step, totalSteps: null, at: newest.at });
  for (const { stageId, attempt, report } of work.progress) take(stageId, { attempt, step: report.step, totalSteps: report.totalSteps, at: storableTime(report.at) });
  return moved;
}

/** Where a checkpoint may have gained metrics: the steps of the points, and the steps of the new checkpoints. */
function rangesOf(attempts: readonly GatheredAttempt[], checkpoints: readonly CheckpointReport[]): StepRange[] {
  return [
    ...attempts.flatMap(({ stageId, attempt, lowestStep, newest }) => (newest === null ? [] : [{ stageId, attempt, fromStep: lowestStep, toStep: newest.step }])),
    ...checkpoints.map(({ stageId, attempt, report }) => ({ stageId, attempt, fromStep: report.step, toStep: report.step })),
  ];
}
