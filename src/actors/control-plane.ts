// What the rest of the server may ask of the actors. GraphQL resolvers and HTTP endpoints translate into these calls and never decide.

import type { AuditRow } from "../db/pipeline-store.js";
import type { PipelineId, TokenId } from "../domain/ids.js";
import type { CommandOf } from "../domain/pipeline/commands.js";
import type { PipelineSpec } from "../domain/pipeline/spec.js";
import type { Json, PipelineState } from "../domain/pipeline/state.js";

/** Where a command ended in the event log. */
export interface Committed {
  readonly pipelineId: PipelineId;
  /** seq of the newest event of that pipeline after the command. */
  readonly seq: number;
  /** Position of that event over all pipelines. */
  readonly position: number;
  /** The pipeline as it stands after the command, when the command made it. */
  readonly made?: PipelineState;
}

/** A client-chosen id under which the first answer is kept. */
export interface RequestKey { readonly tokenId: TokenId; readonly requestId: string }

type Order<T> = T extends unknown ? Omit<T, "at"> & { readonly pipelineId: PipelineId } : never;
/** What users order of a pipeline that exists. */
export type UserOrder = Order<CommandOf<"CancelPipeline" | "PausePipeline" | "ResumePipeline" | "RetryPipeline" | "RetryStage" | "CancelStage" | "ApproveStage">>;

/** Each order may bring its row for the audit trail (`audit`), which is stored in the transaction of the order when it is accepted. */
export interface ControlPlane {
  /** Stores a validated pipeline and starts its actor. A repeated request id answers the first pipeline; with another spec it throws ConflictError. */
  submit(input: { readonly spec: PipelineSpec; readonly by: string; readonly request: RequestKey | null; readonly audit?: AuditRow }): Promise<Committed>;
  /** A new pipeline that takes over what does not depend on `fromStage`; `overrides` are merged over that stage's params. Throws NotFoundError, ConflictError, InvalidInputError. */
  fork(input: { readonly pipelineId: PipelineId; readonly fromStage: string; readonly overrides: Record<string, Json> | null; readonly by: string; readonly audit?: AuditRow }): Promise<Committed>;
  /** Throws NotFoundError (pipeline or stage) or ConflictError (not in a state that allows it). */
  order(order: UserOrder, audit?: AuditRow): Promise<Committed>;
  /** Why a PENDING or QUEUED stage is not running, in words; empty otherwise. */
  waitReasons(pipelineId: PipelineId, stage: string): Promise<readonly string[]>;
  /** Drain: no new work for the agent, running attempts go on. Takes effect with its next renewal. */
  drainAgent(agentId: string, draining: boolean): Promise<void>;
  /** Orders a checkpoint's files to be deleted on the agent that holds them. Refuses pinned ones with ConflictError. */
  deleteCheckpoint(checkpointId: string): Promise<void>;
}

/** Tells readers that there is something new; carries no data, may wake in vain, and is also rung once a second while anything listens. Topics: see `TOPICS`. */
export interface Wakeups {
  listen(topic: string, wake: () => void): () => void;
  wake(topics: readonly string[]): void;
}
export const TOPICS = {
  /** New state events anywhere. */
  events: "events",
  /** New metric points, log chunks or progress of a stage. */
  telemetry: (stageId: string) => `telemetry:${stageId}`,
  /** Something new found wrong with a training of a pipeline. */
  anomalies: (pipelineId: string) => `anomalies:${pipelineId}`,
  /** New orders for an agent. */
  orders: (agentId: string) => `orders:${agentId}`,
} as const;
