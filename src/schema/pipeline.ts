// Pipelines: one submitted DAG, the list of them, and what users may order.

import type { Committed, UserOrder } from "../actors/control-plane.js";
import { createdMicros, isNewer, isOlder, nameContains } from "../db/newest-first.js";
import { InvalidInputError, NotFoundError, type Problem as ProblemShape } from "../domain/errors.js";
import { isId, type PipelineId } from "../domain/ids.js";
import { buildDag, layersOf } from "../domain/pipeline/dag.js";
import { PIPELINE_STATUSES, STAGE_STATUSES, type Json, type PipelineState } from "../domain/pipeline/state.js";
import { builder } from "./builder.js";
import type { Context } from "./context.js";
import { Conflict, Forbidden, InvalidInput, memberOf, NotFound } from "./domain-error.js";
import { encodePlace } from "./event-cursor.js";
import { DEFAULT_HISTORY, history, PipelineEvent } from "./event.js";
import { PIPELINE_COLUMNS, type PipelineRow } from "./loaders.js";
import { audited, type Actor } from "./mutation.js";
import { Node, nodeKind } from "./node.js";
import { decodeListPlace, encodeListPlace, pageOf, PageInfo, readPageArgs, type ConnectionShape } from "./paging.js";
import { Stage } from "./stage.js";
import { Problem, validateFor } from "./validation.js";

export const PipelineStatus = builder.enumType("PipelineStatus", { description: "COMPLETED, FAILED and CANCELLED are ends; a retry opens a FAILED or CANCELLED pipeline again.", values: PIPELINE_STATUSES });

export const Pipeline = builder.objectRef<PipelineRow>("Pipeline");
Pipeline.implement({
  description: "One submitted DAG. Submitting the same specification again, or forking, makes another pipeline.",
  interfaces: [Node],
  fields: (t) => ({
    name: t.exposeString("name"),
    status: t.expose("status", { type: PipelineStatus }),
    labels: t.expose("labels", { type: "JSON" }),
    spec: t.field({ type: "JSON", description: "The specification as stored, defaults filled in; submitting it again makes an equal pipeline.", resolve: (row, _args, context) => specOf(row.id, context) }),
    stages: t.field({ type: [Stage], description: "In the order of the specification.", resolve: async (row, _args, { loaders }) => [...(await loaders.stagesOf.load(row.id))] }),
    stage: t.field({
      type: Stage, nullable: true, args: { name: t.arg.string({ required: true }) },
      resolve: async (row, { name }, { deps }) => (await deps.db.selectFrom("stages").selectAll().where("pipeline_id", "=", row.id).where("name", "=", name).executeTakeFirst()) ?? null,
    }),
    stageCounts: t.field({
      type: "JSON", description: "Number of stages by status; statuses without a stage are 0.",
      resolve: async (row, _args, { loaders }) => ({
        ...Object.fromEntries(STAGE_STATUSES.map((status) => [status, 0])),
        ...Object.fromEntries((await loaders.stageCounts.load(row.id)).map((entry) => [entry.status, entry.count])),
      }),
    }),
    layers: t.field({
      type: t.listRef(t.listRef("String")), description: "Stage names by distance from the start, for reading: a stage runs as soon as its own dependencies are done.",
      resolve: async (row, _args, context) => layersOf(buildDag((await specOf(row.id, context)).stages)),
    }),
    events: t.field({
      type: [PipelineEvent], description: "History, oldest first, from after the cursor.",
      args: { after: t.arg({ type: "EventCursor" }), first: t.arg.int({ defaultValue: DEFAULT_HISTORY }) },
      resolve: (row, { after, first }, context) => history(context, row.id, after ?? null, first ?? DEFAULT_HISTORY),
    }),
    head: t.field({
      type: "EventCursor", description: "The cursor of the newest event that this answer reflects: subscribe after it, and nothing is missed.",
      resolve: (row) => encodePlace({ kind: "pipeline", pipelineId: row.id, seq: row.seq }),
    }),
    forkedFrom: t.field({ type: Pipeline, nullable: true, resolve: (row, _args, { loaders }) => (row.forked_from === null ? null : loaders.pipeline.load(row.forked_from)) }),
    error: t.exposeString("error", { nullable: true, description: "Why it FAILED." }),
    simulated: t.boolean({ description: "One of its stages runs a stand-in that trains nothing, or evaluated what one left.", resolve: (row, _args, { loaders }) => loaders.simulatedIn.load(row.id) }),
    createdBy: t.string({ description: "Name of the token that submitted it.", resolve: (row) => row.created_by }),
    createdAt: t.field({ type: "DateTime", resolve: (row) => row.created_at }),
    startedAt: t.field({ type: "DateTime", nullable: true, resolve: (row) => row.started_at }),
    finishedAt: t.field({ type: "DateTime", nullable: true, resolve: (row) => row.finished_at }),
  }),
});
nodeKind("pip", (id, { loaders }) => (isId("pip", id) ? loaders.pipeline.load(id) : Promise.resolve(null)));

