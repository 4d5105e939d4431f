// Stages: nodes of a pipeline's DAG. What a stage is stands in its phase; what it was told stands in the pipeline's specification.

import { isId } from "../domain/ids.js";
import { STAGE_KINDS, type StageKind as Kind, type StageSpec } from "../domain/pipeline/spec.js";
import { STAGE_STATUSES } from "../domain/pipeline/state.js";
import { Attempt, StageError } from "./attempt.js";
import { builder } from "./builder.js";
import { Checkpoint } from "./checkpoint.js";
import type { Context } from "./context.js";
import { Dataset } from "./dataset.js";
import { Evaluation } from "./evaluation.js";
import type { StageRow } from "./loaders.js";
import { Node, nodeKind } from "./node.js";
import { Pipeline } from "./pipeline.js";

export const StageStatus = builder.enumType("StageStatus", {
  description: "PENDING waits for its dependencies, QUEUED for an agent, WAITING_APPROVAL for a person. SKIPPED never runs: a dependency failed for good, or its condition did not hold.",
  values: STAGE_STATUSES,
});

export const StageKind = builder.enumType("StageKind", {
  description: "What a stage does.",
  values: Object.fromEntries(STAGE_KINDS.map((kind) => [kind.toUpperCase(), { value: kind }])) as Record<Uppercase<Kind>, { value: Kind }>,
});

const Progress = builder.objectRef<{ step: number; totalSteps: number | null; etaSeconds: number | null }>("Progress").implement({
  description: "How far a stage has come.",
  fields: (t) => ({
    step: t.expose("step", { type: "SafeInt", description: "Steps of a training; bytes of work of a preprocess stage, whose number is only good for its share of `totalSteps`." }),
    totalSteps: t.expose("totalSteps", { type: "SafeInt", nullable: true }),
    etaSeconds: t.exposeFloat("etaSeconds", { nullable: true, description: "Seconds to the end at the recent pace; null when that is not known." }),
  }),
});

export const Stage = builder.objectRef<StageRow>("Stage");
Stage.implement({
  description: "A node of a pipeline's DAG.",
  interfaces: [Node],
  fields: (t) => ({
    name: t.exposeString("name", { description: "Unique in its pipeline." }),
    kind: t.expose("kind", { type: StageKind }),
    status: t.expose("status", { type: StageStatus }),
    pipeline: t.field({ type: Pipeline, resolve: async (row, _args, { loaders }) => (await loaders.pipeline.load(row.pipeline_id))! }),
    dependsOn: t.field({ type: ["String"], resolve: async (row, _args, context) => [...(await specOf(row, context)).dependsOn] }),
    queue: t.exposeString("queue"),
    priority: t.exposeInt("priority", { description: "Higher goes first, then the older." }),
    params: t.field({ type: "JSON", description: "As specified: references unresolved, secrets by name.", resolve: async (row, _args, context) => (await specOf(row, context)).params }),
    outputs: t.field({
      type: "JSON", nullable: true, description: "What other stages may refer to as ${stages.<name>.outputs.<key>}; null until COMPLETED.",
      resolve: ({ phase }) => (phase.status === "COMPLETED" ? phase.outputs : null),
    }),
    attempts: t.field({ type: [Attempt], description: "Oldest first.", resolve: async (row, _args, { loaders }) => [...(await loaders.attemptsOf.load(row.id))] }),
    waitReasons: t.field({
      type: ["String"], description: "Why a PENDING or QUEUED stage is not running yet, one entry per reason; empty otherwise.",
      resolve: async (row, _args, { deps }) => (row.status === "PENDING" || row.status === "QUEUED" ? [...(await deps.controlPlane.waitReasons(row.pipeline_id, row.name))] : []),
    }),
    progress: t.field({ type: Progress, nullable: true, resolve: (row, _args, { loaders }) => loaders.progressOf.load(row.id) }),
    error: t.field({ type: StageError, nullable: true, description: "Why it FAILED.", resolve: ({ phase }) => (phase.status === "FAILED" ? phase.failure : null) }),
    reason: t.string({
      nullable: true, description: "Why it is PAUSED, CANCELLED or SKIPPED, or what it asks for while WAITING_APPROVAL.",
      resolve: ({ phase }) => (phase.status === "WAITING_APPROVAL" ? phase.message : "reason" in phase ? phase.reason : null),
    }),
    simulated: t.boolean({
      description: "A stand-in runs here, or the stage works on what such a stage left: its results are made up.",
      resolve: async (row, _args, { loaders }) => (await loaders.simulatedStagesOf.load(row.pipeline_id)).has(row.name),
    }),
    startedAt: t.field({ type: "DateTime", nullable: true, resolve: ({ phase }) => (phase.startedAt === null ? null : new Date(phase.startedAt)) }),
    finishedAt: t.field({ type: "DateTime", nullable: true, resolve: ({ phase }) => ("finishedAt" in phase ? new Date(phase.finishedAt) : null) }),
    checkpoints: t.field({ type: [Checkpoint], description: "By step.", resolve: async (row, _args, { loaders }) => [...(await loaders.checkpointsOf.load(row.id))] }),
    evaluations: t.field({ type: [Evaluation], resolve: async (row, _args, { loaders }) => [...(await loaders.evaluationsOf.load(row.id))] }),
    datasetsMade: t.field({ type: [Dataset], description: "Data sets that its attempts made, or found made already; by name.", resolve: async (row, _args, { loaders }) => [...(await loaders.datasetsMade.load(row.id))] }),
    datasetsRead: t.field({ type: [Dataset], description: "Registered data sets whose content its attempts read; by name.", resolve: async (row, _args, { loaders }) => [...(await loaders.datasetsRead.load(row.id))] }),
  }),
});
nodeKind("stg", (id, { loaders }) => (isId("stg", id) ? loaders.stage.load(id) : Promise.resolve(null)));

async function specOf(row: StageRow, { loaders }: Context): Promise<StageSpec> {
  return (await loaders.spec.load(row.pipeline_id))!.spec.stages[row.position]!;
}

builder.queryField("stage", (t) => t.field({
  type: Stage, nullable: true, args: { id: t.arg.id({ required: true }) },
  resolve: (_root, { id }, { loaders }) => (isId("stg", id) ? loaders.stage.load(id) : null),
}));
