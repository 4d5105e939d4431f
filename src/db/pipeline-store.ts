// The pipelines in Postgres: loading a state, and appending what followed from a batch of commands, however many pipelines it touches, in two statements.
//   S1. A writer holds the row lock of every pipeline it appends to, and has compared its seq: what it decided on is what is stored.
//   S2. Events are unique on (pipeline, seq) and dense in position over all pipelines, in commit order: the counter is taken in the statement that commits.
//   S3. Stage rows are the snapshot: they change in the transaction of the events that changed them. What the graph tells anyway (waitingFor) is derived.

import type pg from "pg";
import type { AgentId, AttemptId, PipelineId, StageId } from "../domain/ids.js";
import { buildDag } from "../domain/pipeline/dag.js";
import type { PipelineEvent } from "../domain/pipeline/events.js";
import { queueOf, type PipelineSpec } from "../domain/pipeline/spec.js";
import { StageTable } from "../domain/pipeline/stage-table.js";
import { STAGE_STATUSES, nextTimerAt, type AttemptStatus, type Failure, type Json, type Member, type PipelineState, type PipelineStatus, type StageState, type StageStatus } from "../domain/pipeline/state.js";
import { failpoint } from "../failpoints.js";
import type { Assignment, Order } from "../protocol/messages.js";

type Client = Pick<pg.PoolClient, "query">;

export interface NewAttempt { id: AttemptId; stage_id: StageId; pipeline_id: PipelineId; number: number; agent_id: AgentId; members: readonly Member[]; offered_at: Date }
export interface AttemptChange { id: AttemptId; status: AttemptStatus | null; command: readonly string[] | null; error: Failure | null; started_at: Date | null; finished_at: Date | null }
export interface NewAssignment {
  attempt_id: AttemptId; agent_id: AgentId; pipeline_id: PipelineId; stage: string; fence: number; rank: number; silence_limit_seconds: number | null; body: Assignment; gpus: readonly number[]; offered_at: Date;
}
export interface AssignmentChange { attempt_id: AttemptId; agent_id: AgentId; status: "RUNNING" | null; stop: Extract<Order, { type: "stop" }> | null }

/** A row of the audit trail, ready to be stored: nothing secret in it. */
export interface AuditRow { actor: string; token_id: string | null; role: string | null; action: string; subject: string | null; input: Json; request_id: string | null; address: string | null }

/** Everything a batch changes besides telemetry. */
export interface Append {
  readonly created: readonly { readonly state: PipelineState; readonly by: string }[];
  readonly changed: readonly { readonly state: PipelineState; readonly stages: ReadonlySet<number> }[];
  readonly events: readonly { readonly pipelineId: PipelineId; readonly seq: number; readonly event: PipelineEvent }[];
  readonly attempts: readonly NewAttempt[];
  readonly attemptChanges: readonly AttemptChange[];
  readonly assignments: readonly NewAssignment[];
  readonly assignmentChanges: readonly AssignmentChange[];
  readonly released: readonly { attempt_id: AttemptId; agent_id: AgentId }[];
  readonly watermarks: readonly { id: AgentId; watermark: number }[];
  /** Orders of users that were accepted. */
  readonly audits: readonly AuditRow[];
}

/** Locks pipelines in the order of their ids and answers their seq. With `skipLocked`, those that another transaction holds are left out. */
export async function lockPipelines(client: Client, ids: readonly PipelineId[], skipLocked = false): Promise<Map<PipelineId, number>> {
  if (ids.length === 0) return new Map();
  const { rows } = await client.query<{ id: PipelineId; seq: number }>({
    name: skipLocked ? "lock-pipelines-free" : "lock-pipelines",
    text: `select id, seq from pipelines where id = any($1::text[]) order by id for update${skipLocked ? " skip locked" : ""}`,
    values: [ids],
  });
  return new Map(rows.map((row) => [row.id, row.seq]));
}

/** The stored state of a pipeline; null when there is none. */
export async function loadPipeline(client: Client, id: PipelineId): Promise<PipelineState | null> {
  return (await loadPipelines(client, [id])).get(id) ?? null;
}

