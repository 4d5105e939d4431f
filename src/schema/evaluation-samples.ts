// The rows behind the scores of an evaluation.

import { builder } from "./builder.js";
import { Evaluation } from "./evaluation.js";
import { SampleConnection, samplesOf, SampleSet, SampleVerdict } from "./sample.js";

builder.objectFields(Evaluation, (t) => ({
  sampleSet: t.field({ type: SampleSet, nullable: true, description: "How many of its rows are stored, by verdict. Null when it told no rows.", resolve: (row, _args, { loaders }) => loaders.evaluationSet.load(row.attemptId) }),
  samples: t.field({
    type: SampleConnection, description: "The rows that were asked, in the order in which they were done.",
    args: { first: t.arg.int({ description: "1 to 100; without `first` and `last` 20." }), after: t.arg.string(), last: t.arg.int(), before: t.arg.string(), verdict: t.arg({ type: SampleVerdict, description: "Only those." }) },
    resolve: async (row, args, context) => {
    const attempt = await context.loaders.attempt.load(row.attemptId);
    return samplesOf(row.stageId, { ...args, source: "evaluation", attempt: attempt!.number }, context);
    },
  }),
}));
