// Stores log reports as chunks of their stage's log. What goes where is decided in log-append.ts.
//   W1. Small reports that follow each other in one batch become one chunk.
//   W2. The caller holds the lock of the telemetry rows of all stages involved, and saves them afterwards.

import type pg from "pg";
import type { AgentId, StageId } from "../../domain/ids.js";
import { LIMITS } from "../../protocol/messages.js";
import { appendLog } from "./log-append.js";
import { int8Array } from "./pg-binary.js";
import type { TelemetryRow } from "./telemetry-rows.js";

/** A log report with its origin, in the order of arrival. */
export interface LogReport {
  readonly stageId: StageId;
  readonly attempt: number;
  readonly agentId: AgentId;
  readonly fromByte: number;
  readonly text: string;
}

interface Source { readonly stageId: StageId; readonly attempt: number; readonly agentId: AgentId; length: number }
interface Chunk { readonly stageId: StageId; readonly attempt: number; readonly fromByte: number; readonly skippedBytes: number; data: Buffer[]; size: number }

/** Stores what is new in the reports and moves the log ends of `rows`. */
export async function writeLogs(client: pg.PoolClient, rows: ReadonlyMap<StageId, TelemetryRow>, reports: readonly LogReport[], limitBytes: number, now: Date): Promise<void> {
  const sources = await readSources(client, reports);
  const chunks: Chunk[] = [];
  const open = new Map<StageId, Chunk>();
  for (const report of reports) {
    const row = rows.get(report.stageId)!;
    const source = sources.get(sourceKey(report))!;
    const { end, received, chunk } = appendLog(row.log, source.length, report.fromByte, Buffer.from(report.text), limitBytes);
    row.log = end;
    source.length = received;
    if (chunk === null) continue;
    const last = open.get(report.stageId);
    if (last !== undefined && chunk.skippedBytes === 0 && last.attempt === report.attempt && last.size + chunk.data.length <= LIMITS.logChunkBytes) {
      last.data.push(chunk.data);
      last.size += chunk.data.length;
      continue;
    }
    const started = { stageId: report.stageId, attempt: report.attempt, fromByte: chunk.fromByte, skippedBytes: chunk.skippedBytes, data: [chunk.data], size: chunk.data.length };
    open.set(report.stageId, started);
    chunks.push(started);
  }
  if (chunks.length > 0) await insertChunks(client, chunks, now);
  await saveSources(client, [...sources.values()]);
}

function sourceKey(source: { stageId: StageId; attempt: number; agentId: AgentId }): string {
  return `${source.stageId}#${source.attempt}#${source.agentId}`;
}

/** How far each source is in; those never heard of are at 0. */
async function readSources(client: pg.PoolClient, reports: readonly LogReport[]): Promise<Map<string, Source>> {
  const sources = new Map<string, Source>();
  for (const { stageId, attempt, agentId } of reports) {
    const source = { stageId, attempt, agentId, length: 0 };
    sources.set(sourceKey(source), source);
  }
  const wanted = [...sources.values()];
  const { rows } = await client.query<{ stage_id: StageId; attempt: number; agent_id: AgentId; length: number }>({
    name: "telemetry-log-sources",
    text: `select s.stage_id, s.attempt, s.agent_id, s.length from unnest($1::text[], $2::int[], $3::text[]) k (stage_id, attempt, agent_id)
             join log_sources s on s.stage_id = k.stage_id and s.attempt = k.attempt and s.agent_id = k.agent_id`,
    values: [wanted.map((s) => s.stageId), wanted.map((s) => s.attempt), wanted.map((s) => s.agentId)],
  });
  for (const row of rows) sources.get(sourceKey({ stageId: row.stage_id, attempt: row.attempt, agentId: row.agent_id }))!.length = row.length;
  return sources;
}

async function saveSources(client: pg.PoolClient, sources: readonly Source[]): Promise<void> {
  await client.query({
    name: "telemetry-log-sources-save",
    text: `insert into log_sources (stage_id, attempt, agent_id, length) select * from unnest($1::text[], $2::int[], $3::text[], $4::bigint[])
           on conflict (stage_id, attempt, agent_id) do update set length = excluded.length`,
    values: [sources.map((s) => s.stageId), sources.map((s) => s.attempt), sources.map((s) => s.agentId), int8Array(sources.map((s) => s.length))],
  });
}

async function insertChunks(client: pg.PoolClient, chunks: readonly Chunk[], now: Date): Promise<void> {
  await client.query({
    name: "telemetry-log-chunks",
    text: `insert into log_chunks (stage_id, from_byte, to_byte, skipped_bytes, attempt, data, at)
           select k.stage_id, k.from_byte, k.from_byte + length(k.data), k.skipped_bytes, k.attempt, k.data, $6
             from unnest($1::text[], $2::bigint[], $3::bigint[], $4::int[], $5::bytea[]) k (stage_id, from_byte, skipped_bytes, attempt, data)`,
    values: [
      chunks.map((c) => c.stageId), int8Array(chunks.map((c) => c.fromByte)), int8Array(chunks.map((c) => c.skippedBytes)), chunks.map((c) => c.attempt), chunks.map((c) => Buffer.concat(c.data)), now,
    ],
  });
}
