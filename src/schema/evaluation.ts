// Evaluations: scores that an evaluate stage found.

import { listPipelineEvaluations, type EvaluationRow } from "../db/telemetry/evaluations.js";
import type { ScoreInterval } from "../domain/evaluation/score-interval.js";
import { isId } from "../domain/ids.js";
import { builder } from "./builder.js";
import { Checkpoint } from "./checkpoint.js";
import { Dataset } from "./dataset.js";
import { Node, nodeKind } from "./node.js";
import { Stage } from "./stage.js";

const ScoreIntervalType = builder.objectRef<ScoreInterval & { readonly score: string; readonly value: number }>("ScoreInterval").implement({
  description: "A score with the interval that it most likely lies in.",
  fields: (t) => ({
    score: t.exposeString("score", { description: "Its name." }),
    value: t.exposeFloat("value"),
    n: t.expose("n", { type: "SafeInt", description: "Rows that it is the mean of." }),
    low: t.float({ nullable: true, description: "Null when only the mean is known.", resolve: ({ low }) => low ?? null }),
    high: t.float({ nullable: true, resolve: ({ high }) => high ?? null }),
    level: t.float({ nullable: true, description: "Share of such intervals that hold the true value: 0.95.", resolve: ({ level }) => level ?? null }),
    method: t.string({ nullable: true, description: "wilson: every row is right or wrong. bootstrap: rows are in between.", resolve: ({ method }) => method ?? null }),
  }),
});

/** The main score first. */
function byName({ score: a }: { readonly score: string }, { score: b }: { readonly score: string }): number {
  return Number(b === "score") - Number(a === "score") || (a < b ? -1 : 1);
}

export const Evaluation = builder.objectRef<EvaluationRow>("Evaluation");
Evaluation.implement({
  description: "Scores of a checkpoint, or of whatever the program evaluated.",
  interfaces: [Node],
  fields: (t) => ({
    stage: t.field({ type: Stage, description: "The stage that evaluated.", resolve: async (row, _args, { loaders }) => (await loaders.stage.load(row.stageId))! }),
    checkpoint: t.field({
      type: Checkpoint, nullable: true, description: "Null when what was evaluated is no checkpoint of this pipeline.",
      resolve: (row, _args, { loaders }) => (row.checkpointId === null ? null : loaders.checkpoint.load(row.checkpointId)),
    }),
    dataset: t.field({
      type: Dataset, nullable: true, description: "The registered data set it was evaluated on: the version that was named, or the newest of that time. Null when the name stands for none.",
      resolve: (row, _args, { loaders }) => (row.dataset === null ? null : loaders.datasetByRef.load({ ref: row.dataset, at: row.createdAt })),
    }),
    datasetName: t.exposeString("dataset", { nullable: true, description: "What it was evaluated on, as the stage's params say." }),
    scores: t.expose("scores", { type: "JSON", description: "Name → number." }),
    intervals: t.field({
      type: [ScoreIntervalType], description: "How sure the scores are, each with the rows it is made of. A score of a program that did not say is missing.",
      resolve: ({ scores, intervals }) => Object.entries(intervals).flatMap(([score, interval]) => (scores[score] === undefined ? [] : [{ score, value: scores[score], ...interval }])).sort(byName),
    }),
    sampleCount: t.expose("sampleCount", { type: "SafeInt", description: "0 when the program did not say." }),
    errorCount: t.expose("errors", { type: "SafeInt", nullable: true, description: "Rows that got no answer or no score; they are in no score. Null when the program did not say." }),
    simulated: t.exposeBoolean("simulated", { description: "The scores say nothing: a stand-in drew the answers, or made the model that gave them." }),
    createdAt: t.expose("createdAt", { type: "DateTime" }),
  }),
});
nodeKind("evl", (id, { loaders }) => (isId("evl", id) ? loaders.evaluation.load(id) : Promise.resolve(null)));

builder.queryField("evaluations", (t) => t.field({
  type: [Evaluation], description: "All evaluations of a pipeline, oldest first.",
  args: { pipelineId: t.arg.id({ required: true }) },
  resolve: (_root, { pipelineId }, { deps }) => (isId("pip", pipelineId) ? listPipelineEvaluations(deps.db, pipelineId) : []),
}));
