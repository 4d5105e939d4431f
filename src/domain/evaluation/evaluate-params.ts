// What an evaluate stage without a program of its own may be told (`params` of kind evaluate without `run`), as one zod schema, and the rules between its
// fields. docs/pipeline.md and the JSON Schema for editors are generated from here. How answers are scored: src/evaluation/scorers.

import { z } from "zod";
import { preprocessParamsSchema, preprocessProblems, type PreprocessParams } from "../data/preprocess-params.js";
import type { Problem } from "../errors.js";
import type { Resources } from "../pipeline/spec.js";
import { ROLLOUT_ENGINES } from "../training/algorithms.js";
import type { OverrideValue } from "../training/train-params.js";

const path = z.string().min(1).max(4_096);
const whole = z.number().int().positive();
const scalar = z.union([z.string(), z.number(), z.boolean(), z.null()]);
const overrideValue: z.ZodType<OverrideValue> = z.lazy(() => z.union([scalar, z.array(overrideValue), z.record(z.string(), overrideValue)]));
const argument = z.union([z.string(), z.number(), z.boolean()]);

/** How an answer is judged against the ground truth by Trainyard itself. */
export const SCORER_NAMES = ["exact", "contains", "numeric", "math", "choice"] as const;
export type ScorerName = (typeof SCORER_NAMES)[number];

const SECRET_REFERENCE = /^secret:\/\/[A-Za-z0-9][A-Za-z0-9._-]*$/;

const programScorerSchema = z.strictObject({
  program: z.array(argument).min(1).max(1_000).describe("Program and arguments, started as they are. It reads one JSON object per line and answers each with one."),
  timeoutSeconds: z.number().positive().max(86_400).default(60).describe("For one answer; then the program is started again."),
});
const verlScorerSchema = z.strictObject({
  verl: z.strictObject({
    file: path.describe("Python file on the host with the reward function: (data_source, solution_str, ground_truth)."),
    function: z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/).default("compute_score").describe("Its name in the file."),
  }).describe("Scored by verl's main_eval: a mean per data_source, no score per sample."),
});

export const endpointSchema = z.strictObject({
  url: z.string().min(1).max(2_000).describe("Where the OpenAI-compatible API begins, e.g. http://host:8000/v1; /chat/completions is appended."),
  model: z.string().min(1).max(500).describe("The name by which the endpoint knows the model."),
  apiKey: z.string().regex(SECRET_REFERENCE, "must be a reference, secret://name, so that the key itself stands in no specification").optional().describe("secret://name; sent as Authorization: Bearer."),
  headers: z.record(z.string().regex(/^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,200}$/, "must be the name of an HTTP header"), z.string().max(8_000)).optional().describe("Sent with every request. A value secret://name is filled in by the agent."),
});

export const generationSchema = z.strictObject({
  n: whole.max(1_024).default(1).describe("Answers per row; a row's score is their mean."),
  temperature: z.number().min(0).max(10).optional().describe("Default: 0 for one answer per row, otherwise 1."),
  topP: z.number().gt(0).max(1).optional().describe("Default: 1."),
  maxTokens: whole.max(10_000_000).default(1_024).describe("Longest answer, in tokens."),
  maxPromptTokens: whole.max(10_000_000).optional().describe("model: room for prompts, in tokens. Default 1024."),
  extra: z.record(z.string().min(1).max(200), z.json()).optional().describe("endpoint: further fields of each request, e.g. seed; null leaves one of ours out, as for services that refuse max_tokens."),
});

