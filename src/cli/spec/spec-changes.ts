// What the command line changes in a specification before it is checked: --set, and the directory of the file.
//   C1. The value given is not changed: a copy is returned.
import { parse } from "yaml";
import { simulatedStages } from "../../domain/pipeline/simulated.js";
import { CliError, EXIT } from "../exit-codes.js";

export interface AppliedChange {
  /** JSON path of what was set, e.g. `stages[2].params.learningRate`. */
  readonly path: string;
  /** As typed: --set …, --simulate. */
  readonly typed: string;
}

type Branch = Record<string, unknown> | unknown[];

/**
 * Applies `path=value` one after the other. A path begins at the top (`labels.team`, `stages[0].retry.maxAttempts`); a stage may be named
 * (`stages.train.params.learningRate`). The value is read as YAML: 3, true, [a, b], 1e-5, text. Throws CliError (usage).
 */
export function applySets(spec: unknown, sets: readonly string[]): { spec: unknown; changes: AppliedChange[] } {
  const copy = structuredClone(spec);
  return { changes: sets.map((typed) => ({ ...applySet(copy, typed), typed: `--set ${typed}` })), spec: copy };
}

/**
 * Makes every train stage a simulated one, and the merge and evaluate stages that work on their models: they need no GPU and get none, a stand-in runs there. Throws
 * CliError (usage) when the specification has no train stage.
 */
export function simulateTraining(spec: unknown): { spec: unknown; changes: AppliedChange[]; names: readonly string[] } {
  const copy = structuredClone(spec);
  const stages = isRecord(copy) && Array.isArray(copy["stages"]) ? (copy["stages"] as unknown[]) : [];
  const names: string[] = [];
  const trainings = stages.map((stage) => isRecord(stage) && stage["kind"] === "train" && isRecord(stage["params"]));
  const judged = stages.map((stage, index) => ({ name: String(isRecord(stage) ? stage["name"] : index), kind: "train", params: { ...(isRecord(stage) && isRecord(stage["params"]) ? stage["params"] : {}), simulate: trainings[index] } }));
  const after = simulatedStages(judged);
  const changes = stages.flatMap((stage, index): AppliedChange[] => {
    if (!isRecord(stage) || !isRecord(stage["params"])) return [];
    const rehearsed = stage["kind"] === "merge" || (stage["kind"] === "evaluate" && "model" in stage["params"] && !("run" in stage["params"]));
    if (trainings[index] !== true && !(rehearsed && after.has(judged[index]!.name))) return [];
    stage["params"]["simulate"] = true;
    if (isRecord(stage["resources"])) for (const wanted of ["gpus", "gpuModel", "gpuMemoryMiB"]) delete stage["resources"][wanted];
    names.push(String(stage["name"]));
    return [{ path: `stages[${index}].params.simulate`, typed: "--simulate" }];
  });
  if (names.length === 0) throw new CliError(EXIT.usage, "--simulate: the pipeline has no train stage.", { hint: "Leave it out: other stages are never simulated." });
  return { spec: copy, changes, names };
}

/** The same for the params of one stage, without the way to it: `learningRate=1e-5`, `params.learningRate=1e-5`. */
export function overridesFrom(sets: readonly string[]): Record<string, unknown> {
  const params: Record<string, unknown> = {};
  for (const typed of sets) {
    const { path, value } = splitSet(typed);
    assign(params, segmentsOf(path.replace(/^params\./, ""), typed), value, typed);
  }
  return params;
}

/** `${pipeline.directory}` in every text of every stage's params becomes the directory. */
export function fillDirectory(spec: unknown, directory: string): unknown {
  if (!isRecord(spec) || !Array.isArray(spec["stages"])) return spec;
  const stages = spec["stages"].map((stage: unknown) => (isRecord(stage) && "params" in stage ? { ...stage, params: fill(stage["params"], directory) } : stage));
  return { ...spec, stages };
}

function fill(value: unknown, directory: string): unknown {
  if (typeof value === "string") return value.replaceAll("${pipeline.directory}", directory);
  if (Array.isArray(value)) return value.map((item) => fill(item, directory));
  if (isRecord(value)) return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, fill(item, directory)]));
  return value;
}

function applySet(spec: unknown, typed: string): AppliedChange {
  const { path, value } = splitSet(typed);
  if (!isRecord(spec)) throw refusal(typed, "the specification is no object");
  const stage = /^stages\.(.+)$/.exec(path);
  if (stage === null) {
    assign(spec, segmentsOf(path, typed), value, typed);
    return { path, typed };
  }
  const stages = Array.isArray(spec["stages"]) ? (spec["stages"] as unknown[]) : [];
  const names = stages.map((item) => (isRecord(item) ? String(item["name"]) : ""));
  const index = names.reduce((best, name, at) => (stage[1]!.startsWith(`${name}.`) && name.length > (names[best]?.length ?? -1) ? at : best), -1);
  const target = stages[index];
  if (!isRecord(target)) throw refusal(typed, `no stage fits "${stage[1]}"; the stages are ${names.join(", ")}`);
  const within = stage[1]!.slice(names[index]!.length + 1);
  assign(target, segmentsOf(within, typed), value, typed);
  return { path: `stages[${index}].${within}`, typed };
}

function splitSet(typed: string): { path: string; value: unknown } {
  const equals = typed.indexOf("=");
  if (equals < 1) throw refusal(typed, "a path and a value with = between them are needed");
  try {
    return { path: typed.slice(0, equals).trim(), value: parse(typed.slice(equals + 1)) as unknown };
  } catch (error) {
    throw refusal(typed, `the value cannot be read: ${(error as Error).message.split("\n")[0]}`);
  }
}

function segmentsOf(path: string, typed: string): (string | number)[] {
  const segments = [...path.matchAll(/\["((?:[^"\\]|\\.)*)"\]|\[(\d+)\]|([^.[\]]+)/g)].map((match) => (match[2] === undefined ? (match[1] ?? match[3]!) : Number(match[2])));
  if (segments.length === 0 || segments.some((segment) => segment === "__proto__")) throw refusal(typed, "the path names nothing");
  return segments;
}

function assign(root: Branch, segments: readonly (string | number)[], value: unknown, typed: string): void {
  let at = root as Record<string | number, unknown>;
  for (const [index, segment] of segments.slice(0, -1).entries()) {
    at[segment] ??= typeof segments[index + 1] === "number" ? [] : {};
    if (typeof at[segment] !== "object") throw refusal(typed, `"${segment}" is a plain value and holds nothing`);
    at = at[segment] as Record<string | number, unknown>;
  }
  at[segments.at(-1)!] = value;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function refusal(typed: string, why: string): CliError {
  return new CliError(EXIT.usage, `--set ${typed}: ${why}.`, { hint: "For example: --set stages.train.params.learningRate=1e-5 or --set labels.team=vision" });
}
