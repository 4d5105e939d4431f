// Anomalies: what was found wrong with a training run, what was done about it, and the findings as they come.

import { readAnomaliesAfter, type AnomalyRow } from "../db/anomalies.js";
import { NotFoundError } from "../domain/errors.js";
import { isId } from "../domain/ids.js";
import { ANOMALY_KINDS, ANOMALY_SEVERITIES } from "../domain/training/health/anomaly.js";
import { builder } from "./builder.js";
import { Node, nodeKind } from "./node.js";
import { anomalyStream } from "./streams/anomaly-stream.js";
import { TrainingJob } from "./training-job.js";

const AnomalyKind = builder.enumType("AnomalyKind", {
  description: "NON_FINITE, KL_EXPLOSION, GRADIENT_EXPLOSION and REWARD_COLLAPSE may act, as the stage's `health` says; the others are only told.",
  values: ANOMALY_KINDS,
});
const AnomalySeverity = builder.enumType("AnomalySeverity", { description: "Rising.", values: ANOMALY_SEVERITIES });

export const Anomaly = builder.objectRef<AnomalyRow>("Anomaly");
Anomaly.implement({
  description: "Something found wrong with a training run.",
  interfaces: [Node],
  fields: (t) => ({
    trainingJob: t.field({ type: TrainingJob, resolve: async (row, _args, { loaders }) => (await loaders.jobOf.load(row.stageId))! }),
    attempt: t.exposeInt("attempt", { description: "Number of the attempt that it was found in." }),
    kind: t.expose("kind", { type: AnomalyKind }),
    severity: t.expose("severity", { type: AnomalySeverity }),
    step: t.expose("step", { type: "SafeInt", nullable: true, description: "Null for what the log says." }),
    metric: t.exposeString("metric", { nullable: true, description: "The metric that shows it; null for silence and for what the log says." }),
    value: t.float({ nullable: true, description: "What was judged: the value, its smoothed course, or milliseconds of silence. Null when it is not finite.", resolve: ({ value }) => (value !== null && Number.isFinite(value) ? value : null) }),
    nonFinite: t.string({ nullable: true, description: "NaN, Infinity or -Infinity; null for ordinary numbers.", resolve: ({ value }) => (value === null || Number.isFinite(value) ? null : String(value)) }),
    threshold: t.exposeFloat("threshold", { nullable: true, description: "What it was held against, in the same unit." }),
    message: t.exposeString("message"),
    suggestion: t.exposeString("suggestion", { description: "What to do about it." }),
    action: t.exposeString("action", { description: "What was done: NOTIFIED, STOPPED or ROLLED_BACK." }),
    would: t.exposeString("would", { nullable: true, description: "With health.shadow: what would have been done." }),
    reason: t.exposeString("reason", { description: "Why that was done and nothing else." }),
    createdAt: t.expose("createdAt", { type: "DateTime" }),
  }),
});
nodeKind("ano", (id, { loaders }) => (isId("ano", id) ? loaders.anomaly.load(id) : Promise.resolve(null)));

builder.subscriptionField("anomalies", (t) => t.field({
  type: Anomaly,
  description: "Each anomaly of a pipeline's training jobs exactly once and in order, from after the one given; without it, from the first there is.",
  args: { pipelineId: t.arg.id({ required: true }), after: t.arg.id({ description: "Id of an anomaly of this pipeline." }) },
  subscribe: async (_root, { pipelineId, after }, { deps, loaders }) => {
    if (!isId("pip", pipelineId) || (await loaders.pipeline.load(pipelineId)) === null) throw new NotFoundError("pipeline", pipelineId);
    const seen = after == null ? null : isId("ano", after) ? await loaders.anomaly.load(after) : null;
    if (after != null && seen?.pipelineId !== pipelineId) throw new NotFoundError("anomaly", after);
    return anomalyStream({
      wakeups: deps.wakeups, pipelineId, after: seen?.position ?? 0, read: (position, limit) => readAnomaliesAfter(deps.db, pipelineId, position, limit),
    });
  },
  resolve: (row) => row as AnomalyRow,
}));
