// Problems of a specification, and the query that looks for them before anything is stored.

import { trainingProblems } from "../actors/preflight/training-preflight.js";
import { MAX_PROBLEMS, type Problem as ProblemShape } from "../domain/errors.js";
import { validateSpec, type Validation } from "../domain/pipeline/validate.js";
import { unknownDatasets } from "../registry/unknown-datasets.js";
import { builder } from "./builder.js";
import type { SchemaDependencies } from "./context.js";

export const ProblemSeverity = builder.enumType("ProblemSeverity", {
  description: "An ERROR prevents the submission, a WARNING does not.",
  values: ["ERROR", "WARNING"] as const,
});

export const Problem = builder.objectRef<ProblemShape>("Problem").implement({
  description: "One thing wrong with what was sent.",
  fields: (t) => ({
    path: t.exposeString("path", { description: "JSON path to the place, e.g. stages[1].dependsOn[0]; empty for the whole." }),
    severity: t.expose("severity", { type: ProblemSeverity }),
    code: t.exposeString("code", { description: "Stable, e.g. UNKNOWN_DEPENDENCY." }),
    message: t.exposeString("message"),
    hint: t.exposeString("hint", { nullable: true, description: "What to do about it." }),
  }),
});

/** What can be known wrong with a specification by itself, and with what it names of this server. */
export async function validateFor({ db }: Pick<SchemaDependencies, "db">, input: unknown): Promise<Validation> {
  const found = validateSpec(input);
  if (found.spec === null) return found;
  const more = [...(await unknownDatasets(db, found.spec)), ...(await trainingProblems(db, found.spec))];
  const problems = [...found.problems, ...more].slice(0, MAX_PROBLEMS);
  return { ...found, problems, spec: more.some((problem) => problem.severity === "ERROR") ? null : found.spec };
}

const ValidationReport = builder.objectRef<Validation>("ValidationReport").implement({
  description: "What a submission of the specification would say.",
  fields: (t) => ({
    ok: t.boolean({ description: "Whether it would be accepted.", resolve: (report) => report.spec !== null }),
    problems: t.field({ type: [Problem], resolve: (report) => [...report.problems] }),
    layers: t.field({
      type: t.listRef(t.listRef("String")), description: "Stage names by distance from the start; empty when the graph is not sound.",
      resolve: (report) => report.layers.map((layer) => [...layer]),
    }),
  }),
});

builder.queryField("validatePipeline", (t) => t.field({
  type: ValidationReport,
  description: "Everything that can be known wrong with a specification. Takes and stores nothing.",
  args: { spec: t.arg({ type: "JSON", required: true }) },
  resolve: (_root, { spec }, { deps }) => validateFor(deps, spec),
}));