async function specOf(id: PipelineId, { loaders }: Context) {
  return (await loaders.spec.load(id))!.spec;
}

// ── reading ─────────────────────────────────────────────────────────────────────────────────────────

builder.queryField("pipeline", (t) => t.field({
  type: Pipeline, nullable: true, args: { id: t.arg.id({ required: true }) },
  resolve: (_root, { id }, { loaders }) => (isId("pip", id) ? loaders.pipeline.load(id) : null),
}));

const PipelineEdge = builder.objectRef<{ readonly node: PipelineRow; readonly cursor: string }>("PipelineEdge").implement({
  fields: (t) => ({ node: t.expose("node", { type: Pipeline }), cursor: t.exposeString("cursor") }),
});
const PipelineConnection = builder.objectRef<ConnectionShape<PipelineRow>>("PipelineConnection").implement({
  fields: (t) => ({
    edges: t.field({ type: [PipelineEdge], nullable: { list: false, items: true }, resolve: ({ edges }) => [...edges] }),
    pageInfo: t.expose("pageInfo", { type: PageInfo }),
  }),
});

builder.queryField("pipelines", (t) => t.field({
  type: PipelineConnection, description: "Pipelines, newest first.",
  args: {
    first: t.arg.int(), after: t.arg.string(), last: t.arg.int(), before: t.arg.string(),
    status: t.arg({ type: [PipelineStatus], description: "Only those in one of these." }),
    name: t.arg.string({ description: "Only those whose name contains this, in any case." }),
  },
  resolve: async (_root, args, { deps }) => {
    const asked = readPageArgs(args, (cursor) => decodeListPlace(cursor, "pips", "pip"));
    const way = asked.forward ? "desc" : "asc";
    let query = deps.db.selectFrom("pipelines").select(PIPELINE_COLUMNS).select(createdMicros.as("createdMicros"))
      .orderBy("created_at", way).orderBy("id", way).limit(asked.size + 1);
    if (args.status != null) query = query.where("status", "in", args.status.length === 0 ? [null as never] : args.status);
    if (args.name != null && args.name !== "") query = query.where(nameContains(args.name));
    if (asked.after !== null) query = query.where(isOlder(asked.after));
    if (asked.before !== null) query = query.where(isNewer(asked.before));
    return pageOf(asked, await query.execute(), (row) => encodeListPlace("pips", row));
  },
}));

// ── acting ──────────────────────────────────────────────────────────────────────────────────────────

export interface Moved { readonly pipeline: PipelineRow; readonly cursor: string }
export interface Submitted extends Moved { readonly warnings: readonly ProblemShape[] }

