// Two evaluations row by row: what the second got right that the first did not, and the other way round.

import { readScores, type SampleSet as SetRow } from "../db/telemetry/samples.js";
import type { EvaluationRow } from "../db/telemetry/evaluations.js";
import { CHANGES, compareSamples, type Change, type Comparison } from "../domain/evaluation/comparison.js";
import { NotFoundError } from "../domain/errors.js";
import { isId } from "../domain/ids.js";
import { builder } from "./builder.js";
import type { Context } from "./context.js";
import { Evaluation } from "./evaluation.js";
import { decodeListCursor, encodeListCursor, pageOf, PageInfo, readPageArgs, type ConnectionShape } from "./paging.js";
import { Sample } from "./sample.js";

const SampleChangeKind = builder.enumType("SampleChangeKind", {
  description: "FIXED: a higher score in the second. BROKEN: a lower one. UNCHANGED: the same.",
  values: Object.fromEntries(CHANGES.map((change) => [change.toUpperCase(), { value: change }])) as Record<Uppercase<Change>, { value: Change }>,
});

interface ChangedRow { readonly key: string; readonly change: Change; readonly place: number; readonly ends: Ends }
interface Ends { readonly from: SetRow; readonly to: SetRow }

const SampleChange = builder.objectRef<ChangedRow>("SampleChange").implement({
  description: "A row that both evaluations scored.",
  fields: (t) => ({
    key: t.exposeString("key", { description: "The row: the same in both." }),
    change: t.expose("change", { type: SampleChangeKind }),
    from: t.field({ type: Sample, nullable: true, resolve: ({ ends, key }, _args, { loaders }) => loaders.sampleByKey.load({ set: ends.from, key }) }),
    to: t.field({ type: Sample, nullable: true, resolve: ({ ends, key }, _args, { loaders }) => loaders.sampleByKey.load({ set: ends.to, key }) }),
  }),
});
const SampleChangeEdge = builder.objectRef<{ readonly node: ChangedRow; readonly cursor: string }>("SampleChangeEdge").implement({
  fields: (t) => ({ node: t.expose("node", { type: SampleChange }), cursor: t.exposeString("cursor") }),
});
const SampleChangeConnection = builder.objectRef<ConnectionShape<ChangedRow>>("SampleChangeConnection").implement({
  fields: (t) => ({
    edges: t.field({ type: [SampleChangeEdge], nullable: { list: false, items: true }, resolve: ({ edges }) => [...edges] }),
    pageInfo: t.expose("pageInfo", { type: PageInfo }),
  }),
});

interface Compared extends Comparison { readonly evaluations: { readonly from: EvaluationRow; readonly to: EvaluationRow }; readonly ends: Ends | null; readonly leftOut: number }

const EvaluationComparison = builder.objectRef<Compared>("EvaluationComparison").implement({
  description: "What changed from one evaluation to another, row by row. Rows are the same when question and ground truth are, whatever prompt template or model was used.",
  fields: (t) => ({
    from: t.field({ type: Evaluation, resolve: ({ evaluations }) => evaluations.from }),
    to: t.field({ type: Evaluation, resolve: ({ evaluations }) => evaluations.to }),
    simulated: t.boolean({ description: "One of the two is simulated: the comparison says nothing.", resolve: ({ evaluations: { from, to } }) => from.simulated || to.simulated }),
    compared: t.exposeInt("compared", { description: "Rows that both scored. 0 when one of them told no scores row by row." }),
    fixedCount: t.int({ resolve: ({ fixed }) => fixed.length }),
    brokenCount: t.int({ resolve: ({ broken }) => broken.length }),
    unchangedCount: t.int({ resolve: ({ unchanged }) => unchanged.length }),
    onlyInFrom: t.exposeInt("onlyInFirst", { description: "Rows that only the first scored." }),
    onlyInTo: t.exposeInt("onlyInSecond", { description: "Rows that only the second scored." }),
    fromMean: t.float({ nullable: true, description: "Over the rows that both scored; null without any.", resolve: ({ means }) => means?.first ?? null }),
    toMean: t.float({ nullable: true, resolve: ({ means }) => means?.second ?? null }),
    difference: t.float({ nullable: true, description: "toMean - fromMean.", resolve: ({ means }) => means?.difference ?? null }),
    low: t.float({ nullable: true, description: "Of the difference, 95 % by paired bootstrap; null when no row changed.", resolve: ({ confidence }) => confidence?.low ?? null }),
    high: t.float({ nullable: true, resolve: ({ confidence }) => confidence?.high ?? null }),
    pValue: t.float({ description: "How likely chance alone brings changes as uneven as these, two-sided.", resolve: ({ test }) => test.p }),
    test: t.string({ description: "mcnemar: every score is 0 or 1. sign: scores in between; only the direction of a change counts.", resolve: ({ test }) => test.method }),
    leftOut: t.exposeInt("leftOut", { description: "Rows of both evaluations that were not stored for lack of room, and so were not compared." }),
    changes: t.field({
      type: SampleChangeConnection, description: "The rows of one kind, in the order of the second evaluation.",
      args: { change: t.arg({ type: SampleChangeKind, required: true }), first: t.arg.int({ description: "1 to 100; without `first` and `last` 50." }), after: t.arg.string(), last: t.arg.int(), before: t.arg.string() },
      resolve: (compared, { change, ...args }) => {
        const asked = readPageArgs(args, (cursor) => Number(decodeListCursor(cursor, `chg-${change}`, /^\d{1,9}$/)[0]));
        const keys = compared[change];
        const places = keys.map((_, place) => place).slice(asked.after === null ? 0 : asked.after + 1, asked.before ?? undefined);
        const taken = asked.forward ? places.slice(0, asked.size + 1) : places.slice(-(asked.size + 1)).reverse();
        return pageOf(asked, taken.map((place): ChangedRow => ({ key: keys[place]!, change, place, ends: compared.ends! })), ({ place }) => encodeListCursor(`chg-${change}`, place));
      },
    }),
  }),
});

builder.queryField("compareEvaluations", (t) => t.field({
  type: EvaluationComparison,
  description: "Compares two evaluations row by row; of whichever pipelines and models. Fails with NOT_FOUND for an id that is none of an evaluation.",
  args: { from: t.arg.id({ required: true }), to: t.arg.id({ required: true }) },
  resolve: async (_root, args, context) => {
    const [from, to] = await Promise.all([find(args.from, context), find(args.to, context)]);
    const [fromSet, toSet] = await Promise.all([from, to].map(({ attemptId }) => context.loaders.evaluationSet.load(attemptId)));
    const scores = async (set: SetRow | null | undefined) => (set == null ? [] : readScores(context.deps.db, set.id));
    const [before, after] = await Promise.all([scores(fromSet), scores(toSet)]);
    return {
      ...compareSamples(before, after), evaluations: { from, to }, leftOut: (fromSet?.leftOut ?? 0) + (toSet?.leftOut ?? 0), ends: fromSet == null || toSet == null ? null : { from: fromSet, to: toSet },
    };
  },
}));

async function find(id: string, { loaders }: Context): Promise<EvaluationRow> {
  const found = isId("evl", id) ? await loaders.evaluation.load(id) : null;
  if (found === null) throw new NotFoundError("evaluation", id);
  return found;
}
