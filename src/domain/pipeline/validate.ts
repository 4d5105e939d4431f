// Everything that can be known wrong with a specification before anything is stored: shapes (zod), the graph, references, conditions, params by kind. All
// problems of a document are reported together, each with its JSON path.

import type { z } from "zod";
import type { Problem } from "../errors.js";
import { ancestorsOf, buildDag, dagProblems, layersOf, nearestName, type Dag } from "./dag.js";
import { findReferences } from "./references.js";
import {
  approvalParamsSchema, cleanupParamsSchema, commandParamsSchema, evaluateProgramParamsSchema, pipelineSchema, stageSchema, type PipelineSpec, type StageSpec,
} from "./spec.js";

export interface Validation {
  /** The specification with defaults filled in; null when any problem is an ERROR. */
  readonly spec: PipelineSpec | null;
  readonly problems: readonly Problem[];
  /** Empty when the graph is not sound. */
  readonly layers: readonly (readonly string[])[];
}

/** Largest specification, as JSON, in bytes. */
export const MAX_SPEC_BYTES = 16 * 1_048_576;
const MAX_DEPTH = 32;

/** Judges a document. Never throws; stores nothing. */
export function validateSpec(input: unknown): Validation {
  const hostile = hostileProblem(input, "", 0);
  if (hostile !== null) return { spec: null, problems: [hostile], layers: [] };
  const parsed = pipelineSchema.safeParse(input);
  if (!parsed.success) return { spec: null, problems: [...shapeProblems(parsed.error, input), ...graphProblemsOfRaw(input)], layers: [] };
  const spec = parsed.data;
  const graph = dagProblems(spec.stages);
  const dag = graph.length === 0 ? buildDag(spec.stages) : null;
  const problems = [...graph, ...(dag === null ? [] : referenceProblems(spec, dag)), ...spec.stages.flatMap((stage, index) => paramsProblems(stage, index, spec))];
  return { spec: problems.some((problem) => problem.severity === "ERROR") ? null : spec, problems, layers: dag === null ? [] : layersOf(dag) };
}

/** What zod finds wrong with `value`, as problems beneath `path`. Also used for params after references were resolved. */
export function problemsOf(schema: z.ZodType, value: unknown, path: string): Problem[] {
  const parsed = schema.safeParse(value);
  return parsed.success ? [] : shapeProblems(parsed.error, value, path, schema);
}

function shapeProblems(error: z.ZodError, input: unknown, base = "", schema: z.ZodType = pipelineSchema): Problem[] {
  return error.issues.flatMap((issue): Problem[] => {
    const path = pathOf(issue.path, base);
    if (issue.code === "unrecognized_keys") {
      const known = knownKeys(issue.path, schema);
      return issue.keys.map((key) => {
        const near = nearestName(key, known);
        return problem(path === "" ? key : `${path}.${key}`, "UNKNOWN_FIELD", `There is no field "${key}" here.`, near === null ? (known.length > 0 ? `Known fields: ${known.join(", ")}.` : null) : `Did you mean "${near}"?`);
      });
    }
    const missing = valueAt(input, issue.path) === undefined;
    return [problem(path, missing ? "MISSING_FIELD" : "INVALID_FIELD", missing ? `${path === "" ? "The specification" : `"${path}"`} is missing. ${issue.message}` : `${path || "The specification"}: ${issue.message}`, null)];
  });
}

/** The graph is judged even when other fields are wrong, as far as the names can be read. */
function graphProblemsOfRaw(input: unknown): Problem[] {
  const stages = (input as { stages?: unknown } | null)?.stages;
  if (!Array.isArray(stages)) return [];
  const readable = stages.every((stage: unknown) => typeof (stage as { name?: unknown } | null)?.name === "string");
  if (!readable) return [];
  return dagProblems(stages.map((stage: { name: string; dependsOn?: unknown }) => ({ name: stage.name, dependsOn: Array.isArray(stage.dependsOn) ? stage.dependsOn.filter((name): name is string => typeof name === "string") : [] })));
}

