// The actors as the rest of the server sees them: users' orders become commands, answers come after the commit.

import { createHash } from "node:crypto";
import type pg from "pg";
import { loadPipeline, type AuditRow } from "../db/pipeline-store.js";
import { markOrdered } from "../db/telemetry/checkpoints.js";
import type { Db } from "../db/database.js";
import { ConflictError, InvalidInputError, NotFoundError } from "../domain/errors.js";
import { newId, type AgentId, type CheckpointId, type PipelineId, type StageId } from "../domain/ids.js";
import { descendantsOf } from "../domain/pipeline/dag.js";
import type { PipelineSpec } from "../domain/pipeline/spec.js";
import { TERMINAL_STAGE, findStage, type Json, type Outputs, type PipelineState } from "../domain/pipeline/state.js";
import { validateSpec } from "../domain/pipeline/validate.js";
import type { Order } from "../protocol/messages.js";
import { setDraining } from "./agent-gateway.js";
import { TOPICS, type Committed, type ControlPlane, type RequestKey, type UserOrder, type Wakeups } from "./control-plane.js";
import type { Claim } from "./batch.js";
import { trainingProblems } from "./preflight/training-preflight.js";
import type { Engine } from "./engine.js";

export interface PipelinesOptions {
  readonly pool: pg.Pool;
  readonly db: Db;
  readonly engine: Engine;
  readonly wakeups: Wakeups;
  /** Reasons of a queued stage as the scheduler saw them; null when it is not known to wait. */
  readonly explain: (stageId: StageId) => Promise<readonly string[] | null>;
  readonly agentsChanged: () => void;
  /** Hands orders to the agents' fast link. */
  readonly publish: (orders: ReadonlyMap<AgentId, readonly Order[]>) => void;
}

export function createControlPlane(options: PipelinesOptions): ControlPlane {
  const { pool, db, engine } = options;
  const asked = new Map<PipelineId, Promise<PipelineState>>();

  const create = (input: { spec: PipelineSpec; by: string; request: RequestKey | null; audit?: AuditRow; forkedFrom: PipelineId | null; reuse: ReadonlyMap<string, { fromStageId: StageId; outputs: Outputs }> }): Promise<Committed> => {
    const at = Date.now();
    const pipelineId = newId("pip", at);
    const stageIds = input.spec.stages.map(() => newId("stg", at));
    return engine.command(
      pipelineId,
      { type: "SubmitPipeline", at, by: input.by, reason: "", pipelineId, spec: input.spec, stageIds, forkedFrom: input.forkedFrom, reuse: input.reuse },
      { ...(input.request === null ? {} : { claim: claimOf(input.request, hashOf(input.spec), pipelineId) }), ...auditOf(input.audit) },
    );
  };

  return {
    submit: (input) => create({ ...input, forkedFrom: null, reuse: new Map() }),

    async fork({ pipelineId, fromStage, overrides, by, audit }) {
      const parent = await read(pool, pipelineId);
      const found = findStage(parent, fromStage);
      if (found === null) throw new NotFoundError(`stage of pipeline ${pipelineId} named`, fromStage);
      const again = descendantsOf(parent.dag, found.index).add(found.index);
      const reuse = new Map<string, { fromStageId: StageId; outputs: Outputs }>();
      parent.dag.names.forEach((name, index) => {
        const stage = parent.stages.at(index);
        if (!again.has(index) && stage.status === "COMPLETED") reuse.set(name, { fromStageId: stage.id, outputs: stage.outputs });
      });
      const stages = parent.spec.stages.map((stage, index) => (index === found.index && overrides !== null ? { ...stage, params: merge(stage.params, overrides) } : stage));
      const { spec, problems } = validateSpec({ ...parent.spec, stages });
      const wrong = spec === null ? problems : (await trainingProblems(db, spec, (name) => reuse.get(name)?.outputs ?? null, (index) => !reuse.has(parent.dag.names[index]!))).filter((problem) => problem.severity === "ERROR");
      if (spec === null || wrong.length > 0) throw new InvalidInputError(`The overrides make stage "${fromStage}" invalid: ${wrong[0]?.message ?? ""}`, wrong);
      return create({ spec, by, request: null, forkedFrom: pipelineId, reuse, ...auditOf(audit) });
    },

    order({ pipelineId, ...command }: UserOrder, audit?: AuditRow) {
      return engine.command(pipelineId, { ...command, at: Date.now() } as Parameters<Engine["command"]>[1], auditOf(audit));
    },

    async waitReasons(pipelineId, name) {
      // Asked for all stages of a pipeline at once, it reads the pipeline once.
      const reading = asked.get(pipelineId) ?? read(pool, pipelineId).finally(() => asked.delete(pipelineId));
      asked.set(pipelineId, reading);
      const state = await reading;
      const found = findStage(state, name);
      if (found === null) throw new NotFoundError(`stage of pipeline ${pipelineId} named`, name);
      const { stage, index } = found;
      if (stage.status === "PENDING") return pendingReasons(state, index);
      if (stage.status !== "QUEUED") return [];
      if (state.cancelling !== null) return [`The pipeline is being cancelled: ${state.cancelling.reason || "no reason given"}.`];
      if (stage.live !== null) {
        const agents = stage.live.members.map((member) => member.agentName).join(", ");
        return [stage.live.stopping === null ? `Offered to ${agents} ${age(stage.live.offeredAt)} ago; waiting for it to start.` : `Being stopped on ${agents}: ${stage.live.stopping.reason || stage.live.stopping.cause}.`];
      }
      return (await options.explain(stage.id)) ?? ["Queued this moment; the scheduler has not looked at it yet."];
    },

    async drainAgent(agentId, draining) {
      await setDraining(pool, agentId, draining);
      options.agentsChanged();
    },

    async deleteCheckpoint(checkpointId) {
      const id = checkpointId as CheckpointId;
      const { agentId, attemptId, fence, path } = await markOrdered(db, id, new Date());
      options.publish(new Map([[agentId, [{ type: "delete-checkpoint", checkpointId: id, attemptId, fence, path }]]]));
      options.wakeups.wake([TOPICS.orders(agentId)]);
    },
  };
}