export const evaluateModelParamsSchema = z.strictObject({
  model: path.optional().describe("Path on the host, hub id, or ${stages.<name>.outputs.model}: answers are drawn by verl's generation server on the stage's GPUs."),
  endpoint: endpointSchema.optional().describe("Instead of model: an OpenAI-compatible service that draws the answers."),
  input: preprocessParamsSchema.shape.input.describe("What is asked: one file, several, globs, or data sets of the registry, as in preprocess."),
  format: preprocessParamsSchema.shape.format,
  columns: preprocessParamsSchema.shape.columns,
  systemPrompt: preprocessParamsSchema.shape.systemPrompt,
  promptTemplate: preprocessParamsSchema.shape.promptTemplate,
  answerPattern: preprocessParamsSchema.shape.answerPattern,
  dataSource: z.string().min(1).max(200).optional().describe("verl scorer: data_source that the reward function is given. Default: the row's own, otherwise custom."),
  maxRows: whole.optional().describe("At most so many rows are asked, chosen by content hash and seed."),
  seed: z.number().int().min(0).max(4_294_967_295).default(0).describe("For the choice of maxRows."),
  maxRejectedFraction: z.number().min(0).max(1).optional().describe("Fails the stage when more than this share of the rows is broken. Without it broken rows are only counted."),
  scorer: z.union([z.enum(SCORER_NAMES), programScorerSchema, verlScorerSchema]).describe("exact, contains, numeric, math, choice, or an object: {program: [argv]} or {verl: {file}}."),
  tolerance: z.number().min(0).max(1).optional().describe("numeric, math: numbers also count as equal when they differ by no more than this share of the ground truth. Default 0: equal values."),
  ignoreCase: z.boolean().optional().describe("exact, contains. Default false."),
  generation: generationSchema.prefault({}).describe("How answers are drawn."),
  concurrency: whole.max(1_024).optional().describe("endpoint: requests under way at once. Default 8."),
  retry: z.strictObject({
    maxAttempts: whole.max(100).default(6).describe("Tries of one request, the first one included."),
    backoffSeconds: z.number().min(0).max(3_600).default(1).describe("Wait before the second try; each further wait is about twice as long. A Retry-After of the service goes before."),
    maxBackoffSeconds: z.number().min(0).max(3_600).default(60).describe("No wait of ours is longer."),
  }).optional().describe("endpoint: what happens after 408, 409, 425, 429, 5xx, a broken connection or silence."),
  requestTimeoutSeconds: z.number().positive().max(86_400).optional().describe("endpoint: for one request. Default 600."),
  maxErrorFraction: z.number().min(0).max(1).default(0.05).describe("Fails the stage when more than this share of the rows got no answer or no score. Such rows are counted in errors and are not in the score; the next try asks for them again."),
  engine: z.strictObject({
    name: z.enum(ROLLOUT_ENGINES).default(ROLLOUT_ENGINES[0]),
    tensorParallel: whole.max(64).default(1).describe("GPUs per copy of the model; the rest of the stage's GPUs hold further copies."),
    memoryShare: z.number().gt(0).lt(1).default(0.8).describe("Of each GPU's memory, for weights and KV cache."),
  }).optional().describe("model: what draws the answers."),
  overrides: z.record(z.string().min(1).max(300), overrideValue).optional().describe("model: anything else of verl's configuration, by its own key path."),
  simulate: z.boolean().default(false).describe("model: a stand-in makes up the answers, without verl and GPUs, some of them right; the scorer scores them in earnest. For trying a pipeline out. Every view says so."),
  verl: z.string().regex(/^0\.\d+\.\d+$/).optional().describe("model: version that the overrides are checked against beforehand. Default 0.7.1; the agent checks against what it has."),
  python: path.optional().describe("model, and the scorer verl: Python interpreter on the host that has verl. Default: what the agent found verl with."),
  env: z.record(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/), argument).optional().describe("Added to the environment of verl and of the scorer's program. A value secret://name is filled in by the agent and redacted everywhere."),
  graceSeconds: z.number().min(0).max(3_600).default(30).describe("Between SIGTERM and SIGKILL when the stage is stopped."),
  checkpoint: z.string().optional().describe("Path of the checkpoint that is evaluated; links the scores to it when it is registered."),
  dataset: z.string().optional().describe("Name of the data that is evaluated on, for the record."),
}).describe("Draws answers to the rows of a data file and scores them.");
export type EvaluateModelParams = z.infer<typeof evaluateModelParamsSchema>;

