// What control plane and agent say to each other, as zod schemas; PROTOCOL.md tells the story. Both links (Redis streams, HTTPS) carry these very messages.
//   P1. Reports are numbered densely per (agent, epoch): the control plane applies each exactly once, in order, and answers with a watermark.
//   P2. Every report names attempt and fence; an older fence is refused and the agent stops that program.
//   P3. Every order (assign, stop, delete) may arrive several times; the agent's journal makes repetition harmless.

import { z } from "zod";
import { DATA_FORMATS, DATA_TASKS } from "../domain/data/preprocess-params.js";
import type { DatasetStatistics } from "../domain/data/dataset.js";
import type { AgentId, AttemptId, CheckpointId, DatasetId, PipelineId, SessionId, StageId } from "../domain/ids.js";
import { FAILURE_CODES, STAGE_KINDS } from "../domain/pipeline/spec.js";
import type { Json } from "../domain/pipeline/state.js";
import { SAMPLE_SOURCES } from "../domain/samples.js";

export const PROTOCOL_VERSION = 1;

/** Bounds that both sides keep; bytes unless named otherwise. */
export const LIMITS = {
  outputsBytes: 64 * 1024,
  logChunkBytes: 64 * 1024,
  pointsPerReport: 5_000,
  reportsPerBatch: 1_000,
  batchBytes: 4 * 1024 * 1024,
  samplesPerReport: 500,
  /** Of all texts of a samples report together, so that several reports fit into a batch. */
  samplesReportBytes: 512 * 1024,
} as const;

/** Longest texts of a sample, in UTF-16 units; the sender cuts longer ones and says so in them (domain/samples.ts, cutText). */
export const SAMPLE_LIMITS = { key: 200, prompt: 8_000, output: 16_000, truth: 4_000, error: 2_000 } as const;

const id = <T extends string>(prefix: string) => z.string().startsWith(`${prefix}_`) as unknown as z.ZodType<T, T>;
const json = z.json() as unknown as z.ZodType<Json, Json>;
const outputs = z.record(z.string().min(1).max(200), json);
const at = z.number().int().nonnegative().describe("Milliseconds since 1970 by the sender's clock; information only.");

export const failureSchema = z.object({
  code: z.enum(FAILURE_CODES),
  message: z.string().max(10_000),
  hint: z.string().max(2_000).nullable(),
  exitCode: z.number().int().nullable(),
  logTail: z.array(z.string().max(2_100)).max(50),
});

// ── agent → control plane: session and lease, always over HTTPS ─────────────────────────────────────

export const gpuSchema = z.object({
  index: z.number().int().nonnegative(),
  uuid: z.string().nullable(),
  model: z.string(),
  memoryTotalMiB: z.number().int().nonnegative(),
  memoryUsedMiB: z.number().int().nonnegative().nullable(),
  utilizationPercent: z.number().nullable(),
  /** Processes on the GPU that no attempt of ours started. */
  strangers: z.number().int().nonnegative().default(0),
});
export type GpuReport = z.infer<typeof gpuSchema>;

/** Queues that share slots: `concurrency` attempts at once over all of `queues`. A queue is in at most one pool of an agent. */
export const poolSchema = z.object({ queues: z.array(z.string().min(1).max(100)).min(1), concurrency: z.number().int().min(1).max(10_000) });
export type Pool = z.infer<typeof poolSchema>;

export const heldSchema = z.object({ attemptId: id<AttemptId>("att"), fence: z.number().int().positive() });
export type Held = z.infer<typeof heldSchema>;

const labelValue = z.union([z.string(), z.number(), z.boolean()]);

const capabilities = z.array(z.string().max(100)).max(100).describe("What it can run, see capabilityOf.");
const versions = z.record(z.string(), z.string().nullable());

