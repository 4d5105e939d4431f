// The tables as Kysely sees them; migrations/*.sql say what each column means. Times are Date, bigint columns are number (db/database.ts parses them: all
// of ours stay below 2^53).

import type { ColumnType, Generated } from "kysely";
import type { DatasetColumn, DatasetStatistics } from "../domain/data/dataset.js";
import type { DataFormat, DataTask } from "../domain/data/preprocess-params.js";
import type { ScoreInterval } from "../domain/evaluation/score-interval.js";
import type { AgentId, AnomalyId, AttemptId, CheckpointId, DatasetId, DeliveryId, EvaluationId, PipelineId, SessionId, SshHostId, StageId, TokenId, UploadId, WebhookId } from "../domain/ids.js";
import type { PipelineEventType } from "../domain/pipeline/events.js";
import type { PipelineSpec, StageKind } from "../domain/pipeline/spec.js";
import type { AttemptStatus, Failure, Json, Member, PipelineStatus, StageState, StageStatus } from "../domain/pipeline/state.js";
import type { SampleSource, SampleVerdict } from "../domain/samples.js";
import type { Algorithm } from "../domain/training/algorithms.js";
import type { AnomalyKind, AnomalySeverity } from "../domain/training/health/anomaly.js";
import type { AnomalyAction } from "../domain/training/health/decide-action.js";
import type { HealthState } from "../domain/training/health/health-state.js";
import type { DeploymentStep } from "../domain/deployment-step.js";
import type { WebhookFormat } from "../domain/webhooks/formats.js";
import type { Notice, WebhookEvent } from "../domain/webhooks/notice.js";
import type { Assignment, GpuReport, Order, Pool } from "../protocol/messages.js";

/** A jsonb column: read as T, written as JSON text. */
type JsonColumn<T> = ColumnType<T, string, string>;
type NullableJson<T> = ColumnType<T | null, string | null, string | null>;
type Labels = Record<string, string | number | boolean>;