function referenceProblems(spec: PipelineSpec, dag: Dag): Problem[] {
  const problems: Problem[] = [];
  spec.stages.forEach((stage, index) => {
    const places = [...findReferences(stage.params, `stages[${index}].params`), ...findReferences(stage.when?.value, `stages[${index}].when.value`)];
    if (stage.when !== undefined && places.every((place) => place.path !== `stages[${index}].when.value`)) {
      problems.push(problem(`stages[${index}].when.value`, "INVALID_CONDITION", `The condition of stage "${stage.name}" compares a fixed text.`, "Write a reference: ${stages.<name>.outputs.<key>}."));
    }
    let upstream: Set<number> | null = null;
    for (const { path, reference } of places) {
      if (!("stage" in reference)) {
        problems.push(problem(path, "INVALID_REFERENCE", `${reference.text} ${reference.why}.`, null));
        continue;
      }
      const target = dag.indexOf.get(reference.stage);
      if (target === undefined) {
        const near = nearestName(reference.stage, dag.names);
        problems.push(problem(path, "UNKNOWN_REFERENCE", `${reference.text} refers to stage "${reference.stage}", which does not exist.`, near === null ? null : `Did you mean "${near}"?`));
        continue;
      }
      if (dag.needs[index]!.includes(target)) continue;
      upstream ??= ancestorsOf(dag, index);
      if (!upstream.has(target)) {
        problems.push(problem(path, "REFERENCE_NOT_UPSTREAM", `Stage "${stage.name}" reads ${reference.text}, but does not depend on "${reference.stage}".`, `Add "${reference.stage}" to dependsOn of "${stage.name}".`));
      }
    }
  });
  return problems;
}

const PARAMS: Partial<Record<StageSpec["kind"], z.ZodType>> = { command: commandParamsSchema, cleanup: cleanupParamsSchema, approval: approvalParamsSchema };

function paramsProblems(stage: StageSpec, index: number, spec: PipelineSpec): Problem[] {
  const path = `stages[${index}].params`;
  const schema = stage.kind === "evaluate" && "run" in stage.params ? evaluateProgramParamsSchema : PARAMS[stage.kind];
  if (schema === undefined) return [];
  // A field that is a reference alone may become any type once it is resolved: it is judged then.
  const problems = problemsOf(schema, stage.params, path).filter((found) => !isReference(valueAtPath(stage.params, found.path.slice(path.length))));
  if (stage.kind === "cleanup") problems.push(...cleanupProblems(stage, path, spec));
  if (stage.kind === "approval" && stage.resources.gpus > 0) problems.push(problem(`stages[${index}].resources`, "INVALID_FIELD", "An approval needs no GPU.", "Remove resources."));
  return problems;
}

function cleanupProblems(stage: StageSpec, path: string, spec: PipelineSpec): Problem[] {
  const params = cleanupParamsSchema.safeParse(stage.params);
  if (!params.success) return [];
  const problems: Problem[] = [];
  const names = spec.stages.map((other) => other.name);
  params.data.stages.forEach((name, position) => {
    if (names.includes(name)) return;
    const near = nearestName(name, names);
    problems.push(problem(`${path}.stages[${position}]`, "UNKNOWN_STAGE", `There is no stage "${name}" to tidy.`, near === null ? null : `Did you mean "${near}"?`));
  });
  if (params.data.keepBest > 0 && params.data.metric === undefined && "keepBest" in stage.params) {
    problems.push(problem(`${path}.metric`, "MISSING_FIELD", "keepBest needs a metric to rank checkpoints by.", "Add metric (and mode: min or max)."));
  }
  return problems;
}

/** What no field may hold, found before anything else looks: keys that reach prototypes, NUL, lone surrogates, endless nesting. */
function hostileProblem(value: unknown, path: string, depth: number): Problem | null {
  if (depth > MAX_DEPTH) return problem(path, "TOO_DEEP", `Nested deeper than ${MAX_DEPTH} levels.`, "Flatten it, or pass a file's path.");
  if (typeof value === "string") {
    if (value.includes("\0")) return problem(path, "INVALID_TEXT", "The text contains a NUL character.", "Remove it.");
    if (!value.isWellFormed()) return problem(path, "INVALID_TEXT", "The text contains half of a surrogate pair.", "Check the file's encoding: UTF-8 is expected.");
    return null;
  }
  if (typeof value !== "object" || value === null) return null;
  const entries = Array.isArray(value) ? value.map((item, index) => [`${path}[${index}]`, item] as const) : Object.entries(value).map(([key, item]) => [path === "" ? key : `${path}.${key}`, item] as const);
  if (!Array.isArray(value)) {
    const bad = Object.keys(value).find((key) => key === "__proto__" || key.includes("\0") || !key.isWellFormed());
    if (bad !== undefined) return problem(path, "INVALID_KEY", `The key ${JSON.stringify(bad)} is not allowed.`, "Rename it.");
  }
  for (const [at, item] of entries) {
    const found = hostileProblem(item, at, depth + 1);
    if (found !== null) return found;
  }
  return null;
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
