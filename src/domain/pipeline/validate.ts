// Everything that can be known wrong with a specification before anything is stored: shapes (zod), the graph, references, conditions, params by kind. All
// problems of a document are reported together, each with its JSON path.

import type { z } from "zod";
import { preprocessParamsSchema, preprocessProblems } from "../data/preprocess-params.js";
import { evaluateModelParamsSchema, evaluateProblems } from "../evaluation/evaluate-params.js";
import { mergeParamsSchema } from "../training/merge-params.js";
import { trainParamsSchema } from "../training/train-params.js";
import { MAX_PROBLEMS, excerpt, type Problem } from "../errors.js";
import { buildDag, dagProblems, layersOf, nearestName, spelling, upstreamTest, type Dag } from "./dag.js";
import { hostileProblem } from "./hostile-input.js";
import { issueWords } from "./issue-words.js";
import { findReferences } from "./references.js";
import { simulationProblems } from "./simulated.js";
import {
  MAX_STAGES, approvalParamsSchema, cleanupParamsSchema, commandParamsSchema, evaluateProgramParamsSchema, pipelineSchema, stageSchema, type PipelineSpec, type StageSpec,
} from "./spec.js";
import type { Json } from "./state.js";

export interface Validation {
  /** The specification with defaults filled in; null when any problem is an ERROR. */
  readonly spec: PipelineSpec | null;
  readonly problems: readonly Problem[];
  /** Empty when the graph is not sound. */
  readonly layers: readonly (readonly string[])[];
}

/** Largest specification, as JSON, in bytes. */
export const MAX_SPEC_BYTES = 16 * 1_048_576;

/** Judges a document. Never throws; stores nothing. */
export function validateSpec(input: unknown): Validation {
  const refused = hostileProblem(input) ?? tooManyStages(input);
  if (refused !== null) return { spec: null, problems: [refused], layers: [] };
  const parsed = pipelineSchema.safeParse(input, { error: issueWords });
  const { nodes, stages } = parsed.success ? { nodes: parsed.data.stages, stages: parsed.data.stages } : readable(input);
  const problems = parsed.success ? [] : shapeProblems(parsed.error, input);
  const graph = dagProblems(nodes);
  const dag = graph.length === 0 ? buildDag(nodes) : null;
  const names = new Set(nodes.map((node) => node.name));
  problems.push(...graph, ...(dag === null ? [] : [...referenceProblems(stages, dag), ...simulationProblems(stages)]));
  for (const [index, stage] of stages.entries()) {
    if (stage !== null) problems.push(...paramsProblems(stage, index, names));
    if (problems.length > MAX_PROBLEMS) break;
  }
  const failed = !parsed.success || problems.some((found) => found.severity === "ERROR");
  return { spec: failed ? null : parsed.data, problems: firstOf(problems), layers: dag === null ? [] : layersOf(dag) };
}

function tooManyStages(input: unknown): Problem | null {
  const stages = (input as { stages?: unknown } | null | undefined)?.stages;
  return Array.isArray(stages) && stages.length > MAX_STAGES ? problem("stages", "TOO_MANY_STAGES", `${stages.length} stages are more than the ${MAX_STAGES} a pipeline may have.`, "Split it into several pipelines.") : null;
}

function firstOf(problems: readonly Problem[]): readonly Problem[] {
  if (problems.length < MAX_PROBLEMS) return problems;
  return [...problems.slice(0, MAX_PROBLEMS - 1), problem("", "MORE_PROBLEMS", "There are more problems than are listed here.", "Correct these first.")];
}

/** What can be judged of a document with other faults: its graph when every name can be read, and the stages that are well formed by themselves. */
function readable(input: unknown): { nodes: readonly { name: string; dependsOn: readonly string[] }[]; stages: readonly (StageSpec | null)[] } {
  const raw = (input as { stages?: unknown } | null | undefined)?.stages;
  if (!Array.isArray(raw)) return { nodes: [], stages: [] };
  const nodes = raw.flatMap((stage: { name?: unknown; dependsOn?: unknown } | null) => (typeof stage?.name === "string" ? [{ name: stage.name, dependsOn: Array.isArray(stage.dependsOn) ? stage.dependsOn.filter((name): name is string => typeof name === "string") : [] }] : []));
  if (nodes.length < raw.length) return { nodes: [], stages: [] };
  return { nodes, stages: raw.map((stage) => stageSchema.safeParse(stage).data ?? null) };
}

