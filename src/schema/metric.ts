// Metrics: series of a stage for charts, and its points as they come. NaN and infinities are data: `value` is null and `nonFinite` names them.

import type { MetricSeries as Series, Point } from "../db/telemetry/metrics.js";
import type { NewPoint } from "../db/telemetry/new-points.js";
import { NotFoundError } from "../domain/errors.js";
import { isId, stageOfJob, type StageId } from "../domain/ids.js";
import { badInput } from "./api-errors.js";
import { builder } from "./builder.js";
import type { Context } from "./context.js";
import { Stage } from "./stage.js";
import { metricStream, type MetricItem } from "./streams/metric-stream.js";
import { TrainingJob } from "./training-job.js";

/** Most points of one series in one answer. */
export const MAX_POINTS = 10_000;
const DEFAULT_POINTS = 1_000;
/** Most metrics that may be named. */
const MAX_NAMES = 1_000;

const finite = (value: number) => (Number.isFinite(value) ? value : null);
const nonFinite = (value: number) => (Number.isFinite(value) ? null : String(value));
const VALUE = "Null when it is not finite.";
const NON_FINITE = "NaN, Infinity or -Infinity; null for ordinary numbers.";

const MetricPoint = builder.objectRef<Point>("MetricPoint").implement({
  description: "One value of a metric.",
  fields: (t) => ({
    step: t.expose("step", { type: "SafeInt" }),
    at: t.field({ type: "DateTime", resolve: (point) => new Date(point.at) }),
    value: t.float({ nullable: true, description: VALUE, resolve: (point) => finite(point.value) }),
    nonFinite: t.string({ nullable: true, description: NON_FINITE, resolve: (point) => nonFinite(point.value) }),
  }),
});

const MetricSeries = builder.objectRef<Series>("MetricSeries").implement({
  description: "One metric of a stage over its steps.",
  fields: (t) => ({
    name: t.exposeString("name"),
    points: t.field({ type: [MetricPoint], description: "By step.", resolve: (series) => [...series.points] }),
  }),
});

const NAMES_SEEN = "Metrics seen so far, in alphabetical order.";
const SERIES = "Series with at most `maxPoints` points each; extremes, values that are not finite and the newest point are kept. Points that a later attempt made obsolete are left out.";
const ALL_WITHOUT = "Without it: all.";
interface SeriesArgs { readonly names?: readonly string[] | null | undefined; readonly fromStep?: number | null | undefined; readonly toStep?: number | null | undefined; readonly maxPoints?: number | null | undefined }

/** Throws BAD_USER_INPUT for bounds that cannot be meant. */
async function seriesOf(stageId: StageId, { names, fromStep, toStep, ...asked }: SeriesArgs, { loaders }: Context): Promise<Series[]> {
  const maxPoints = asked.maxPoints ?? DEFAULT_POINTS;
  if (maxPoints < 1 || maxPoints > MAX_POINTS) throw badInput(`\`maxPoints\` is between 1 and ${MAX_POINTS}; ${maxPoints} was asked for.`);
  return [...(await loaders.metricsOf.load({ stageId, names: checkNames(names), fromStep: fromStep ?? null, toStep: toStep ?? null, maxPoints }))];
}

builder.objectFields(Stage, (t) => ({
  metricNames: t.field({ type: ["String"], description: NAMES_SEEN, resolve: async (row, _args, { loaders }) => [...(await loaders.metricNamesOf.load(row.id))] }),
  metrics: t.field({
    type: [MetricSeries], description: SERIES,
    args: { names: t.arg.stringList({ description: ALL_WITHOUT }), fromStep: t.arg({ type: "SafeInt" }), toStep: t.arg({ type: "SafeInt" }), maxPoints: t.arg.int({ defaultValue: DEFAULT_POINTS }) },
    resolve: (row, args, context) => seriesOf(row.id, args, context),
  }),
}));

builder.objectFields(TrainingJob, (t) => ({
  metricNames: t.field({ type: ["String"], description: NAMES_SEEN, resolve: async (row, _args, { loaders }) => [...(await loaders.metricNamesOf.load(row.stageId))] }),
  metrics: t.field({
    type: [MetricSeries], description: SERIES,
    args: { names: t.arg.stringList({ description: ALL_WITHOUT }), fromStep: t.arg({ type: "SafeInt" }), toStep: t.arg({ type: "SafeInt" }), maxPoints: t.arg.int({ defaultValue: DEFAULT_POINTS }) },
    resolve: (row, args, context) => seriesOf(row.stageId, args, context),
  }),
}));

const NamedMetricPoint = builder.objectRef<NewPoint>("NamedMetricPoint").implement({
  description: "One value of the metric it names.",
  fields: (t) => ({
    name: t.exposeString("name"),
    step: t.expose("step", { type: "SafeInt" }),
    at: t.field({ type: "DateTime", resolve: (point) => new Date(point.at) }),
    value: t.float({ nullable: true, description: VALUE, resolve: (point) => finite(point.value) }),
    nonFinite: t.string({ nullable: true, description: NON_FINITE, resolve: (point) => nonFinite(point.value) }),
  }),
});

const MetricBatch = builder.objectRef<MetricItem>("MetricBatch").implement({
  description: "Points that came together.",
  fields: (t) => ({
    points: t.field({ type: [NamedMetricPoint], resolve: (batch) => [...batch.points] }),
    dropped: t.expose("dropped", { type: "SafeInt", description: "Points left out because there were more than a reader takes at once; `metrics` has them." }),
  }),
});

builder.subscriptionField("stageMetrics", (t) => t.field({
  type: MetricBatch,
  description: "Points of one stage as they come. With `afterStep` it begins with those there are after that step; without it, from now. Thinned where there are too many, and `dropped` says by how many.",
  args: { stageId: t.arg.id({ required: true }), names: t.arg.stringList({ description: ALL_WITHOUT }), afterStep: t.arg({ type: "SafeInt" }) },
  subscribe: (_root, { stageId, names, afterStep }, { deps }) => {
    if (!isId("stg", stageId)) throw new NotFoundError("stage", stageId);
    return metricStream({ db: deps.db, wakeups: deps.wakeups, stageId, names: checkNames(names), afterStep: afterStep ?? null });
  },
  resolve: (item) => item as MetricItem,
}));

builder.subscriptionField("jobMetrics", (t) => t.field({
  type: MetricBatch,
  description: "The same for one training job.",
  args: { trainingJobId: t.arg.id({ required: true }), names: t.arg.stringList({ description: ALL_WITHOUT }), afterStep: t.arg({ type: "SafeInt" }) },
  subscribe: async (_root, { trainingJobId, names, afterStep }, { deps, loaders }) => {
    const stageId = isId("job", trainingJobId) ? stageOfJob(trainingJobId) : null;
    if (stageId === null || (await loaders.jobOf.load(stageId)) === null) throw new NotFoundError("training job", trainingJobId);
    return metricStream({ db: deps.db, wakeups: deps.wakeups, stageId, names: checkNames(names), afterStep: afterStep ?? null });
  },
  resolve: (item) => item as MetricItem,
}));

function checkNames(names: readonly string[] | null | undefined): readonly string[] | null {
  if ((names?.length ?? 0) > MAX_NAMES) throw badInput(`Up to ${MAX_NAMES} metrics may be named; leave \`names\` out for all.`);
  return names ?? null;
}