/** The stored states of pipelines, those that exist. */
export async function loadPipelines(client: Client, ids: readonly PipelineId[]): Promise<Map<PipelineId, PipelineState>> {
  const states = new Map<PipelineId, PipelineState>();
  if (ids.length === 0) return states;
  interface Row { id: PipelineId; spec: PipelineSpec; status: PipelineStatus; seq: number; cancelling: { reason: string } | null; forked_from: PipelineId | null; error: string | null; created_at: Date; started_at: Date | null; finished_at: Date | null }
  const pipelines = await client.query<Row>({ name: "load-pipelines", text: "select id, spec, status, seq, cancelling, forked_from, error, created_at, started_at, finished_at from pipelines where id = any($1::text[])", values: [ids] });
  const stages = await client.query<{ pipeline_id: PipelineId; phase: StageState }>({ name: "load-stages", text: "select pipeline_id, phase from stages where pipeline_id = any($1::text[]) order by pipeline_id, position", values: [ids] });
  const phases = new Map<PipelineId, StageState[]>();
  for (const row of stages.rows) {
    const list = phases.get(row.pipeline_id);
    if (list === undefined) phases.set(row.pipeline_id, [row.phase]);
    else list.push(row.phase);
  }
  for (const row of pipelines.rows) states.set(row.id, stateOf(row, phases.get(row.id) ?? []));
  return states;

  function stateOf(row: Row, stored: StageState[]): PipelineState {
    const dag = buildDag(row.spec.stages);
    const derived = stored.map((stage, index): StageState => (stage.status === "PENDING" ? { ...stage, waitingFor: dag.needs[index]!.filter((need) => stored[need]!.status !== "COMPLETED").length } : stage));
    const counts = Object.fromEntries(STAGE_STATUSES.map((status) => [status, 0])) as Record<StageStatus, number>;
    for (const stage of derived) counts[stage.status]++;
    return {
      id: row.id, spec: row.spec, dag, status: row.status, seq: row.seq, stages: StageTable.of(derived), counts, cancelling: row.cancelling, forkedFrom: row.forked_from, error: row.error,
      createdAt: row.created_at.getTime(), startedAt: row.started_at?.getTime() ?? null, finishedAt: row.finished_at?.getTime() ?? null,
    };
  }
}

/** Writes a batch; answers the position of its last event (null without events). What ends is written before what begins: a GPU or a stage's one live attempt
 *  may pass to the next within a batch, and both are guarded by unique indexes. */
export async function append(client: Client, batch: Append): Promise<number | null> {
  if (batch.attemptChanges.length + batch.assignmentChanges.length + batch.released.length > 0) {
    await client.query({ name: "append-ends", text: APPEND_ENDS, values: [batch.attemptChanges, batch.assignmentChanges, batch.released].map((rows) => JSON.stringify(rows)) });
    failpoint("mid-batch");
  }
  const { rows } = await client.query<{ last: number | null }>({ name: "append", text: APPEND, values: valuesOf(batch) });
  return rows[0]?.last ?? null;
}

function valuesOf(batch: Append): (string | number)[] {
  const pipelines = batch.created.map(({ state, by }) => ({
    id: state.id, name: state.spec.name, status: state.status, labels: state.spec.labels, spec: state.spec, seq: state.seq, stage_count: state.stages.length, forked_from: state.forkedFrom, created_by: by,
    created_at: time(state.createdAt), started_at: time(state.startedAt), finished_at: time(state.finishedAt), error: state.error,
  }));
  const newStages = batch.created.flatMap(({ state }) => state.spec.stages.map((spec, position) => {
    const stage = state.stages.at(position);
    return { id: stage.id, pipeline_id: state.id, position, name: spec.name, kind: spec.kind, queue: queueOf(spec), priority: spec.priority, status: stage.status, phase: stage, timer_at: time(nextTimerAt(stage, spec)) };
  }));
  const changes = batch.changed.map(({ state }) => ({
    id: state.id, status: state.status, seq: state.seq, cancelling: state.cancelling, error: state.error, started_at: time(state.startedAt), finished_at: time(state.finishedAt),
  }));
  const stageChanges = batch.changed.flatMap(({ state, stages }) => [...stages].map((position) => {
    const stage = state.stages.at(position);
    return { id: stage.id, status: stage.status, phase: stage, timer_at: time(nextTimerAt(stage, state.spec.stages[position]!)) };
  }));
  const events = batch.events.map(({ pipelineId, seq, event }, index) => {
    const { type, at, stage = null, ...payload } = event as PipelineEvent & { readonly stage?: string };
    if (event.type === "PipelineSubmitted") Object.assign(payload, { spec: undefined, stageIds: undefined, name: event.spec.name, stages: event.stageIds.length });
    return { i: index + 1, pipeline_id: pipelineId, seq, type, stage, payload, at: time(at) };
  });
  const gpus = batch.assignments.flatMap((row) => row.gpus.map((gpu) => ({ agent_id: row.agent_id, gpu_index: gpu, attempt_id: row.attempt_id })));
  const jobs = batch.created.flatMap(({ state }) => state.spec.stages.flatMap((spec, position) => (spec.kind !== "train" ? [] : [{
    stage_id: state.stages.at(position).id, pipeline_id: state.id, algorithm: spec.params["algorithm"], model: spec.params["model"], simulated: spec.params["simulate"] === true, created_at: time(state.createdAt),
  }])));
  return [...[pipelines, newStages, changes, stageChanges, batch.attempts, batch.assignments, gpus, batch.watermarks, events].map((rows) => JSON.stringify(rows)), events.length, JSON.stringify(batch.audits), JSON.stringify(jobs)];
}

