// Stores what agents report of data sets: versions that their attempts made, and content that they read.
//   W1. The id of a version follows from its name and content, never from what the report says it is.
//   W2. Repeating a report changes nothing but when the file was seen; the first attempt that read a content is the one that is kept per attempt.

import type pg from "pg";
import type { AgentId, AttemptId, PipelineId, StageId } from "../../domain/ids.js";
import type { ReportOf } from "../../protocol/messages.js";
import { kyselyOn } from "../database.js";
import { registerVersions } from "../datasets.js";
import { storableText } from "./gathered-points.js";
import { int8Array } from "./pg-binary.js";

interface Origin {
  readonly stageId: StageId;
  readonly pipelineId: PipelineId;
  readonly attemptId: AttemptId;
  readonly attempt: number;
  readonly agentId: AgentId;
}
export interface DatasetReport extends Origin { readonly report: ReportOf<"dataset"> }
export interface DatasetReadReport extends Origin { readonly report: ReportOf<"dataset-read"> }

/** Registers what attempts made, in the order of the reports. */
export async function registerReported(client: pg.PoolClient, reports: readonly DatasetReport[], now: Date): Promise<void> {
  await registerVersions(kyselyOn(client), reports.map(({ report, agentId, pipelineId, stageId, attemptId }) => ({
    name: storableText(report.name), facts: report.facts, file: { agentId, path: storableText(report.path), changedMs: null }, madeBy: { pipelineId, stageId, attemptId }, by: null,
  })), now);
}

/** Notes what attempts read. */
export async function recordReads(client: pg.PoolClient, reports: readonly DatasetReadReport[], now: Date): Promise<void> {
  const reads = [...new Map(reports.flatMap(({ report, ...origin }) => report.files.map((file) => [`${origin.attemptId}:${file.contentHash}`, { ...origin, ...file }] as const))).values()];
  if (reads.length === 0) return;
  await client.query({
    name: "telemetry-dataset-reads",
    text: `insert into dataset_reads (attempt_id, content_hash, stage_id, pipeline_id, path, size_bytes, read_at)
           select *, $7::timestamptz from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[]) on conflict (attempt_id, content_hash) do nothing`,
    values: [reads.map((r) => r.attemptId), reads.map((r) => r.contentHash), reads.map((r) => r.stageId), reads.map((r) => r.pipelineId), reads.map((r) => storableText(r.path)), int8Array(reads.map((r) => r.sizeBytes)), now],
  });
}
