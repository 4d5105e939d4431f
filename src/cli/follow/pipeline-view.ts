// What a watcher knows of one pipeline: a snapshot from the API, moved on by the events that come after it.
//   V1. A view made from a snapshot at cursor c and all events after c shows the same as a newer snapshot.
//   V2. An event seen before (by seq) changes nothing: streams that overlap are harmless.

export interface ViewError {
  readonly code: string;
  readonly message: string;
  readonly hint: string | null;
  readonly logTail: readonly string[];
}

export interface StageProgress { readonly step: number; readonly totalSteps: number | null; readonly etaSeconds: number | null }
export interface NewestMetric { readonly step: number; readonly value: number | null; readonly nonFinite: string | null }

/** Something found wrong with a train stage. */
export interface AnomalyView {
  readonly id: string; readonly kind: string; readonly severity: string; readonly step: number | null; readonly message: string; readonly action: string; readonly would: string | null; readonly createdAt: string;
}

export interface StageView {
  readonly id: string;
  readonly name: string;
  readonly kind: string;
  readonly dependsOn: readonly string[];
  status: string;
  attempt: number | null;
  agent: string | null;
  startedAt: string | null;
  finishedAt: string | null;
  outputs: Readonly<Record<string, unknown>> | null;
  error: ViewError | null;
  /** Why it was skipped, waits for approval, or will be tried again. */
  remark: string | null;
  /** Filled in by whoever polls (telemetry-poll.ts). */
  progress: StageProgress | null;
  waitReasons: readonly string[];
  readonly metrics: Map<string, NewestMetric>;
  /** A stand-in runs that trains nothing, or it works on what one left. */
  simulated: boolean;
  /** Oldest first; added to by whoever follows them (anomaly-follower.ts). */
  readonly anomalies: AnomalyView[];
}

export interface PipelineView {
  readonly id: string;
  readonly name: string;
  status: string;
  error: string | null;
  createdAt: string;
  startedAt: string | null;
  finishedAt: string | null;
  /** Newest event that is in. */
  cursor: string;
  seq: number;
  readonly stages: Map<string, StageView>;
}

export const ANOMALY_VIEW = "id kind severity step message action would createdAt";

/** The fields of a Pipeline that `viewOf` reads. */
export const PIPELINE_SNAPSHOT = `
  id name status error createdAt startedAt finishedAt head
  stages {
    id name kind dependsOn status simulated startedAt finishedAt outputs reason
    error { code message hint logTail }
    progress { step totalSteps etaSeconds }
    attempts { number status agent { name } }
    trainingJob { id anomalies { ${ANOMALY_VIEW} } }
  }`;

export interface PipelineSnapshot {
  readonly id: string; readonly name: string; readonly status: string; readonly error: string | null;
  readonly createdAt: string; readonly startedAt: string | null; readonly finishedAt: string | null; readonly head: string;
  readonly stages: readonly StageSnapshot[];
}
interface StageSnapshot {
  readonly id: string; readonly name: string; readonly kind: string; readonly dependsOn: readonly string[]; readonly status: string; readonly simulated?: boolean;
  readonly startedAt: string | null; readonly finishedAt: string | null; readonly outputs: Record<string, unknown> | null; readonly reason: string | null;
  readonly error: ViewError | null; readonly progress: StageProgress | null;
  readonly attempts: readonly { readonly number: number; readonly status: string; readonly agent: { readonly name: string } | null }[];
  readonly trainingJob?: { readonly id: string; readonly anomalies: readonly AnomalyView[] } | null;
}

/** One item of Subscription.pipelineEvents that is an event. */
export interface ApiEvent {
  readonly cursor: string;
  readonly pipelineId: string;
  readonly seq: number;
  readonly type: string;
  readonly stage: string | null;
  readonly payload: Readonly<Record<string, unknown>>;
  readonly at: string;
}

export function viewOf(snapshot: PipelineSnapshot): PipelineView {
  const { id, name, status, error, createdAt, startedAt, finishedAt, head } = snapshot;
  return { id, name, status, error, createdAt, startedAt, finishedAt, cursor: head, seq: 0, stages: new Map(snapshot.stages.map((stage) => [stage.name, stageOf(stage)])) };
}

function stageOf({ attempts, reason, trainingJob, ...stage }: StageSnapshot): StageView {
  const newest = attempts.reduce<StageSnapshot["attempts"][number] | null>((best, attempt) => (attempt.number > (best?.number ?? 0) ? attempt : best), null);
  return { ...stage, attempt: newest?.number ?? null, agent: newest?.agent?.name ?? null, remark: reason, waitReasons: [], metrics: new Map(), simulated: stage.simulated === true, anomalies: [...(trainingJob?.anomalies ?? [])] };
}