export interface Database {
  pipelines: {
    id: PipelineId; name: string; status: PipelineStatus; labels: JsonColumn<Labels>; spec: JsonColumn<PipelineSpec>; seq: number; stage_count: number;
    cancelling: NullableJson<{ reason: string }>; forked_from: PipelineId | null; error: string | null; created_by: string;
    created_at: Date; started_at: Date | null; finished_at: Date | null;
  };
  stages: {
    id: StageId; pipeline_id: PipelineId; position: number; name: string; kind: StageKind; queue: string; priority: number; status: StageStatus;
    phase: JsonColumn<StageState>; timer_at: Date | null;
  };
  event_counter: { one: Generated<boolean>; position: number };
  events: { position: number; pipeline_id: PipelineId; seq: number; type: PipelineEventType; stage: string | null; payload: JsonColumn<Record<string, Json>>; at: Date };
  attempts: {
    id: AttemptId; stage_id: StageId; pipeline_id: PipelineId; number: number; status: AttemptStatus; agent_id: AgentId; members: JsonColumn<Member[]>;
    command: NullableJson<string[]>; error: NullableJson<Failure>; offered_at: Date; started_at: Date | null; finished_at: Date | null;
  };
  assignments: {
    attempt_id: AttemptId; agent_id: AgentId; pipeline_id: PipelineId; stage: string; fence: number; rank: number; silence_limit_seconds: number | null; status: "OFFERED" | "RUNNING";
    body: JsonColumn<Assignment>; stop: NullableJson<Extract<Order, { type: "stop" }>>; offered_at: Date; published_at: Date; lease_renewed_at: Date; active_at: Date | null;
  };
  gpu_holds: { agent_id: AgentId; gpu_index: number; attempt_id: AttemptId };
  agents: {
    id: AgentId; name: string; session_id: SessionId | null; instance: string | null; epoch: string | null; watermark: Generated<number>;
    pools: JsonColumn<Pool[]>; capabilities: JsonColumn<string[]>; labels: JsonColumn<Labels>; gpus: JsonColumn<GpuReport[]>; versions: JsonColumn<Record<string, string | null>>;
    run_mode: "LOCAL" | "SSH"; address: string | null; token_id: TokenId | null; draining: Generated<boolean>; stopping: Generated<boolean>;
    connected_at: Date | null; last_heartbeat_at: Date | null; closed_at: Date | null;
  };
  roles: { name: "dispatcher" | "caretaker"; epoch: Generated<number>; holder: string | null; seen_at: Date | null };
  metric_series: { id: Generated<number>; stage_id: StageId; attempt: number; name: string; first_step: number };
  metric_points: { series_id: number; step: number; at: Date; value: number; batch: number };
  metric_blocks: {
    series_id: number; block: number; batch: number; points: number; non_finite: number; first_step: number;
    min_value: number | null; min_step: number | null; min_at: Date | null; max_value: number | null; max_step: number | null; max_at: Date | null;
    last_step: number; last_value: number; last_at: Date; non_finite_value: number | null; non_finite_step: number | null; non_finite_at: Date | null;
  };
  stage_telemetry: {
    stage_id: StageId; batch: number; log_length: Generated<number>; log_stored_to: Generated<number>; log_stored_bytes: Generated<number>; log_limited: Generated<boolean>;
    attempt: number | null; step: number | null; total_steps: number | null; pace: number | null; since: Date | null; advanced_at: Date | null;
  };
  log_sources: { stage_id: StageId; attempt: number; agent_id: AgentId; length: number };
  log_chunks: { stage_id: StageId; from_byte: number; to_byte: number; skipped_bytes: Generated<number>; attempt: number; data: Buffer; at: Date };
  checkpoints: {
    id: CheckpointId; stage_id: StageId; pipeline_id: PipelineId; attempt_id: AttemptId; attempt: number; agent_id: AgentId; step: number; path: string;
    size_bytes: number | null; metrics: JsonColumn<Record<string, Json>>; pinned: Generated<boolean>; delete_ordered_at: Date | null; delete_error: string | null;
    deleted_at: Date | null; created_at: Date;
  };
  evaluations: {
    id: EvaluationId; stage_id: StageId; pipeline_id: PipelineId; attempt_id: AttemptId; checkpoint_id: CheckpointId | null; dataset: string | null;
    scores: JsonColumn<Record<string, number>>; sample_count: number; intervals: JsonColumn<Record<string, ScoreInterval>>; errors: number | null; simulated: Generated<boolean>; created_at: Date;
  };
  diagnoses: { attempt_id: AttemptId; cause: string; evidence: JsonColumn<string[]>; suggestion: string; created_at: Date };
  training_jobs: { stage_id: StageId; pipeline_id: PipelineId; algorithm: Algorithm; model: string; simulated: boolean; created_at: Date };
  training_health: { stage_id: StageId; state: JsonColumn<HealthState> };
  anomalies: {
    id: AnomalyId; position: Generated<number>; stage_id: StageId; pipeline_id: PipelineId; attempt: number; key: string; kind: AnomalyKind; severity: AnomalySeverity; step: number | null; metric: string | null;
    value: number | null; threshold: number | null; message: string; suggestion: string; action: AnomalyAction; would: AnomalyAction | null; reason: string; created_at: Date;
  };
  sample_sets: {
    id: Generated<number>; stage_id: StageId; attempt: number; source: SampleSource; step: number | null; kept: Generated<number>; left_out: Generated<number>; size_bytes: Generated<number>;
    correct: Generated<number>; wrong: Generated<number>; errors: Generated<number>; unscored: Generated<number>;
  };
  samples: { set_id: number; position: number; key: string; prompt: string; output: string; truth: string | null; score: number | null; error: string | null; verdict: SampleVerdict };
  dataset_names: { name: string; versions: number };
  datasets: {
    id: DatasetId; name: string; version: number; content_hash: string; format: DataFormat; rows: number; unreadable_rows: Generated<number>; size_bytes: number; columns: JsonColumn<DatasetColumn[]>;
    statistics: NullableJson<DatasetStatistics>; sample: JsonColumn<Json[]>; tasks: DataTask[]; made_by_pipeline: PipelineId | null; made_by_stage: StageId | null;
    made_by_attempt: AttemptId | null; created_by: string; created_at: Date;
  };
  dataset_files: {
    dataset_id: DatasetId; agent_id: Generated<AgentId | "">; path: string; stage_id: StageId | null; attempt_id: AttemptId | null; changed_ms: number | null; seen_at: Date;
  };
  dataset_reads: { attempt_id: AttemptId; content_hash: string; stage_id: StageId; pipeline_id: PipelineId; path: string; size_bytes: number; read_at: Date };
  uploads: { id: UploadId; name: string; size_bytes: number; content_hash: string; created_by: string; created_at: Date };
  retention_marks: { what: "points" | "logs" | "samples" | "events"; finished_at: Date; pipeline_id: string; position: number };
  webhooks: { id: WebhookId; name: string; format: WebhookFormat; events: WebhookEvent[]; sealed: string; shown_url: string; created_by: string; created_at: Date };
  webhook_deliveries: {
    id: DeliveryId; position: Generated<number>; webhook_id: WebhookId; key: string; event: WebhookEvent | "test"; notice: JsonColumn<Notice>; tries: Generated<number>; next_at: Date; delivered_at: Date | null; dead_at: Date | null;
    last_error: string | null; created_at: Date;
  };
  tokens: {
    id: TokenId; name: string; role: "viewer" | "operator" | "admin" | "agent"; hash: string; agent_name: string | null; created_by: string; created_at: Date;
    expires_at: Date | null; last_used_at: Date | null; revoked_at: Date | null;
  };
  ssh_hosts: {
    id: SshHostId; name: string; host: string; port: number; username: string; credential: "key" | "key-file" | "password" | "agent"; sealed_secret: string | null; key_path: string | null;
    sealed_passphrase: string | null; jump_host_id: SshHostId | null; working_directory: string; python_environment: string | null; command_prefix: string[]; sealed_environment: string | null;
    environment_names: string[]; host_key_type: string; host_key_fingerprint: string; alarm_at: Date | null; alarm_fingerprint: string | null; created_by: string; created_at: Date;
    served_by: Generated<"ssh" | "agent">;
  };
  host_deployments: {
    host_id: SshHostId; kind: "DEPLOY" | "REMOVE"; parameters: JsonColumn<Record<string, Json>>; state: "WORKING" | "DONE" | "FAILED"; ordered_by: string; ordered_at: Date; steps: JsonColumn<DeploymentStep[]>;
    error: NullableJson<{ code: string; message: string }>; notes: Generated<string[]>; carrier: string | null; carrier_seen_at: Date | null; release: string | null; version: string | null;
    supervision: "SYSTEMD" | "SUPERVISED" | null; running_since: Date | null; token_id: TokenId | null;
  };
  audit: {
    id: Generated<number>; at: Generated<Date>; actor: string; token_id: TokenId | null; role: string | null; action: string; subject: string | null;
    input: JsonColumn<Json>; outcome: "ACCEPTED" | "REFUSED"; code: string | null; request_id: string | null; address: string | null;
  };
  request_ids: { token_id: TokenId; request_id: string; action: string; input_hash: string; pipeline_id: PipelineId; created_at: Generated<Date> };
}