/** What zod finds wrong with `value`, as problems beneath `path`. Also used for params after references were resolved. */
export function problemsOf(schema: z.ZodType, value: unknown, path: string): Problem[] {
  const parsed = schema.safeParse(value, { error: issueWords });
  return parsed.success ? [] : shapeProblems(parsed.error, value, path, schema);
}

function shapeProblems(error: z.ZodError, input: unknown, base = "", schema: z.ZodType = pipelineSchema): Problem[] {
  return error.issues.slice(0, MAX_PROBLEMS).flatMap((issue): Problem[] => {
    const path = pathOf(issue.path, base);
    if (issue.code === "unrecognized_keys") {
      const known = knownKeys(issue.path, schema);
      return issue.keys.slice(0, MAX_PROBLEMS).map((key) => {
        const near = nearestName(key, known);
        return problem(path === "" ? key : `${path}.${key}`, "UNKNOWN_FIELD", `There is no field "${excerpt(key)}" here.`, near === null ? (known.length > 0 ? `Known fields: ${known.join(", ")}.` : null) : `Did you mean "${near}"?`);
      });
    }
    const value = valueAt(input, issue.path);
    if (value === undefined) return [problem(path, "MISSING_FIELD", `${path === "" ? "The specification" : `"${path}"`} is missing. ${issue.message}`, null)];
    const near = issue.code === "invalid_value" && typeof value === "string" ? nearestName(value, issue.values.map(String)) : null;
    return [problem(path, "INVALID_FIELD", `${path || "The specification"}: ${issue.message}`, near === null ? null : `Did you mean "${near}"?`)];
  });
}

/** `stages` holds null where a stage is not well formed. */
function referenceProblems(stages: readonly (StageSpec | null)[], dag: Dag): Problem[] {
  const problems: Problem[] = [];
  const near = spelling(dag.indexOf);
  const targets = new Set<number>();
  const toJudge: { index: number; target: number; path: string; text: string }[] = [];
  for (const [index, stage] of stages.entries()) {
    if (stage === null) continue;
    const inCondition = findReferences(stage.when?.value, `stages[${index}].when.value`);
    if (stage.when !== undefined && inCondition.length === 0) {
      problems.push(problem(`stages[${index}].when.value`, "INVALID_CONDITION", `The condition of stage "${stage.name}" compares a fixed text.`, "Write a reference: ${stages.<name>.outputs.<key>}."));
    }
    for (const { path, reference } of [...findReferences(stage.params, `stages[${index}].params`), ...inCondition]) {
      if (problems.length > MAX_PROBLEMS) break;
      const text = excerpt(reference.text);
      const target = "stage" in reference ? dag.indexOf.get(reference.stage) : undefined;
      if (!("stage" in reference)) problems.push(problem(path, "INVALID_REFERENCE", `${text} ${reference.why}.`, null));
      else if (target === undefined) problems.push(problem(path, "UNKNOWN_REFERENCE", `${text} refers to stage "${excerpt(reference.stage)}", which does not exist.`, near(reference.stage)));
      else if (target === index) problems.push(problem(path, "REFERENCE_NOT_UPSTREAM", `Stage "${stage.name}" reads ${text}, its own output.`, "Outputs exist once a stage has completed: read them in a later stage."));
      else toJudge.push({ index, target: (targets.add(target), target), path, text });
    }
  }
  const isUpstream = upstreamTest(dag, targets);
  for (const { index, target, path, text } of toJudge) {
    if (isUpstream(index, target)) continue;
    problems.push(problem(path, "REFERENCE_NOT_UPSTREAM", `Stage "${dag.names[index]!}" reads ${text}, but does not depend on "${dag.names[target]!}".`, `Add "${dag.names[target]!}" to dependsOn of "${dag.names[index]!}".`));
    if (problems.length > MAX_PROBLEMS) break;
  }
  return problems;
}

const PARAMS: Partial<Record<StageSpec["kind"], z.ZodType>> = { command: commandParamsSchema, cleanup: cleanupParamsSchema, approval: approvalParamsSchema, preprocess: preprocessParamsSchema, evaluate: evaluateModelParamsSchema, train: trainParamsSchema, merge: mergeParamsSchema };

function paramsSchema(stage: Pick<StageSpec, "kind" | "params">): z.ZodType | undefined {
  return stage.kind === "evaluate" && "run" in stage.params ? evaluateProgramParamsSchema : PARAMS[stage.kind];
}

/** What is wrong with a stage's params now that their references are resolved; what stood there as written was judged at submission. */
export function resolvedParamsProblems(stage: StageSpec, params: Record<string, Json>): Problem[] {
  const schema = paramsSchema(stage);
  if (schema === undefined || findReferences(stage.params, "").length === 0) return [];
  const problems = problemsOf(schema, params, "params");
  return problems.length === 0 ? betweenFields({ ...stage, params }, "params") : problems;
}