const SubmitPipelinePayload = builder.objectRef<Submitted>("SubmitPipelinePayload").implement({
  fields: (t) => ({
    pipeline: t.expose("pipeline", { type: Pipeline }),
    cursor: t.expose("cursor", { type: "EventCursor", description: "The newest event that the submission caused." }),
    warnings: t.field({ type: [Problem], description: "What prevented nothing but should be read, as validatePipeline would say it.", resolve: ({ warnings }) => [...warnings] }),
  }),
});
const PipelinePayload = builder.objectRef<Moved>("PipelinePayload").implement({
  fields: (t) => ({ pipeline: t.expose("pipeline", { type: Pipeline }), cursor: t.expose("cursor", { type: "EventCursor", description: "The newest event that the order caused: wait for it on the stream." }) }),
});
const SubmitPipelineResult = builder.unionType("SubmitPipelineResult", { types: [SubmitPipelinePayload, InvalidInput, Conflict, Forbidden], resolveType: memberOf("SubmitPipelinePayload") });
const PipelineResult = builder.unionType("PipelineResult", { types: [PipelinePayload, NotFound, Conflict, InvalidInput, Forbidden], resolveType: memberOf("PipelinePayload") });

async function moved({ pipelineId, seq, made }: Committed, { loaders, principal }: Context): Promise<Moved> {
  if (made !== undefined) loaders.pipeline.prime(pipelineId, rowOf(made, principal!.name));
  return { pipeline: (await loaders.pipeline.load(pipelineId))!, cursor: encodePlace({ kind: "pipeline", pipelineId, seq }) };
}

/** The row of a pipeline that was made this moment: nobody need read it back. */
function rowOf(state: PipelineState, by: string): PipelineRow {
  const date = (at: number | null) => (at === null ? null : new Date(at));
  return {
    id: state.id, name: state.spec.name, status: state.status, labels: state.spec.labels, seq: state.seq, stage_count: state.stages.length, cancelling: state.cancelling, forked_from: state.forkedFrom,
    error: state.error, created_by: by, created_at: new Date(state.createdAt), started_at: date(state.startedAt), finished_at: date(state.finishedAt),
  };
}

const SubmitPipelineInput = builder.inputType("SubmitPipelineInput", {
  fields: (t) => ({
    spec: t.field({ type: "JSON", required: true, description: "The specification; docs/pipeline.md describes its form." }),
    requestId: t.string({ description: "Chosen by the client and kept over repetitions: the same specification answers the same pipeline, another one a ConflictError." }),
  }),
});
type SubmitArgs = { input: typeof SubmitPipelineInput.$inferInput };

builder.mutationField("submitPipeline", (t) => t.field({
  type: SubmitPipelineResult, description: "Stores a pipeline and starts it.",
  args: { input: t.arg({ type: SubmitPipelineInput, required: true }) },
  resolve: audited({
    subject: () => null,
    made: ({ pipeline }: Submitted) => pipeline.id,
    run: ({ input }: SubmitArgs, actor, context) => submitSpec(input.spec, input.requestId ?? null, actor, context),
  }),
}));

/** Validates a specification and submits it, once per request id. Throws InvalidInputError with every problem, ConflictError when the request id stands for another specification. */
export async function submitSpec(input: unknown, requestId: string | null, { principal, auditRow }: Actor, context: Context): Promise<Submitted> {
  if (requestId !== null && (requestId === "" || requestId.length > 200)) throw invalid("requestId", "A request id has 1 to 200 characters.", "Use a UUID.");
  const { spec, problems } = await validateFor(context.deps, input);
  if (spec === null) throw new InvalidInputError("The specification cannot be accepted; each place that is wrong is named in `problems`.", problems);
  const committed = await context.deps.controlPlane.submit({ spec, by: principal.name, request: requestId === null ? null : { tokenId: principal.tokenId, requestId }, audit: auditRow() });
  return { ...(await moved(committed, context)), warnings: problems };
}

const PipelineActionInput = builder.inputType("PipelineActionInput", {
  fields: (t) => ({ pipelineId: t.id({ required: true }), reason: t.string({ description: "Shown in the history." }) }),
});
const StageActionInput = builder.inputType("StageActionInput", {
  fields: (t) => ({ pipelineId: t.id({ required: true }), stage: t.string({ required: true, description: "Name of the stage." }), reason: t.string({ description: "Shown in the history." }) }),
});
interface Ordered { readonly pipelineId: string; readonly reason?: string | null | undefined }

