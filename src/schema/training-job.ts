// Training jobs: TRAIN stages seen as the experiments that they are. What a job is stands in its stage and its specification; nothing is kept twice.

import { isSuitable, largestGpu, memoryOf, readTrainParams, type SizedEstimate } from "../actors/preflight/stage-preflight.js";
import { listJobs, type ListedJob, type TrainingJobRow } from "../db/training-jobs.js";
import { ConflictError } from "../domain/errors.js";
import { isId, jobIdOf, stageOfJob } from "../domain/ids.js";
import { MissingOutputError, resolveReferences } from "../domain/pipeline/references.js";
import type { StageSpec } from "../domain/pipeline/spec.js";
import { bestFirst } from "../domain/retention.js";
import { ALGORITHM_FACTS, type Trainer as TrainerName } from "../domain/training/algorithms.js";
import { DEFAULT_VERL, trainParamsSchema, type TrainParams } from "../domain/training/train-params.js";
import { exportRun } from "../verl/export-script.js";
import type { MemoryPart } from "../verl/memory-estimate.js";
import { releaseFor } from "../verl/releases.js";
import { Anomaly } from "./anomaly.js";
import { builder } from "./builder.js";
import { Checkpoint } from "./checkpoint.js";
import type { Context } from "./context.js";
import { Evaluation } from "./evaluation.js";
import { Node, nodeKind } from "./node.js";
import { decodeListCursor, encodeListCursor, pageOf, PageInfo, readPageArgs, type ConnectionShape } from "./paging.js";
import { Pipeline } from "./pipeline.js";
import { Stage, StageStatus } from "./stage.js";
import { TrainingAlgorithm } from "./training-algorithm.js";

const TRAINERS = { VERL_SFT: { value: "verl-sft" }, VERL_RL: { value: "verl-rl" }, TRL_DPO: { value: "trl-dpo" } } as const satisfies Record<string, { value: TrainerName }>;
const Trainer = builder.enumType("Trainer", { description: "The program that trains. verl has no offline DPO: that one runs through TRL.", values: TRAINERS });

const MetricMode = builder.enumType("MetricMode", { description: "Which end of a metric is the better one.", values: { MIN: { value: "min" }, MAX: { value: "max" } } as const });

const MemoryPartRef = builder.objectRef<MemoryPart>("MemoryPart").implement({
  description: "What one part of a run takes of each GPU.",
  fields: (t) => ({
    name: t.exposeString("name"),
    bytesPerGpu: t.field({ type: "SafeInt", resolve: (part) => Math.round(part.bytesPerGpu) }),
    how: t.exposeString("how", { description: "What the number is made of." }),
  }),
});

const MemoryEstimateRef = builder.objectRef<SizedEstimate & { readonly gpuBytes: number | null }>("MemoryEstimate").implement({
  description: "GPU memory of a run, estimated from the model's size and the settings. It warns and never blocks.",
  fields: (t) => ({
    bytesPerGpu: t.field({ type: "SafeInt", resolve: (estimate) => Math.round(estimate.bytesPerGpu) }),
    error: t.exposeFloat("error", { description: "The truth may lie this far above or below, as a share of it." }),
    parts: t.field({ type: [MemoryPartRef], description: "What it is made of, in no order.", resolve: (estimate) => [...estimate.parts] }),
    parameters: t.field({ type: "SafeInt", description: "Of the model, as its name tells.", resolve: (estimate) => Math.round(estimate.parameters) }),
    gpus: t.exposeInt("gpus", { description: "GPUs of the whole run." }),
    gpuBytes: t.field({ type: "SafeInt", nullable: true, description: "Memory of the largest GPU that is known here and fits the stage; null when none is.", resolve: ({ gpuBytes }) => gpuBytes }),
  }),
});