export const openSessionSchema = z.object({
  protocol: z.literal(PROTOCOL_VERSION),
  name: z.string().min(1).max(200),
  /** Names the journal: a new one (wiped data directory) starts report numbers at 1 again. */
  epoch: z.string().min(8).max(64),
  /** Names the process; another process under the same agent name is refused while this one renews. */
  instance: z.string().min(8).max(64),
  pools: z.array(poolSchema).max(100),
  capabilities,
  labels: z.record(z.string(), labelValue),
  gpus: z.array(gpuSchema).max(64),
  versions,
  runMode: z.enum(["LOCAL", "SSH"]),
  /** Address other agents of a multi-node stage can reach, if known. */
  address: z.string().nullable().default(null),
  held: z.array(heldSchema).max(10_000).describe("Attempts whose programs run, or whose end is not yet committed."),
});
export type OpenSession = z.infer<typeof openSessionSchema>;

export interface SessionOpened {
  readonly agentId: AgentId;
  readonly sessionId: SessionId;
  /** Lease length from the moment a renewal was sent, in milliseconds. */
  readonly leaseTtlMs: number;
  readonly renewEveryMs: number;
  /** Highest committed report number of this epoch: send from the next one. */
  readonly watermark: number;
  /** The fast link, when the control plane has Redis. */
  readonly redis: { readonly url: string; readonly username: string | null; readonly password: string | null; readonly ordersKey: string; readonly reportsKey: string } | null;
  /** Held attempts that are over: stop their programs and forget them. */
  readonly refused: readonly RefusedLease[];
  /** Orders outstanding for held attempts. */
  readonly orders: readonly Order[];
}
export interface RefusedLease { readonly attemptId: AttemptId; readonly fence: number; readonly message: string }

export const renewSchema = z.object({
  sessionId: id<SessionId>("ses"),
  held: z.array(heldSchema).max(10_000),
  gpus: z.array(gpuSchema).max(64),
  draining: z.boolean(),
  /** What is known of the host, when it is not what this session was told before. */
  host: z.object({ capabilities, versions }).optional(),
});
export type Renew = z.infer<typeof renewSchema>;
export type HostDescription = NonNullable<Renew["host"]>;
export interface Renewed {
  readonly watermark: number;
  readonly refused: readonly RefusedLease[];
  /** Control plane's clock, milliseconds since 1970, to show the offset. */
  readonly now: number;
  /** True when an operator drains the agent from the API. */
  readonly drain: boolean;
}

export const closeSessionSchema = z.object({ sessionId: id<SessionId>("ses") });

// ── agent → control plane: reports ──────────────────────────────────────────────────────────────────

const ofAttempt = { n: z.number().int().positive(), attemptId: id<AttemptId>("att"), fence: z.number().int().positive(), at };

/** [index into names, step, milliseconds since 1970, value or "NaN" | "Infinity" | "-Infinity"]. */
export const pointSchema = z.tuple([z.number().int().nonnegative(), z.number().int(), z.number().int(), z.union([z.number(), z.enum(["NaN", "Infinity", "-Infinity"])])]);
export type WirePoint = z.infer<typeof pointSchema>;

export const outcomeSchema = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("COMPLETED"), outputs }),
  z.object({ kind: z.literal("FAILED"), failure: failureSchema }),
  z.object({ kind: z.literal("STOPPED") }),
  z.object({ kind: z.literal("REFUSED"), reason: z.string().max(2_000) }),
]);

/** Facts of a data file, see domain/data/dataset.ts. */
export const datasetFactsSchema = z.object({
  format: z.enum(DATA_FORMATS),
  contentHash: z.string().regex(/^[0-9a-f]{64}$/),
  rows: z.number().int().nonnegative(),
  sizeBytes: z.number().int().nonnegative(),
  columns: z.array(z.object({ name: z.string().max(200), type: z.string().max(2_000), nullCount: z.number().int().nonnegative() })).max(2_000),
  tasks: z.array(z.enum(DATA_TASKS)),
  statistics: (z.json() as unknown as z.ZodType<DatasetStatistics, DatasetStatistics>).nullable(),
  sample: z.array(json).max(20),
});