/** Takes an anomaly of a stage in. False when it was in already. */
export function applyAnomaly(view: PipelineView, stage: string, anomaly: AnomalyView): boolean {
  const found = view.stages.get(stage);
  if (found === undefined || found.anomalies.some(({ id }) => id === anomaly.id)) return false;
  found.anomalies.push(anomaly);
  return true;
}

/** Moves the view on. False when the event was in already (V2). */
export function applyEvent(view: PipelineView, event: ApiEvent): boolean {
  if (event.seq <= view.seq) return false;
  view.seq = event.seq;
  view.cursor = event.cursor;
  const stage = event.stage === null ? null : (view.stages.get(event.stage) ?? null);
  if (stage !== null) applyToStage(stage, event);
  else applyToPipeline(view, event);
  return true;
}

function applyToPipeline(view: PipelineView, { type, at, payload }: ApiEvent): void {
  switch (type) {
    case "PipelineStarted":
      Object.assign(view, { status: "RUNNING", startedAt: view.startedAt ?? at });
      break;
    case "PipelinePaused": view.status = "PAUSED"; break;
    case "PipelineResumed": view.status = "RUNNING"; break;
    case "PipelineRetried":
      Object.assign(view, { status: "RUNNING", finishedAt: null, error: null });
      break;
    case "PipelineCompleted": Object.assign(view, { status: "COMPLETED", finishedAt: at }); break;
    case "PipelineFailed": Object.assign(view, { status: "FAILED", finishedAt: at, error: text(payload["error"]) }); break;
    case "PipelineCancelled": Object.assign(view, { status: "CANCELLED", finishedAt: at }); break;
  }
}

function applyToStage(stage: StageView, { type, at, payload }: ApiEvent): void {
  const failure = payload["failure"] as ViewError | undefined;
  switch (type) {
    case "StageReset": case "StageQueued":
      if (type === "StageReset" || stage.status !== "RUNNING") Object.assign(stage, { startedAt: null });
      Object.assign(stage, { status: type === "StageReset" ? "PENDING" : "QUEUED", finishedAt: null, error: type === "StageReset" ? null : stage.error, progress: null });
      if (type === "StageReset") stage.remark = null;
      break;
    case "AttemptOffered": {
      const members = payload["members"] as readonly { agentName?: string }[] | undefined;
      Object.assign(stage, { attempt: Number(payload["number"]), agent: members?.[0]?.agentName ?? null, waitReasons: [] });
      break;
    }
    case "AttemptStarted":
      Object.assign(stage, { status: "RUNNING", attempt: Number(payload["number"]), agent: text(payload["agentName"]) ?? stage.agent, startedAt: at, finishedAt: null, remark: null, error: null, waitReasons: [] });
      break;
    case "AttemptFailed": case "AttemptLost":
      stage.remark = failure === undefined ? null : `attempt ${String(payload["number"])}: ${failure.code}${payload["rolledBackTo"] == null ? "" : `, back to step ${String(payload["rolledBackTo"])}`}`;
      break;
    case "StageWaitingApproval": Object.assign(stage, { status: "WAITING_APPROVAL", startedAt: at, remark: text(payload["message"]) }); break;
    case "StagePaused": Object.assign(stage, { status: "PAUSED", remark: text(payload["reason"]) }); break;
    case "StageCompleted": case "StageReused":
      Object.assign(stage, { status: "COMPLETED", finishedAt: at, outputs: payload["outputs"] ?? {}, simulated: stage.simulated || (payload["outputs"] as StageView["outputs"])?.["simulated"] === true, error: null, remark: type === "StageReused" ? "taken over" : null });
      break;
    case "StageFailed": Object.assign(stage, { status: "FAILED", finishedAt: at, error: failure ?? null, remark: null }); break;
    case "StageCancelled": Object.assign(stage, { status: "CANCELLED", finishedAt: at, remark: text(payload["reason"]) }); break;
    case "StageSkipped": Object.assign(stage, { status: "SKIPPED", finishedAt: at, remark: text(payload["reason"]) }); break;
  }
}

/** How many stages are in each status. */
export function countsOf(view: PipelineView): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { status } of view.stages.values()) counts[status] = (counts[status] ?? 0) + 1;
  return counts;
}

function text(value: unknown): string | null {
  return typeof value === "string" && value !== "" ? value : null;
}