export const TrainingJob = builder.objectRef<TrainingJobRow>("TrainingJob");
TrainingJob.implement({
  description: "A training run: a TRAIN stage seen as the experiment that it is.",
  interfaces: [Node],
  fields: (t) => ({
    stage: t.field({ type: Stage, resolve: async (row, _args, { loaders }) => (await loaders.stage.load(row.stageId))! }),
    pipeline: t.field({ type: Pipeline, resolve: async (row, _args, { loaders }) => (await loaders.pipeline.load(row.pipelineId))! }),
    algorithm: t.expose("algorithm", { type: TrainingAlgorithm }),
    trainer: t.field({ type: Trainer, resolve: (row) => ALGORITHM_FACTS[row.algorithm].trainer }),
    model: t.exposeString("model", { description: "As the specification names it; it may refer to another stage's output." }),
    modelResolved: t.string({ nullable: true, description: "The same with its references filled in; null while a stage that it refers to has not completed.", resolve: (row, _args, context) => resolvedText(row, row.model, context) }),
    simulated: t.exposeBoolean("simulated", { description: "A stand-in runs that follows the trainer's contract and trains nothing: its metrics, checkpoints and samples are made up." }),
    status: t.field({ type: StageStatus, resolve: async (row, _args, { loaders }) => (await loaders.stage.load(row.stageId))!.status }),
    checkpoints: t.field({ type: [Checkpoint], description: "By step; deleted ones too.", resolve: async (row, _args, { loaders }) => [...(await loaders.checkpointsOf.load(row.stageId))] }),
    best: t.field({
      type: Checkpoint, nullable: true,
      description: "The best checkpoint that is still there: by the metric given, a score of its evaluations or a metric of its step; without one, that which `isBest` marks. Null when none has the metric.",
      args: { metric: t.arg.string(), mode: t.arg({ type: MetricMode, defaultValue: "min" }) },
      resolve: async (row, { metric, mode }, { loaders }) => {
        const there = (await loaders.checkpointsOf.load(row.stageId)).filter(({ deletedAt }) => deletedAt === null);
        if (metric == null) return there.find(({ isBest }) => isBest) ?? null;
        const judged = await Promise.all(there.map(async (checkpoint) => ({ ...checkpoint, metrics: { ...(await loaders.scoresOf.load(checkpoint.id)), ...checkpoint.metrics } })));
        const first = bestFirst(judged, metric, mode ?? "min")[0];
        return there.find(({ id }) => id === first?.id) ?? null;
      },
    }),
    evaluations: t.field({ type: [Evaluation], description: "Of its checkpoints, oldest first.", resolve: async (row, _args, { loaders }) => [...(await loaders.evaluationsOf.load(row.stageId))] }),
    anomalies: t.field({ type: [Anomaly], description: "What was found wrong with it, oldest first; at most the newest 1,000.", resolve: async (row, _args, { loaders }) => [...(await loaders.anomaliesOf.load(row.stageId))] }),
    memoryEstimate: t.field({
      type: MemoryEstimateRef, nullable: true, description: "Null where the model's name does not tell its size, there is no GPU, or the run is simulated.",
      resolve: async (row, _args, context) => {
        const spec = await specOf(row, context);
        const read = readTrainParams(spec.params);
        if (read === null) return null;
        const hosts = (await context.loaders.hosts.load("all")).filter((host) => isSuitable(host, spec.resources));
        const gpuBytes = largestGpu(hosts);
        const estimate = memoryOf({ ...read.params, model: (await resolvedText(row, row.model, context)) ?? row.model }, spec.resources, gpuBytes);
        return estimate === null ? null : { ...estimate, gpuBytes };
      },
    }),
    script: t.string({
      nullable: true,
      description: "The run as a plain shell script that reproduces it without Trainyard. Secrets are asked for by the script. Fails while a stage that the run refers to has not completed.",
      resolve: async (row, _args, context) => scriptOf(row, context),
    }),
    createdAt: t.expose("createdAt", { type: "DateTime" }),
  }),
});
nodeKind("job", (id, context) => jobByText(id, context));

builder.objectField(Stage, "trainingJob", (t) => t.field({
  type: TrainingJob, nullable: true, description: "Of a TRAIN stage; null for others.", resolve: (row, _args, { loaders }) => (row.kind === "train" ? loaders.jobOf.load(row.id) : null),
}));

/** A job by its id. */
export function jobByText(id: string, { loaders }: Context): Promise<TrainingJobRow | null> {
  return isId("job", id) ? loaders.jobOf.load(stageOfJob(id)) : Promise.resolve(null);
}

async function specOf(row: TrainingJobRow, { loaders }: Context): Promise<StageSpec> {
  const stage = await loaders.stage.load(row.stageId);
  return (await loaders.spec.load(row.pipelineId))!.spec.stages[stage!.position]!;
}

