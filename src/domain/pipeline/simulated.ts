// Which stages of a pipeline show made-up results: those that a stand-in runs, and those that work on what such a stage left. Pure.
//   S1. What is made of something simulated is simulated, over any number of stages: a score of a model that nobody trained says nothing.

import type { Problem } from "../errors.js";
import { findReferences } from "./references.js";
import type { StageKind } from "./spec.js";
import type { PipelineState } from "./state.js";

/** Key of a stage's outputs by which its agent says that its results are made up. */
export const SIMULATED_OUTPUT = "simulated";

/** Kinds of which `simulate: true` is understood. */
const SIMULATING: readonly StageKind[] = ["train", "merge", "evaluate"];

export interface JudgedStage {
  readonly name: string;
  readonly kind: string;
  readonly params: Readonly<Record<string, unknown>>;
}

/** Names of the simulated stages. `isMarked`: whether what the stage left says so itself, as when it was given the path of a simulated model by hand. */
export function simulatedStages(stages: readonly JudgedStage[], isMarked: (name: string) => boolean = () => false): ReadonlySet<string> {
  const found = new Set(stages.filter(({ name, kind, params }) => (params["simulate"] === true && (SIMULATING as readonly string[]).includes(kind)) || isMarked(name)).map(({ name }) => name));
  if (found.size === 0) return found;
  const readers = new Map<string, string[]>();
  for (const { name, params } of stages) for (const stage of readStages(params)) readers.set(stage, [...(readers.get(stage) ?? []), name]);
  const open = [...found];
  for (let name = open.pop(); name !== undefined; name = open.pop()) { // S1
    for (const reader of readers.get(name) ?? []) {
      if (found.has(reader)) continue;
      found.add(reader);
      open.push(reader);
    }
  }
  return found;
}

/** The same of a pipeline that runs. */
export function simulatedIn(state: PipelineState): ReadonlySet<string> {
  const marked = new Set([...state.stages].flatMap((stage, index) => (stage.status === "COMPLETED" && stage.outputs[SIMULATED_OUTPUT] === true ? [state.spec.stages[index]!.name] : [])));
  return simulatedStages(state.spec.stages, (name) => marked.has(name));
}

function readStages(value: unknown): Set<string> {
  return new Set(findReferences(value, "").flatMap(({ reference }) => ("stage" in reference ? [reference.stage] : [])));
}

/** What cannot work with a model or checkpoint that a stand-in left. */
export function simulationProblems(stages: readonly (JudgedStage | null)[]): Problem[] {
  const judged = stages.filter((stage) => stage !== null);
  const simulated = simulatedStages(judged);
  if (simulated.size === 0) return [];
  return stages.flatMap((stage, index): Problem[] => {
    if (stage === null || stage.params["simulate"] === true) return [];
    const made = (field: string) => [...readStages(stage.params[field])].find((name) => simulated.has(name));
    const at = (field: string) => ({ path: `stages[${index}].params.${field}`, code: "SIMULATED_MODEL" });
    const model = stage.kind === "train" || stage.kind === "evaluate" ? made("model") : undefined;
    if (model !== undefined) {
      return [{ ...at("model"), severity: "ERROR", message: `The model comes from stage "${model}", which is simulated: there are no weights in it that could be loaded.`, hint: "Add simulate: true to this stage too, so that it is rehearsed without a GPU, or take simulate out of that one." }];
    }
    const checkpoint = stage.kind === "merge" ? made("checkpoint") : undefined;
    if (checkpoint !== undefined) {
      return [{ ...at("checkpoint"), severity: "WARNING", message: `The checkpoint comes from stage "${checkpoint}", which is simulated; without simulate here too the stage waits for an agent that has verl.`, hint: "Add simulate: true to this stage." }];
    }
    return [];
  });
}
