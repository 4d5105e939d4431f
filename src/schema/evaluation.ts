// Evaluations: scores that an evaluate stage found.

import { listPipelineEvaluations, type EvaluationRow } from "../db/telemetry/evaluations.js";
import { isId } from "../domain/ids.js";
import { builder } from "./builder.js";
import { Checkpoint } from "./checkpoint.js";
import { Dataset } from "./dataset.js";
import { Node, nodeKind } from "./node.js";
import { Stage } from "./stage.js";

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
    sampleCount: t.expose("sampleCount", { type: "SafeInt", description: "0 when the program did not say." }),
    createdAt: t.expose("createdAt", { type: "DateTime" }),
  }),
});
nodeKind("evl", (id, { loaders }) => (isId("evl", id) ? loaders.evaluation.load(id) : Promise.resolve(null)));

builder.queryField("evaluations", (t) => t.field({
  type: [Evaluation], description: "All evaluations of a pipeline, oldest first.",
  args: { pipelineId: t.arg.id({ required: true }) },
  resolve: (_root, { pipelineId }, { deps }) => (isId("pip", pipelineId) ? listPipelineEvaluations(deps.db, pipelineId) : []),
}));