/** What was asked and answered. `key` names the row that was asked, the same wherever it is asked again; `step` is null outside trainings. */
export const sampleSchema = z.object({
  source: z.enum(SAMPLE_SOURCES),
  step: z.number().int().nullable(),
  key: z.string().min(1).max(SAMPLE_LIMITS.key),
  prompt: z.string().max(SAMPLE_LIMITS.prompt),
  output: z.string().max(SAMPLE_LIMITS.output),
  truth: z.string().max(SAMPLE_LIMITS.truth).nullable(),
  score: z.union([z.number(), z.enum(["NaN", "Infinity", "-Infinity"])]).nullable(),
  error: z.string().max(SAMPLE_LIMITS.error).nullable(),
});
export type WireSample = z.infer<typeof sampleSchema>;

export const reportSchema = z.discriminatedUnion("type", [
  z.object({ ...ofAttempt, type: z.literal("started"), command: z.array(z.string()).nullable() }),
  z.object({ ...ofAttempt, type: z.literal("ended"), outcome: outcomeSchema }),
  z.object({ ...ofAttempt, type: z.literal("metrics"), names: z.array(z.string().min(1).max(300)).max(2_000), points: z.array(pointSchema).max(LIMITS.pointsPerReport) }),
  z.object({ ...ofAttempt, type: z.literal("progress"), step: z.number().int(), totalSteps: z.number().int().positive().nullable() }),
  /** `fromByte` addresses the attempt's published log (UTF-8, after folding and redaction); `skippedBytes` before it were left out. */
  z.object({ ...ofAttempt, type: z.literal("log"), fromByte: z.number().int().nonnegative(), skippedBytes: z.number().int().nonnegative(), text: z.string() }),
  z.object({ ...ofAttempt, type: z.literal("checkpoint"), step: z.number().int(), path: z.string().max(4_096), sizeBytes: z.number().int().nonnegative().nullable(), /** Paths of earlier checkpoints of the attempt that its program has deleted itself. */ gone: z.array(z.string().max(4_096)).max(1_000).optional() }),
  /** The answer to a delete order, also from cleanup stages. `error` null: the files are gone. */
  z.object({ ...ofAttempt, type: z.literal("checkpoint-deleted"), checkpointId: id<CheckpointId>("ckp"), freedBytes: z.number().int().nonnegative(), error: z.string().max(2_000).nullable() }),
  /** A data file that the attempt made: `datasetId` follows from `name` and content. `path` is on this agent. */
  z.object({ ...ofAttempt, type: z.literal("dataset"), datasetId: id<DatasetId>("dst"), name: z.string().min(1).max(300), path: z.string().max(4_096), facts: datasetFactsSchema }),
  /** Data files that the attempt read, for lineage. */
  z.object({ ...ofAttempt, type: z.literal("dataset-read"), files: z.array(z.object({ path: z.string().max(4_096), contentHash: z.string().regex(/^[0-9a-f]{64}$/), sizeBytes: z.number().int().nonnegative() })).max(1_000) }),
  /** Texts without secrets. A key that came before for the same attempt, source and step changes nothing. */
  z.object({ ...ofAttempt, type: z.literal("samples"), samples: z.array(sampleSchema).min(1).max(LIMITS.samplesPerReport) }),
]);
export type Report = z.infer<typeof reportSchema>;
export type ReportType = Report["type"];
export type ReportOf<T extends ReportType> = Extract<Report, { type: T }>;

export const reportBatchSchema = z.object({ epoch: z.string().min(8).max(64), reports: z.array(reportSchema).max(LIMITS.reportsPerBatch) });
export type ReportBatch = z.infer<typeof reportBatchSchema>;
export const sendReportsSchema = reportBatchSchema.extend({ sessionId: id<SessionId>("ses") });
export interface ReportsAccepted {
  /** Committed up to here; the spool may be truncated below. Lower than what was sent after a gap: resend from the next number. */
  readonly watermark: number;
  readonly refused: readonly RefusedLease[];
}

// ── control plane → agent: orders ───────────────────────────────────────────────────────────────────

