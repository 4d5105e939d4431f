// The pipeline specification: what a user writes, as one zod schema. The schema checks shapes; the DAG, references and per-kind rules are checked in
// validate.ts, so that every problem of a document is reported together. docs/pipeline.md and the JSON Schema for editors are generated from here.

import { z } from "zod";
import { ALGORITHM_FACTS, ROLLOUT_ENGINES, type Algorithm, type RolloutEngine } from "../training/algorithms.js";

/** Stage and key names: safe in paths, references and environment values. */
export const NAME_PATTERN = /^[a-z0-9][a-z0-9._-]*$/;

export const STAGE_KINDS = ["preprocess", "train", "evaluate", "merge", "cleanup", "command", "approval"] as const;
export type StageKind = (typeof STAGE_KINDS)[number];

/** Why an attempt ended badly. Stable; docs/errors.md explains each. `retry.on` takes the same words. */
export const FAILURE_CODES = [
  "EXIT_NONZERO", "KILLED_BY_SIGNAL", "OUT_OF_MEMORY", "GPU_OUT_OF_MEMORY", "MODULE_NOT_FOUND", "COMMAND_NOT_FOUND", "PERMISSION_DENIED", "FILE_NOT_FOUND", "DISK_FULL", "NETWORK",
  "TIMEOUT", "START_TIMEOUT", "NO_PROGRESS", "AGENT_LOST", "AGENT_REFUSED", "HOST_REBOOTED", "PROCESS_VANISHED", "INVALID_INPUT", "INVALID_OUTPUTS", "MISSING_OUTPUT", "HEALTH_POLICY", "INTERNAL",
] as const;
export type FailureCode = (typeof FAILURE_CODES)[number];

/** Causes that the same program on the same input will not survive: retried only when `retry.on` names them. */
export const PERMANENT_CAUSES: readonly FailureCode[] = [
  "MODULE_NOT_FOUND", "COMMAND_NOT_FOUND", "PERMISSION_DENIED", "INVALID_INPUT", "INVALID_OUTPUTS", "MISSING_OUTPUT", "START_TIMEOUT", "HEALTH_POLICY",
];

const label = z.union([z.string().max(500), z.number(), z.boolean()]);
const labels = z.record(z.string().min(1).max(100), label);

const seconds = (what: string) => z.number().positive().max(31_536_000).describe(what);

export const retrySchema = z.strictObject({
  maxAttempts: z.number().int().min(1).max(100).default(1).describe("Tries in all, the first one included."),
  backoffSeconds: z.number().min(0).max(86_400).default(10).describe("Wait before the second try, in seconds."),
  backoffFactor: z.number().min(1).max(10).default(2).describe("Each further wait is this many times the one before."),
  maxBackoffSeconds: z.number().min(0).max(86_400).default(600).describe("No wait is longer than this, in seconds."),
  on: z.array(z.enum(FAILURE_CODES)).min(1).optional().describe("Retry only these causes. Without it: every cause but those that the same input cannot survive (a missing module, a bad path, …)."),
}).describe("What happens after a failed try. A lost agent counts as a try.");
export type RetryPolicy = z.infer<typeof retrySchema>;

export const resourcesSchema = z.strictObject({
  gpus: z.number().int().min(0).max(64).default(0).describe("GPUs on each node."),
  nodes: z.number().int().min(1).max(256).default(1).describe("Agents that run the stage together: all of them at once, or none."),
  gpuModel: z.string().min(1).max(100).optional().describe("Part of the GPU's model name, any case, e.g. H100."),
  gpuMemoryMiB: z.number().int().positive().optional().describe("Memory that must be free on each GPU, in MiB."),
  labels: labels.optional().describe("Labels the agent must carry, with equal values."),
}).describe("What the stage needs from each agent.");
export type Resources = z.infer<typeof resourcesSchema>;