function time(ms: number | null): string | null {
  return ms === null ? null : new Date(ms).toISOString();
}

const APPEND_ENDS = `
with changed_attempts as (
  update attempts a set status = coalesce(x.status, a.status), command = coalesce(x.command, a.command), error = coalesce(x.error, a.error),
    started_at = coalesce(a.started_at, x.started_at), finished_at = coalesce(x.finished_at, a.finished_at)
  from json_to_recordset($1::json) as x (id text, status text, command jsonb, error jsonb, started_at timestamptz, finished_at timestamptz)
  where a.id = x.id
), changed_assignments as (
  update assignments a set status = coalesce(x.status, a.status), stop = coalesce(x.stop, a.stop)
  from json_to_recordset($2::json) as x (attempt_id text, agent_id text, status text, stop jsonb)
  where a.attempt_id = x.attempt_id and a.agent_id = x.agent_id
)
delete from assignments a using json_to_recordset($3::json) as x (attempt_id text, agent_id text)
where a.attempt_id = x.attempt_id and a.agent_id = x.agent_id`;

const APPEND = `
with new_pipelines as (
  insert into pipelines (id, name, status, labels, spec, seq, stage_count, forked_from, created_by, created_at, started_at, finished_at, error)
  select * from json_to_recordset($1::json) as x (id text, name text, status text, labels jsonb, spec jsonb, seq bigint, stage_count integer, forked_from text, created_by text,
    created_at timestamptz, started_at timestamptz, finished_at timestamptz, error text)
), new_stages as (
  insert into stages (id, pipeline_id, position, name, kind, queue, priority, status, phase, timer_at)
  select * from json_to_recordset($2::json) as x (id text, pipeline_id text, position integer, name text, kind text, queue text, priority integer, status text, phase jsonb, timer_at timestamptz)
), new_jobs as (
  insert into training_jobs (stage_id, pipeline_id, algorithm, model, simulated, created_at)
  select * from json_to_recordset($12::json) as x (stage_id text, pipeline_id text, algorithm text, model text, simulated boolean, created_at timestamptz)
), changed_pipelines as (
  update pipelines p set status = x.status, seq = x.seq, cancelling = x.cancelling, error = x.error, started_at = x.started_at, finished_at = x.finished_at
  from json_to_recordset($3::json) as x (id text, status text, seq bigint, cancelling jsonb, error text, started_at timestamptz, finished_at timestamptz)
  where p.id = x.id
), changed_stages as (
  update stages s set status = x.status, phase = x.phase, timer_at = x.timer_at
  from json_to_recordset($4::json) as x (id text, status text, phase jsonb, timer_at timestamptz)
  where s.id = x.id
), new_attempts as (
  insert into attempts (id, stage_id, pipeline_id, number, status, agent_id, members, offered_at)
  select id, stage_id, pipeline_id, number, 'OFFERED', agent_id, members, offered_at
  from json_to_recordset($5::json) as x (id text, stage_id text, pipeline_id text, number integer, agent_id text, members jsonb, offered_at timestamptz)
), new_assignments as (
  insert into assignments (attempt_id, agent_id, pipeline_id, stage, fence, rank, silence_limit_seconds, status, body, offered_at, published_at, lease_renewed_at)
  select attempt_id, agent_id, pipeline_id, stage, fence, rank, silence_limit_seconds, 'OFFERED', body, offered_at, offered_at, now()
  from json_to_recordset($6::json) as x (attempt_id text, agent_id text, pipeline_id text, stage text, fence integer, rank integer, silence_limit_seconds double precision, body jsonb, offered_at timestamptz)
), new_holds as (
  insert into gpu_holds (agent_id, gpu_index, attempt_id)
  select * from json_to_recordset($7::json) as x (agent_id text, gpu_index integer, attempt_id text)
), watermarks as (
  update agents a set watermark = x.watermark from json_to_recordset($8::json) as x (id text, watermark bigint) where a.id = x.id
), counter as (
  update event_counter set position = position + $10::bigint where $10::bigint > 0 returning position
), new_events as (
  insert into events (position, pipeline_id, seq, type, stage, payload, at)
  select counter.position - $10::bigint + x.i, x.pipeline_id, x.seq, x.type, x.stage, x.payload, x.at
  from counter, json_to_recordset($9::json) as x (i bigint, pipeline_id text, seq bigint, type text, stage text, payload jsonb, at timestamptz)
), audits as (
  insert into audit (actor, token_id, role, action, subject, input, outcome, request_id, address)
  select actor, token_id, role, action, subject, input, 'ACCEPTED', request_id, address
  from json_to_recordset($11::json) as x (actor text, token_id text, role text, action text, subject text, input jsonb, request_id text, address text)
)
select position as last from counter`;