function paramsProblems(stage: StageSpec, index: number, names: ReadonlySet<string>): Problem[] {
  const path = `stages[${index}].params`;
  const schema = paramsSchema(stage);
  if (schema === undefined) return [];
  // A field that is a reference alone may become any type once it is resolved: it is judged then.
  const problems = problemsOf(schema, stage.params, path).filter((found) => !isReference(valueAtPath(stage.params, found.path.slice(path.length))));
  if (problems.length === 0) problems.push(...betweenFields(stage, path));
  if (stage.kind === "cleanup") problems.push(...cleanupProblems(stage, path, names));
  if (stage.kind === "train" && isReference(stage.params["algorithm"])) problems.push(problem(`${path}.algorithm`, "INVALID_FIELD", "The algorithm must be written out: what the stage needs is judged by it before anything runs.", null));
  if (stage.kind === "approval" && stage.resources.gpus > 0) problems.push(problem(`stages[${index}].resources`, "INVALID_FIELD", "An approval needs no GPU.", "Remove resources."));
  return problems;
}

/** Rules between the fields of one stage's params; none while a reference is still to be resolved. */
function betweenFields(stage: Pick<StageSpec, "kind" | "params" | "resources">, path: string): Problem[] {
  if (stage.kind === "preprocess") {
    const parsed = preprocessParamsSchema.safeParse(stage.params);
    return parsed.success ? preprocessProblems(parsed.data, path) : [];
  }
  if (stage.kind !== "evaluate" || "run" in stage.params) return [];
  const parsed = evaluateModelParamsSchema.safeParse(stage.params);
  return parsed.success ? evaluateProblems(parsed.data, path, stage.resources) : [];
}

function cleanupProblems(stage: StageSpec, path: string, names: ReadonlySet<string>): Problem[] {
  const params = cleanupParamsSchema.safeParse(stage.params);
  if (!params.success) return [];
  const near = spelling(names);
  const problems = params.data.stages.flatMap((name, position) => (names.has(name) ? [] : [problem(`${path}.stages[${position}]`, "UNKNOWN_STAGE", `There is no stage "${excerpt(name)}" to tidy.`, near(name))]));
  if (params.data.keepBest > 0 && params.data.metric === undefined && "keepBest" in stage.params) {
    problems.push(problem(`${path}.metric`, "MISSING_FIELD", "keepBest needs a metric to rank checkpoints by.", "Add metric (and mode: min or max)."));
  }
  return problems.slice(0, MAX_PROBLEMS);
}

function problem(path: string, code: string, message: string, hint: string | null): Problem {
  return { path, severity: "ERROR", code, message, hint };
}

function pathOf(keys: readonly PropertyKey[], base: string): string {
  return keys.reduce<string>((path, key) => (typeof key === "number" ? `${path}[${key}]` : path === "" ? String(key) : `${path}.${String(key)}`), base);
}

function valueAt(value: unknown, keys: readonly PropertyKey[]): unknown {
  return keys.reduce<unknown>((at, key) => (at as Record<PropertyKey, unknown> | null | undefined)?.[key], value);
}

function valueAtPath(value: unknown, path: string): unknown {
  return valueAt(value, [...path.matchAll(/\[(\d+)\]|\.?([^.[\]]+)/g)].map((match) => (match[1] === undefined ? match[2]! : Number(match[1]))));
}

function isReference(value: unknown): boolean {
  return typeof value === "string" && /^\$\{stages\.[^{}]+\}$/.test(value);
}

function knownKeys(path: readonly PropertyKey[], schema: z.ZodType): string[] {
  const shape = path[0] === "stages" && path.length === 2 ? stageSchema.shape : path.length === 0 && "shape" in schema ? (schema.shape as Record<string, unknown>) : null;
  if (shape !== null) return Object.keys(shape);
  if (path[0] === "stages" && path.length === 3) {
    const field: unknown = (stageSchema.shape as Record<string, unknown>)[String(path[2])];
    return keysOfWrapped(field);
  }
  return [];
}

function keysOfWrapped(type: unknown): string[] {
  const inner = type as { shape?: Record<string, unknown>; unwrap?: () => unknown } | undefined;
  if (inner?.shape !== undefined) return Object.keys(inner.shape);
  return inner?.unwrap === undefined ? [] : keysOfWrapped(inner.unwrap());
}