function auditOf(audit: AuditRow | undefined): { audit?: AuditRow } {
  return audit === undefined ? {} : { audit };
}

function pendingReasons(state: PipelineState, index: number): string[] {
  const open = state.dag.needs[index]!.filter((need) => !TERMINAL_STAGE.has(state.stages.at(need).status));
  const shown = open.slice(0, 10).map((need) => `Waits for stage "${state.dag.names[need]!}", which is ${state.stages.at(need).status}.`);
  return open.length > 10 ? [...shown, `Waits for ${open.length - 10} more stages.`] : shown;
}

function age(since: number): string {
  return `${Math.max(0, Math.round((Date.now() - since) / 1000))} s`;
}

async function read(pool: pg.Pool, id: PipelineId): Promise<PipelineState> {
  const state = await loadPipeline(pool, id);
  if (state === null) throw new NotFoundError("pipeline", id);
  return state;
}

/** Keeps a request id in the transaction that serves it: the first call wins, repeats are answered from it, another input is a conflict. */
function claimOf(request: RequestKey, inputHash: string, pipelineId: PipelineId): Claim {
  return async (client) => {
    const values = [request.tokenId, request.requestId, "submitPipeline", inputHash, pipelineId];
    const { rowCount } = await client.query("insert into request_ids (token_id, request_id, action, input_hash, pipeline_id) values ($1, $2, $3, $4, $5) on conflict do nothing", values);
    if (rowCount === 1) return null;
    const { rows: [earlier] } = await client.query<{ input_hash: string; pipeline_id: PipelineId }>("select input_hash, pipeline_id from request_ids where token_id = $1 and request_id = $2", [request.tokenId, request.requestId]);
    if (earlier!.input_hash !== inputHash) throw new ConflictError("REQUEST_ID_REUSED", `Request id ${JSON.stringify(request.requestId)} was used for another specification (pipeline ${earlier!.pipeline_id}). Use a new id for a new request.`);
    return earlier!.pipeline_id;
  };
}

/** SHA-256 of a specification with its keys in order, so that the same document hashes the same however it was written. */
function hashOf(spec: PipelineSpec): string {
  return createHash("sha256").update(JSON.stringify(sorted(spec))).digest("hex");
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, item]) => [key, sorted(item)]));
}

/** Overrides over params: objects are merged, everything else is replaced. */
function merge(params: Record<string, unknown>, overrides: Record<string, Json>): Record<string, unknown> {
  const merged: Record<string, unknown> = { ...params };
  for (const [key, value] of Object.entries(overrides)) {
    const before = merged[key];
    merged[key] = isRecord(before) && isRecord(value) ? merge(before, value as Record<string, Json>) : value;
  }
  return merged;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