/** What stands in `scorer` by its form. */
export type ScorerKind = ScorerName | "program" | "verl";

export function scorerKindOf({ scorer }: Pick<EvaluateModelParams, "scorer">): ScorerKind {
  return typeof scorer === "string" ? scorer : "program" in scorer ? "program" : "verl";
}

/** Any data_source that verl scores by a rule: with one, the conversion insists on ground truths. */
const DEMANDS_TRUTH = "math";

/** The params by which src/data reads the rows, as for task rl. Scorers of ours need a ground truth in every row; programs and reward functions may do without. */
export function readingParams(params: EvaluateModelParams): PreprocessParams {
  const { input, format, columns, systemPrompt, promptTemplate, answerPattern, dataSource } = params;
  const ours = typeof params.scorer === "string";
  const { dataSource: _named, ...others } = columns ?? {};
  const read = ours ? others : columns;
  return preprocessParamsSchema.parse({
    input, task: "rl", rewardStyle: "rule", customReward: !ours, filter: { emptyAnswers: "keep" },
    ...(ours ? { dataSource: DEMANDS_TRUTH } : dataSource === undefined ? {} : { dataSource }),
    ...(format === undefined ? {} : { format }), ...(columns === undefined ? {} : { columns: read }), ...(systemPrompt === undefined ? {} : { systemPrompt }),
    ...(promptTemplate === undefined ? {} : { promptTemplate }), ...(answerPattern === undefined ? {} : { answerPattern }),
  });
}

/** What is wrong between the fields of well-formed params. `path` is where they stand, e.g. stages[0].params; `resources` are the stage's. */
export function evaluateProblems(params: EvaluateModelParams, path: string, resources: Pick<Resources, "gpus" | "nodes">): Problem[] {
  const problems: Problem[] = [];
  const refuse: Refuse = (field, code, message, hint) => void problems.push({ path: `${path}.${field}`, severity: "ERROR", code, message, hint });
  if (params.model === undefined && params.endpoint === undefined) refuse("model", "MISSING_FIELD", "The stage names nothing to evaluate.", "Give model (drawn here, on GPUs), endpoint (an OpenAI-compatible service), or run (a program of your own).");
  if (params.model !== undefined && params.endpoint !== undefined) refuse("endpoint", "UNUSED_FIELD", "Both model and endpoint are given.", "Remove one of the two.");
  refuseUnused(params, refuse);
  if (params.endpoint !== undefined) refuseEndpoint(params.endpoint, refuse);
  const { n, temperature } = params.generation;
  if (n > 1 && temperature === 0) refuse("generation.temperature", "INVALID_FIELD", `At temperature 0 all ${n} answers to a row would be the same.`, "Set n: 1, or a temperature above 0.");
  if (params.model !== undefined && params.endpoint === undefined) problems.push(...resourceProblems(params, path, resources));
  problems.push(...preprocessProblems(readingParams(params), path).filter(({ path: at }) => !at.startsWith(`${path}.filter`)));
  for (const [index, one] of (Array.isArray(params.input) ? params.input : [params.input]).entries()) {
    if (typeof one !== "string" && one.weight !== undefined) refuse(Array.isArray(params.input) ? `input[${index}].weight` : "input.weight", "UNUSED_FIELD", "Rows are evaluated one by one, not mixed: a weight has no meaning here.", "Remove it; maxRows bounds an input.");
  }
  return problems;
}

type Refuse = (field: string, code: string, message: string, hint: string | null) => void;

const ONLY_FOR_ENDPOINT = ["concurrency", "retry", "requestTimeoutSeconds"] as const;
const ONLY_FOR_MODEL = ["engine", "overrides", "verl"] as const;