const scalar = z.union([z.string(), z.number(), z.boolean(), z.null()]);
export const conditionSchema = z.strictObject({
  value: z.string().min(1).describe("A reference to an upstream output, e.g. ${stages.score.outputs.scores.accuracy}."),
  equals: scalar.optional().describe("Holds when the value is this, of the same type."),
  notEquals: scalar.optional().describe("Holds when the value is anything else."),
  atLeast: z.number().optional().describe("Holds when the value is a number and not below this."),
  atMost: z.number().optional().describe("Holds when the value is a number and not above this."),
  greaterThan: z.number().optional().describe("Holds when the value is a number above this."),
  lessThan: z.number().optional().describe("Holds when the value is a number below this."),
  in: z.array(scalar).min(1).optional().describe("Holds when the value is one of these."),
}).describe("Runs the stage only if every comparison holds; otherwise it is SKIPPED with the reason.");
export type Condition = z.infer<typeof conditionSchema>;

export const stageSchema = z.strictObject({
  name: z.string().min(1).max(100).regex(NAME_PATTERN, "must be lower-case letters, digits, '.', '_' or '-', beginning with a letter or digit").describe("Unique in the pipeline."),
  kind: z.enum(STAGE_KINDS).describe("What runs the stage; decides the form of params."),
  description: z.string().max(2000).optional().describe("For people."),
  dependsOn: z.array(z.string()).max(10_000).default([]).describe("Stages that must be COMPLETED first."),
  when: conditionSchema.optional(),
  queue: z.string().min(1).max(100).regex(NAME_PATTERN).optional().describe("Named line to wait in. Default by kind: training, evaluation, preprocessing, maintenance, otherwise default."),
  priority: z.number().int().min(-1000).max(1000).default(0).describe("Higher goes first; equal ones by age."),
  resources: resourcesSchema.prefault({}),
  retry: retrySchema.prefault({}),
  timeoutSeconds: seconds("From start to end of one attempt; then it is stopped as TIMEOUT.").optional(),
  startTimeoutSeconds: seconds("From QUEUED to the start of an attempt; then the stage fails as START_TIMEOUT. Default 24 h.").default(86_400),
  noProgressTimeoutSeconds: seconds("Silence, with neither log output nor metrics, after which an attempt is stopped as NO_PROGRESS.").optional(),
  params: z.record(z.string(), z.unknown()).default({}).describe("What to do; the form depends on kind."),
});
export type StageSpec = z.infer<typeof stageSchema>;

/** At most this many stages in one pipeline. */
export const MAX_STAGES = 20_000;

export const pipelineSchema = z.strictObject({
  name: z.string().min(1).max(200).describe("Shown in lists; need not be unique."),
  description: z.string().max(10_000).optional().describe("For people."),
  labels: labels.default({}).describe("Name → text, number or boolean; for finding pipelines again."),
  stages: z.array(stageSchema).min(1).max(MAX_STAGES).describe("The nodes of the graph, in any order."),
});
/** A specification after zod: defaults filled in. */
export type PipelineSpec = z.infer<typeof pipelineSchema>;

const QUEUE_BY_KIND: Partial<Record<StageKind, string>> = {
  preprocess: "preprocessing", train: "training", evaluate: "evaluation", cleanup: "maintenance",
};

/** The queue a stage waits in. */
export function queueOf(stage: Pick<StageSpec, "queue" | "kind">): string {
  return stage.queue ?? QUEUE_BY_KIND[stage.kind] ?? "default";
}

// ── params of the kinds that need nothing but an agent ──────────────────────────────────────────────

const environment = z.record(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/), z.union([z.string(), z.number(), z.boolean()]))
  .describe("Added to the program's environment. A value secret://name is filled in by the agent and redacted everywhere.");

const argument = z.union([z.string(), z.number(), z.boolean()]);