/** The resolver of an order to a pipeline that exists. */
function ordering<Input extends Ordered>(orderOf: (input: Input, common: { pipelineId: PipelineId; by: string; reason: string }) => UserOrder) {
  return audited({
    subject: ({ input }: { input: Input }) => input.pipelineId,
    run: async ({ input }: { input: Input }, { principal, auditRow }: Actor, context: Context) => {
      const common = { pipelineId: pipelineIdOf(input.pipelineId), by: principal.name, reason: reasonOf(input.reason) };
      return moved(await context.deps.controlPlane.order(orderOf(input, common), auditRow()), context);
    },
  });
}

const PIPELINE_ORDERS = [
  ["cancelPipeline", "CancelPipeline", "Stops what runs and starts nothing more. A retry can open it again."],
  ["pausePipeline", "PausePipeline", "Stops what runs, training after its next checkpoint where it can, and starts nothing new until it is resumed."],
  ["resumePipeline", "ResumePipeline", "Goes on after a pause."],
  ["retryPipeline", "RetryPipeline", "Runs FAILED, CANCELLED and SKIPPED stages again. What is COMPLETED keeps its outputs."],
] as const;
for (const [name, type, description] of PIPELINE_ORDERS) {
  builder.mutationField(name, (t) => t.field({
    type: PipelineResult, description, args: { input: t.arg({ type: PipelineActionInput, required: true }) },
    resolve: ordering((_input: Ordered, common) => ({ type, ...common })),
  }));
}

const STAGE_ORDERS = [
  ["retryStage", "RetryStage", "Runs one stage again, and what depends on it."],
  ["cancelStage", "CancelStage", "Stops one stage; what depends on it is skipped."],
  ["approveStage", "ApproveStage", "Lets a stage that is WAITING_APPROVAL go on."],
] as const;
for (const [name, type, description] of STAGE_ORDERS) {
  builder.mutationField(name, (t) => t.field({
    type: PipelineResult, description, args: { input: t.arg({ type: StageActionInput, required: true }) },
    resolve: ordering((input: Ordered & { stage: string }, common) => ({ type, ...common, stage: input.stage })),
  }));
}

const ForkPipelineInput = builder.inputType("ForkPipelineInput", {
  fields: (t) => ({
    pipelineId: t.id({ required: true }),
    fromStage: t.string({ required: true, description: "This stage and all that depend on it run again in the new pipeline; results of the others are taken over." }),
    overrides: t.field({ type: "JSON", description: "An object, merged over that stage's params." }),
  }),
});

builder.mutationField("forkPipeline", (t) => t.field({
  type: PipelineResult, description: "A new pipeline that begins at one stage of another.",
  args: { input: t.arg({ type: ForkPipelineInput, required: true }) },
  resolve: audited({
    subject: ({ input }: { input: typeof ForkPipelineInput.$inferInput }) => input.pipelineId,
    run: async ({ input }, { principal, auditRow }, context) => {
      const overrides = input.overrides ?? null;
      if (overrides !== null && (typeof overrides !== "object" || Array.isArray(overrides))) throw invalid("overrides", "Overrides are an object of params.", "Send {\"name\": value, …}.");
      return moved(await context.deps.controlPlane.fork({
        pipelineId: pipelineIdOf(input.pipelineId), fromStage: input.fromStage, overrides: overrides as Record<string, Json> | null, by: principal.name, audit: auditRow(),
      }), context);
    },
  }),
}));

function pipelineIdOf(id: string): PipelineId {
  if (!isId("pip", id)) throw new NotFoundError("pipeline", id);
  return id;
}

const MAX_REASON = 2_000;
function reasonOf(reason: string | null | undefined): string {
  if ((reason ?? "").length > MAX_REASON) throw invalid("reason", `A reason has up to ${MAX_REASON} characters.`, "Shorten it.");
  return reason?.trim() || "no reason given";
}

function invalid(path: string, message: string, hint: string): InvalidInputError {
  return new InvalidInputError(message, [{ path, severity: "ERROR", code: "INVALID_VALUE", message, hint }]);
}