export const assignmentSchema = z.object({
  attemptId: id<AttemptId>("att"),
  fence: z.number().int().positive(),
  pipelineId: id<PipelineId>("pip"),
  pipelineName: z.string(),
  stageId: id<StageId>("stg"),
  stage: z.string(),
  kind: z.enum(STAGE_KINDS),
  /** References resolved. Secrets still by reference. */
  params: z.record(z.string(), json),
  gpus: z.array(z.number().int().nonnegative()),
  rank: z.number().int().nonnegative(),
  /** All members, rank by rank. */
  members: z.array(z.object({ agentName: z.string(), address: z.string().nullable(), gpus: z.array(z.number().int().nonnegative()) })).min(1),
  /** For cleanup stages: what this agent deletes. */
  deletions: z.array(z.object({ checkpointId: id<CheckpointId>("ckp"), path: z.string() })).default([]),
  /** For train stages that were rolled back: what attempts up to `fence` left behind after `step` is not to be gone on from. */
  rollbacks: z.array(z.object({ fence: z.number().int().positive(), step: z.number().int() })).optional(),
});
export type Assignment = z.infer<typeof assignmentSchema>;

export const orderSchema = z.discriminatedUnion("type", [
  z.object({ type: z.literal("assign"), assignment: assignmentSchema }),
  z.object({ type: z.literal("stop"), attemptId: id<AttemptId>("att"), fence: z.number().int().positive(), cause: z.enum(["CANCEL", "PAUSE", "TIMEOUT", "NO_PROGRESS", "PEER_ENDED", "HEALTH", "STALE"]), reason: z.string() }),
  z.object({ type: z.literal("delete-checkpoint"), checkpointId: id<CheckpointId>("ckp"), attemptId: id<AttemptId>("att"), fence: z.number().int().positive(), path: z.string() }),
  /** Streams only: reports are committed up to `watermark` of this epoch. Never stored. */
  z.object({ type: z.literal("watermark"), epoch: z.string(), watermark: z.number().int().nonnegative() }),
]);
export type Order = z.infer<typeof orderSchema>;

export const pollSchema = z.object({ sessionId: id<SessionId>("ses"), waitMs: z.number().int().min(0).max(30_000), /** Orders the agent has journalled since the last poll, by key. */ received: z.array(z.string()).max(10_000).default([]) });
export interface Polled { readonly orders: readonly Order[] }

/** What makes an order the same order: used to absorb repetitions on both sides. */
export function orderKey(order: Order): string {
  switch (order.type) {
    case "assign": return `assign:${order.assignment.attemptId}`;
    case "stop": return `stop:${order.attemptId}:${order.cause}`;
    case "delete-checkpoint": return `delete:${order.checkpointId}`;
    case "watermark": return `watermark:${order.epoch}:${order.watermark}`;
  }
}

/** HTTPS endpoints of the control plane for agents; all POST, JSON, `Authorization: Bearer <agent token>`. */
export const AGENT_PATHS = { session: "/agent/v1/session", renew: "/agent/v1/renew", poll: "/agent/v1/poll", reports: "/agent/v1/reports", close: "/agent/v1/close", dataset: "/agent/v1/dataset", datasetContent: "/agent/v1/dataset-content" } as const;

/** Asks what `dataset:<name>[@<version>]` (or its id) stands for. */
export const resolveDatasetSchema = z.object({ ref: z.string().min(1).max(400), /** Says which agent asks, where several share a token. */ sessionId: id<SessionId>("ses").optional() });
export interface ResolvedDataset {
  readonly datasetId: DatasetId;
  readonly name: string;
  readonly version: number;
  readonly contentHash: string;
  readonly sizeBytes: number;
  readonly format: (typeof DATA_FORMATS)[number];
  /** Whether the bytes are gzipped (text formats only). */
  readonly gzip?: boolean;
  /** Where the calling agent has it, by what it reported itself; null: nowhere known. */
  readonly path: string | null;
  /** Where others have it: the same file on a shared file system, or on the control plane's own host. */
  readonly elsewhere?: readonly string[];
  /** Whether the control plane can send the content: POST {datasetId} to `datasetContent`. */
  readonly downloadable: boolean;
}
export const datasetContentSchema = z.object({ datasetId: id<DatasetId>("dst") });
/** Body of a refused call (status 400, 401, 403, 409, 413, 503). */
export interface AgentCallError { readonly code: string; readonly message: string; readonly retryable: boolean }