export const commandParamsSchema = z.strictObject({
  run: z.array(argument).min(1).max(10_000).describe("Program and arguments, started as they are: no shell, no expansion."),
  env: environment.optional(),
  workingDirectory: z.string().min(1).optional().describe("Default: the attempt's own directory."),
  totalSteps: z.number().int().positive().optional().describe("Steps to the end, for progress and ETA; the program may also report it."),
  graceSeconds: z.number().min(0).max(3600).default(30).describe("Between SIGTERM and SIGKILL when the stage is stopped."),
});
export type CommandParams = z.infer<typeof commandParamsSchema>;

export const evaluateProgramParamsSchema = commandParamsSchema.extend({
  checkpoint: z.string().optional().describe("Path of the checkpoint that is evaluated; links the scores to it when it is registered."),
  dataset: z.string().optional().describe("Name of the data that is evaluated on, for the record."),
}).describe("A program whose outputs hold scores (name → number) and optionally sampleCount.");
export type EvaluateProgramParams = z.infer<typeof evaluateProgramParamsSchema>;

export const cleanupParamsSchema = z.strictObject({
  stages: z.array(z.string()).min(1).describe("Stages of this pipeline whose checkpoints are tidied."),
  keepBest: z.number().int().min(0).default(1).describe("Checkpoints kept by the metric, per stage."),
  metric: z.string().min(1).optional().describe("Metric at the checkpoint's step; needed for keepBest."),
  mode: z.enum(["min", "max"]).default("min").describe("Which end of the metric is the better one."),
  keepLast: z.number().int().min(0).default(1).describe("Newest checkpoints kept, per stage."),
  olderThanDays: z.number().min(0).optional().describe("Delete only what is older than this."),
});
export type CleanupParams = z.infer<typeof cleanupParamsSchema>;

export const approvalParamsSchema = z.strictObject({
  message: z.string().max(2000).optional().describe("Shown to whoever approves."),
});

/** What an agent must be able to do to run the stage; agents report what they can. Null: no agent is needed. */
export function capabilityOf(stage: Pick<StageSpec, "kind" | "params">): string | null {
  if (stage.kind === "approval") return null;
  if (stage.kind === "evaluate") return "run" in stage.params ? "evaluate" : "endpoint" in stage.params ? "evaluate:endpoint" : modelCapability(stage.params);
  if (stage.kind === "train" || stage.kind === "merge") return trainerCapability(stage);
  return stage.kind;
}

/** A stage that names its own interpreter is checked where it runs: what an agent found in another one says nothing about it. */
function trainerCapability({ kind, params }: Pick<StageSpec, "kind" | "params">): string {
  if (params["simulate"] === true) return `${kind}:simulate`;
  if (params["python"] !== undefined) return "python";
  if (kind === "merge") return "merge";
  const trainer = ALGORITHM_FACTS[params["algorithm"] as Algorithm]?.trainer;
  if (trainer !== "verl-rl") return trainer === "trl-dpo" ? "train:trl" : "train:verl";
  const overridden = (params["overrides"] as Readonly<Record<string, unknown>> | undefined)?.["actor_rollout_ref.rollout.name"];
  if (overridden === undefined) return `train:verl:${engineOf(params["rollout"], "engine")}`;
  return (ROLLOUT_ENGINES as readonly unknown[]).includes(overridden) ? `train:verl:${String(overridden)}` : "train:verl"; // agents do not tell of other engines
}

function modelCapability(params: StageSpec["params"]): string {
  if (params["simulate"] === true) return "evaluate:simulate";
  return params["python"] === undefined ? `evaluate:model:${engineOf(params["engine"], "name")}` : "evaluate:python";
}

/** What draws the answers; the default where nothing says, or a reference does. */
function engineOf(settings: unknown, field: string): RolloutEngine {
  const named = (settings as Readonly<Record<string, unknown>> | undefined)?.[field];
  return ROLLOUT_ENGINES.find((engine) => engine === named) ?? ROLLOUT_ENGINES[0];
}
