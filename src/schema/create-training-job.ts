// createTrainingJob: one training run without a pipeline to write. It becomes a pipeline of one train stage, judged and stored like any other.

import { InvalidInputError, type Problem } from "../domain/errors.js";
import type { TrainingJobRow } from "../db/training-jobs.js";
import { builder } from "./builder.js";
import { Conflict, Forbidden, InvalidInput, memberOf } from "./domain-error.js";
import { audited } from "./mutation.js";
import { Problem as ProblemRef } from "./validation.js";
import { Pipeline, submitSpec, type Submitted } from "./pipeline.js";
import { TrainingAlgorithm } from "./training-algorithm.js";
import { TrainingJob } from "./training-job.js";

const CreateTrainingJobInput = builder.inputType("CreateTrainingJobInput", {
  fields: (t) => ({
    name: t.string({ required: true, description: "Of the pipeline that it becomes; its one stage is called train." }),
    algorithm: t.field({ type: TrainingAlgorithm, required: true }),
    model: t.string({ required: true, description: "Path on the host, or hub id." }),
    trainFiles: t.stringList({ required: true, description: "Parquet files on the host, or registered ones (dataset:<name>)." }),
    valFiles: t.stringList({ description: "Needed for reinforcement learning." }),
    overrides: t.field({ type: "JSON", description: "An object: anything verl's configuration knows, by its own key path." }),
    params: t.field({ type: "JSON", description: "An object: further params of a train stage, e.g. batchSize, lora, saveEvery, health, simulate; docs/pipeline.md lists them." }),
    gpus: t.int({ defaultValue: 1, description: "On each node." }),
    nodes: t.int({ defaultValue: 1 }),
    requestId: t.string({ description: "Chosen by the client and kept over repetitions: the same input answers the same job, another one a ConflictError." }),
  }),
});
type Input = typeof CreateTrainingJobInput.$inferInput;

interface Created extends Submitted { readonly trainingJob: TrainingJobRow }
const CreateTrainingJobPayload = builder.objectRef<Created>("CreateTrainingJobPayload").implement({
  fields: (t) => ({
    trainingJob: t.expose("trainingJob", { type: TrainingJob }),
    pipeline: t.expose("pipeline", { type: Pipeline }),
    cursor: t.expose("cursor", { type: "EventCursor", description: "The newest event that it caused." }),
    warnings: t.field({ type: [ProblemRef], description: "What prevented nothing but should be read.", resolve: ({ warnings }) => [...warnings] }),
  }),
});
const CreateTrainingJobResult = builder.unionType("CreateTrainingJobResult", { types: [CreateTrainingJobPayload, InvalidInput, Conflict, Forbidden], resolveType: memberOf("CreateTrainingJobPayload") });

builder.mutationField("createTrainingJob", (t) => t.field({
  type: CreateTrainingJobResult, description: "Trains a model: a pipeline of one train stage. What verl would refuse is refused here.",
  args: { input: t.arg({ type: CreateTrainingJobInput, required: true }) },
  resolve: audited({
    subject: () => null,
    made: ({ pipeline }: Created) => pipeline.id,
    run: async ({ input }: { input: Input }, actor, context) => {
      const moved = await submitSpec(specOf(input), input.requestId ?? null, actor, context).catch((error: unknown) => {
        throw error instanceof InvalidInputError ? new InvalidInputError("The training cannot be accepted; each place that is wrong is named in `problems`.", error.problems.map(atInput), error.code) : error;
      });
      const [stage] = await context.loaders.stagesOf.load(moved.pipeline.id);
      return { ...moved, warnings: moved.warnings.map(atInput), trainingJob: (await context.loaders.jobOf.load(stage!.id))! };
    },
  }),
}));

/** Fields of the input that are params of the stage. */
const OWN = ["algorithm", "model", "trainFiles", "valFiles", "overrides"] as const;

function specOf(input: Input): unknown {
  const more = input.params ?? {};
  for (const [name, value] of [["params", more], ["overrides", input.overrides ?? {}]] as const) if (typeof value !== "object" || value === null || Array.isArray(value)) throw refused(`input.${name}`, `\`${name}\` is an object.`, "Send {\"name\": value, …}.");
  for (const name of OWN) if (Object.hasOwn(more as object, name)) throw refused(`input.params.${name}`, `\`${name}\` stands beside \`params\`, not in it.`, `Send it as input.${name}.`);
  const own = Object.fromEntries(OWN.flatMap((name) => (input[name] == null ? [] : [[name, input[name]]])));
  return { name: input.name, stages: [{ name: "train", kind: "train", resources: { gpus: input.gpus ?? 1, nodes: input.nodes ?? 1 }, params: { ...(more as object), ...own } }] };
}

function refused(path: string, message: string, hint: string): InvalidInputError {
  return new InvalidInputError(message, [{ path, severity: "ERROR", code: "INVALID_VALUE", message, hint }]);
}

/** Where a place of the specification stands in the input. */
function atInput(problem: Problem): Problem {
  const path = problem.path
    .replace(new RegExp(`^stages\\[0\\]\\.params\\.(${OWN.join("|")})`), "input.$1").replace(/^stages\[0\]\.params/, "input.params").replace(/^stages\[0\]\.resources\.?/, "input.").replace(/^(name|requestId)/, "input.$1");
  return { ...problem, path };
}