function refuseUnused(params: EvaluateModelParams, refuse: Refuse): void {
  const unused = (field: string, needed: string) => refuse(field, "UNUSED_FIELD", `${field} has a meaning only ${needed}.`, "Remove it.");
  const kind = scorerKindOf(params);
  if (params.endpoint === undefined) {
    for (const field of ONLY_FOR_ENDPOINT) if (params[field] !== undefined) unused(field, "with endpoint");
    if (params.generation.extra !== undefined) unused("generation.extra", "with endpoint");
  } else {
    for (const field of ONLY_FOR_MODEL) if (params[field] !== undefined) unused(field, "with model");
    if (params.generation.maxPromptTokens !== undefined) unused("generation.maxPromptTokens", "with model");
    if (params.simulate) unused("simulate", "with model");
    if (params.python !== undefined && kind !== "verl") unused("python", "with model or the scorer verl");
  }
  if (params.tolerance !== undefined && kind !== "numeric" && kind !== "math") unused("tolerance", "for the scorers numeric and math");
  if (params.ignoreCase !== undefined && kind !== "exact" && kind !== "contains") unused("ignoreCase", "for the scorers exact and contains");
  if (params.dataSource !== undefined && kind !== "verl") unused("dataSource", "for the scorer verl");
}

/** Headers that carry a secret by their nature. */
const SECRET_HEADERS = /^(?:authorization|proxy-authorization|cookie|(?:x-)?api-?key|x-auth-token)$/i;
const OUR_HEADERS = /^(?:content-type|content-length|host|connection|transfer-encoding|accept-encoding)$/i;

function refuseEndpoint({ url, apiKey, headers = {} }: NonNullable<EvaluateModelParams["endpoint"]>, refuse: Refuse): void {
  if (!url.includes("${")) {
    const parsed = URL.canParse(url) ? new URL(url) : null;
    if (parsed === null || !/^https?:$/.test(parsed.protocol)) refuse("endpoint.url", "INVALID_FIELD", "endpoint.url is no http or https address.", "Write where the API begins, e.g. http://host:8000/v1.");
    else if (parsed.username !== "" || parsed.password !== "") refuse("endpoint.url", "PLAIN_SECRET", "endpoint.url holds a user or password, which would be shown wherever the specification is.", "Use apiKey or headers with secret://name.");
    else if (/\/chat\/completions\/?$/.test(parsed.pathname)) refuse("endpoint.url", "INVALID_FIELD", "endpoint.url names the method itself.", "End it before /chat/completions.");
  }
  for (const [name, value] of Object.entries(headers)) {
    const field = `endpoint.headers.${name}`;
    if (OUR_HEADERS.test(name)) refuse(field, "INVALID_FIELD", `The header ${name} is set by Trainyard.`, "Remove it.");
    if (SECRET_HEADERS.test(name) && !SECRET_REFERENCE.test(value)) refuse(field, "PLAIN_SECRET", `The header ${name} carries a secret, which would be shown wherever the specification is.`, "Write secret://name and give the secret to the agent.");
    if (apiKey !== undefined && /^authorization$/i.test(name)) refuse(field, "UNUSED_FIELD", "apiKey is sent in this header.", "Remove one of the two.");
    if (/[\r\n\0]/.test(value)) refuse(field, "INVALID_FIELD", `The header ${name} holds a line break.`, null);
  }
}

function resourceProblems({ engine, simulate }: EvaluateModelParams, path: string, { gpus, nodes }: Pick<Resources, "gpus" | "nodes">): Problem[] {
  const at = path.replace(/params$/, "resources");
  const problem = (field: string, message: string, hint: string): Problem => ({ path: `${at}.${field}`, severity: "ERROR", code: "INVALID_FIELD", message, hint });
  if (simulate) return [];
  const each = engine?.tensorParallel ?? 1;
  if (gpus === 0) return [problem("gpus", "A model is evaluated on GPUs, and the stage asks for none.", "Set resources: { gpus: 1 } or more, or evaluate an endpoint.")];
  if (nodes > 1) return [problem("nodes", "A model is evaluated on one node.", "Set nodes: 1.")];
  return gpus % each === 0 ? [] : [problem("gpus", `${gpus} GPUs cannot be shared out among copies of ${each} GPUs each (engine.tensorParallel).`, `Ask for a multiple of ${each}.`)];
}
