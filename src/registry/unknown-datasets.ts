// Data sets that a specification names and that nobody registered: found before the pipeline is stored, not hours later on an agent.
//   N1. What a preprocess stage of the same pipeline will make counts as there, whatever version is asked for.

import type { Db } from "../db/database.js";
import { datasetNames, findDataset } from "../db/datasets.js";
import { parseDatasetRef, type DatasetRef } from "../domain/data/dataset.js";
import { excerpt, MAX_PROBLEMS, type Problem } from "../domain/errors.js";
import { isId } from "../domain/ids.js";
import { spelling } from "../domain/pipeline/dag.js";
import type { PipelineSpec, StageSpec } from "../domain/pipeline/spec.js";

const PREFIX = "dataset:";
/** Names that a misspelt one is compared with. */
const NAMES_COMPARED = 5_000;
/** References looked up in one specification; what is beyond is found when the stage runs. */
const LOOKED_UP = 500;

/** One problem per reference to a data set that does not exist, at its JSON path. */
export async function unknownDatasets(db: Db, spec: PipelineSpec): Promise<Problem[]> {
  const made = madeNames(spec);
  const problems: Problem[] = [];
  const verdicts = new Map<string, DatasetRef | "invalid" | null>();
  for (const { path, text } of references(spec)) {
    if (problems.length >= MAX_PROBLEMS || (!verdicts.has(text) && verdicts.size >= LOOKED_UP)) break;
    let missing = verdicts.get(text);
    if (missing === undefined) verdicts.set(text, missing = await missingOf(db, text, made));
    if (missing === "invalid") problems.push({ path, severity: "ERROR", code: "UNKNOWN_DATASET", message: `"${excerpt(text)}" names no data set.`, hint: "Write dataset:<name>, dataset:<name>@<version> or dataset:<id>." });
    else if (missing !== null) problems.push(await problemOf(db, path, missing, made));
  }
  return problems;
}

/** Null: it is there. */
async function missingOf(db: Db, text: string, made: ReadonlySet<string>): Promise<DatasetRef | "invalid" | null> {
  const ref = parseDatasetRef(text);
  if (ref === null) return "invalid";
  if ("name" in ref && made.has(ref.name)) return null; // N1
  return (await findDataset(db, ref)) === null ? ref : null;
}

async function problemOf(db: Db, path: string, ref: DatasetRef, made: ReadonlySet<string>): Promise<Problem> {
  const problem = (message: string, hint: string): Problem => ({ path, severity: "ERROR", code: "UNKNOWN_DATASET", message, hint });
  if ("id" in ref) return problem(`There is no data set ${ref.id}.`, "List what is registered: query datasets.");
  const newest = ref.version === null ? null : await findDataset(db, { name: ref.name, version: null });
  if (newest !== null) return problem(`The data set "${excerpt(ref.name)}" has no version ${ref.version}.`, `Its newest version is ${newest.version}.`);
  const near = spelling(new Set([...made, ...(await datasetNames(db, NAMES_COMPARED))]))(ref.name);
  return problem(`No data set is registered as "${excerpt(ref.name)}".`, near ?? "Register it first (registerDataset), or let an earlier preprocess stage make it (params.dataset).");
}

/** N1. The names under which the pipeline's own preprocess stages register their files. */
function madeNames(spec: PipelineSpec): ReadonlySet<string> {
  return new Set(spec.stages.filter((stage) => stage.kind === "preprocess").flatMap((stage) => {
    const base = typeof stage.params["dataset"] === "string" ? stage.params["dataset"] : `${spec.name}/${stage.name}`;
    return [`${base}-train`, `${base}-validation`];
  }));
}

function* references(spec: PipelineSpec): Generator<{ path: string; text: string }> {
  for (const [index, stage] of spec.stages.entries()) {
    if (stage.kind !== "preprocess") continue;
    for (const { path, text } of inputs(stage, `stages[${index}].params.input`)) if ((text.startsWith(PREFIX) && !text.includes("${")) || isId("dst", text)) yield { path, text };
  }
}

function* inputs(stage: StageSpec, path: string): Generator<{ path: string; text: string }> {
  const input = stage.params["input"];
  const list = Array.isArray(input) ? input.map((one: unknown, index) => ({ one, at: `${path}[${index}]` })) : [{ one: input, at: path }];
  for (const { one, at } of list) {
    const inner = (one as { path?: unknown } | null | undefined)?.path;
    if (typeof one === "string") yield { path: at, text: one };
    else if (typeof inner === "string") yield { path: `${at}.path`, text: inner };
  }
}