/** A value with its references filled in. Throws MissingOutputError. */
async function resolved(row: TrainingJobRow, value: unknown, { loaders }: Context): Promise<unknown> {
  const stages = JSON.stringify(value).includes("${") ? await loaders.stagesOf.load(row.pipelineId) : [];
  return resolveReferences(value, (name) => {
    const phase = stages.find((stage) => stage.name === name)?.phase;
    return phase?.status === "COMPLETED" ? phase.outputs : null;
  });
}

async function resolvedText(row: TrainingJobRow, text: string, context: Context): Promise<string | null> {
  try {
    const value = await resolved(row, text, context);
    return typeof value === "string" ? value : null;
  } catch (error) {
    if (error instanceof MissingOutputError) return null;
    throw error;
  }
}

async function scriptOf(row: TrainingJobRow, context: Context): Promise<string> {
  const spec = await specOf(row, context);
  const pipeline = await context.loaders.pipeline.load(row.pipelineId);
  let params: TrainParams | undefined;
  try {
    params = trainParamsSchema.safeParse(await resolved(row, spec.params, context)).data;
  } catch (error) {
    if (!(error instanceof MissingOutputError)) throw error;
    throw new ConflictError("SCRIPT_NOT_KNOWN", `The script of ${jobIdOf(row.stageId)} is not known yet: ${error.message} Ask again when that stage has completed.`);
  }
  const choice = releaseFor(params?.verl ?? DEFAULT_VERL);
  if (params === undefined || choice === null) throw new ConflictError("SCRIPT_NOT_KNOWN", `The params of ${jobIdOf(row.stageId)} are not those of a train stage of this version; submit the stage again.`);
  return exportRun({ about: `Training job ${jobIdOf(row.stageId)}: stage ${spec.name} of pipeline ${pipeline!.name} (${row.pipelineId})`, project: pipeline!.name, experiment: spec.name, params, resources: spec.resources, release: choice.release });
}

// ── lists ───────────────────────────────────────────────────────────────────────────────────────────

builder.queryField("trainingJob", (t) => t.field({
  type: TrainingJob, nullable: true, args: { id: t.arg.id({ required: true, description: "Of the job, or of its stage." }) },
  resolve: (_root, { id }, context) => (isId("stg", id) ? context.loaders.jobOf.load(id) : jobByText(id, context)),
}));

const TrainingJobEdge = builder.objectRef<{ readonly node: TrainingJobRow; readonly cursor: string }>("TrainingJobEdge").implement({
  fields: (t) => ({ node: t.expose("node", { type: TrainingJob }), cursor: t.exposeString("cursor") }),
});
const TrainingJobConnection = builder.objectRef<ConnectionShape<TrainingJobRow>>("TrainingJobConnection").implement({
  fields: (t) => ({
    edges: t.field({ type: [TrainingJobEdge], nullable: { list: false, items: true }, resolve: ({ edges }) => [...edges] }),
    pageInfo: t.expose("pageInfo", { type: PageInfo }),
  }),
});

/** Age in microseconds, as Postgres keeps it, then stage. */
const cursorOf = (row: ListedJob) => encodeListCursor("jobs", row.createdMicros, row.stageId);
const placeIn = (cursor: string) => decodeListCursor(cursor, "jobs", /^\d{1,17}:stg_[0-9a-z]{26}$/) as [string, string];

builder.queryField("trainingJobs", (t) => t.field({
  type: TrainingJobConnection, description: "Training jobs, newest first.",
  args: {
    first: t.arg.int(), after: t.arg.string(), last: t.arg.int(), before: t.arg.string(),
    status: t.arg({ type: [StageStatus], description: "Only those in one of these." }),
    algorithm: t.arg({ type: TrainingAlgorithm }),
    pipelineId: t.arg.id({ description: "Only those of this pipeline." }),
  },
  resolve: async (_root, args, { deps }) => {
    const asked = readPageArgs(args, placeIn);
    if (args.pipelineId != null && !isId("pip", args.pipelineId)) return pageOf(asked, [] as ListedJob[], cursorOf);
    const found = await listJobs(deps.db, {
      limit: asked.size + 1, forward: asked.forward, after: asked.after, before: asked.before, status: args.status ?? null, algorithm: args.algorithm ?? null, pipelineId: args.pipelineId ?? null,
    });
    return pageOf(asked, found, cursorOf);
  },
}));
