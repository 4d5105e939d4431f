// Samples: what a model was asked and what it answered, one by one. NaN and infinities are data, as with metrics.

import type { SamplePage, SamplePlace, SampleRow, SampleSet as SetRow } from "../db/telemetry/samples.js";
import type { StageId } from "../domain/ids.js";
import { SAMPLE_SOURCES, SAMPLE_VERDICTS, type SampleSource as Source, type SampleVerdict as Verdict } from "../domain/samples.js";
import { builder } from "./builder.js";
import type { Context } from "./context.js";
import { decodeListCursor, encodeListCursor, pageOf, PageInfo, readPageArgs, type ConnectionShape, type PageArgs } from "./paging.js";
import { TrainingJob } from "./training-job.js";

export const SampleSource = builder.enumType("SampleSource", {
  description: "TRAIN: drawn to learn from. VALIDATION: asked during a training. EVALUATION: a row of an evaluate stage.",
  values: Object.fromEntries(SAMPLE_SOURCES.map((source) => [source.toUpperCase(), { value: source }])) as Record<Uppercase<Source>, { value: Source }>,
});
export const SampleVerdict = builder.enumType("SampleVerdict", {
  description: "CORRECT: a score of at least 1. WRONG: any other score. ERROR: no answer, or none that could be scored. UNSCORED: answered, and nobody scored it one by one.",
  values: SAMPLE_VERDICTS,
});

export const Sample = builder.objectRef<SampleRow>("Sample").implement({
  description: "One question to a model and its answer. Long texts are cut in the middle, where that is said.",
  fields: (t) => ({
    source: t.field({ type: SampleSource, resolve: ({ set }) => set.source }),
    step: t.field({ type: "SafeInt", nullable: true, description: "Null outside trainings.", resolve: ({ set }) => set.step }),
    attempt: t.int({ resolve: ({ set }) => set.attempt }),
    key: t.exposeString("key", { description: "The row that was asked: the same wherever it is asked again." }),
    prompt: t.exposeString("prompt"),
    output: t.exposeString("output"),
    truth: t.exposeString("truth", { nullable: true, description: "What it should have been." }),
    score: t.float({ nullable: true, description: "Null when nobody scored it, or when it is not finite.", resolve: ({ score }) => (score !== null && Number.isFinite(score) ? score : null) }),
    nonFinite: t.string({ nullable: true, description: "NaN, Infinity or -Infinity; null for ordinary numbers.", resolve: ({ score }) => (score === null || Number.isFinite(score) ? null : String(score)) }),
    error: t.exposeString("error", { nullable: true, description: "Why there is no answer, or none that could be scored." }),
    verdict: t.expose("verdict", { type: SampleVerdict }),
  }),
});

const SampleEdge = builder.objectRef<{ readonly node: SampleRow; readonly cursor: string }>("SampleEdge").implement({
  fields: (t) => ({ node: t.expose("node", { type: Sample }), cursor: t.exposeString("cursor") }),
});
export const SampleConnection = builder.objectRef<ConnectionShape<SampleRow>>("SampleConnection").implement({
  fields: (t) => ({
    edges: t.field({ type: [SampleEdge], nullable: { list: false, items: true }, resolve: ({ edges }) => [...edges] }),
    pageInfo: t.expose("pageInfo", { type: PageInfo }),
  }),
});

export const SampleSet = builder.objectRef<SetRow>("SampleSet").implement({
  description: "What one attempt gave of one source at one step.",
  fields: (t) => ({
    source: t.expose("source", { type: SampleSource }),
    step: t.expose("step", { type: "SafeInt", nullable: true }),
    attempt: t.exposeInt("attempt"),
    kept: t.exposeInt("kept", { description: "Samples that are stored." }),
    leftOut: t.exposeInt("leftOut", { description: "Samples that came when the set or the stage was full." }),
    correct: t.int({ resolve: ({ counts }) => counts.CORRECT }),
    wrong: t.int({ resolve: ({ counts }) => counts.WRONG }),
    errors: t.int({ resolve: ({ counts }) => counts.ERROR }),
    unscored: t.int({ resolve: ({ counts }) => counts.UNSCORED }),
  }),
});

export interface SampleArgs extends PageArgs {
  readonly source?: Source | null | undefined;
  readonly step?: number | null | undefined;
  readonly attempt?: number | null | undefined;
  readonly verdict?: Verdict | null | undefined;
}

/** A page of a stage's samples, newest step first. Throws BAD_USER_INPUT. */
export async function samplesOf(stageId: StageId, args: SampleArgs, { loaders }: Context): Promise<ConnectionShape<SampleRow>> {
  const asked = readPageArgs({ ...args, first: args.first ?? (args.last == null ? DEFAULT_SAMPLES : null) }, placeIn);
  const page: SamplePage = {
    stageId, source: args.source ?? null, attempt: args.attempt ?? null, step: args.step ?? null, verdict: args.verdict ?? null,
    limit: asked.size + 1, forward: asked.forward, after: asked.after, before: asked.before,
  };
  return pageOf(asked, [...(await loaders.samplePage.load(page))], cursorOf);
}
const DEFAULT_SAMPLES = 20;

/** Step ("-": none), source, position. */
const cursorOf = ({ set, position }: SampleRow) => encodeListCursor("smps", set.step ?? "-", set.source, position);
function placeIn(cursor: string): SamplePlace {
  const [step, source, position] = decodeListCursor(cursor, "smps", /^(-|\d{1,16}):(train|validation|evaluation):\d{1,10}$/) as [string, Source, string];
  return { step: step === "-" ? null : Number(step), source, position: Number(position) };
}

builder.objectFields(TrainingJob, (t) => ({
  samples: t.field({
    type: SampleConnection, description: "Prompts and drawn answers, newest step first. Of each step only some are kept; `sampleSets` says how many.",
    args: {
      first: t.arg.int({ description: "1 to 100; without `first` and `last` 20." }), after: t.arg.string(), last: t.arg.int(), before: t.arg.string(),
      source: t.arg({ type: SampleSource, description: "Without it: all." }), step: t.arg({ type: "SafeInt" }), attempt: t.arg.int({ description: "Without it: what counts of all attempts." }), verdict: t.arg({ type: SampleVerdict }),
    },
    resolve: (row, args, context) => samplesOf(row.stageId, args, context),
  }),
  sampleSets: t.field({ type: [SampleSet], description: "Newest step first.", resolve: async (row, _args, { loaders }) => [...(await loaders.sampleSetsOf.load(row.stageId))] }),
}));
