// Evaluations: the scores that an evaluate stage leaves in its outputs, kept with the checkpoint they are about.
//   E1. One per attempt; recording it again changes nothing.
//   E2. A checkpoint is found by its path among those of the same pipeline. A path that nobody registered (a base model, say) is no error: the scores stand alone.
//       Without params.checkpoint the model tells: a model that a stage exported stands for the checkpoint that the stage exported it from.

import { sql } from "kysely";
import type pg from "pg";
import { newId, type AttemptId, type CheckpointId, type EvaluationId, type PipelineId, type StageId } from "../../domain/ids.js";
import { MissingOutputError, resolveReferences } from "../../domain/pipeline/references.js";
import { findStage, type Json, type Outputs, type PipelineState } from "../../domain/pipeline/state.js";
import { intervalsIn, type ScoreInterval } from "../../domain/evaluation/score-interval.js";
import type { SampleSet } from "./samples.js";
import type { Db } from "../database.js";

/** What is wrong with the outputs of an evaluate stage, each as a sentence; empty when they can be recorded. Pure. */
export function evaluationProblems(outputs: Outputs): string[] {
  const { scores, sampleCount } = outputs;
  const problems: string[] = [];
  if (scores === undefined) problems.push(`The outputs hold no "scores". They must hold at least one score: {"scores": {"accuracy": 0.9}}.`);
  else if (!isRecord(scores)) problems.push(`"scores" must be an object of names and numbers, and is ${kindOf(scores)}.`);
  else {
    const entries = Object.entries(scores);
    if (entries.length === 0) problems.push(`"scores" is empty. It must hold at least one score.`);
    for (const [name, value] of entries) if (typeof value !== "number" || !Number.isFinite(value)) problems.push(`Score ${JSON.stringify(name)} must be a finite number, and is ${kindOf(value)}.`);
  }
  if (sampleCount !== undefined && sampleCount !== null && !(Number.isSafeInteger(sampleCount) && (sampleCount as number) >= 0)) problems.push(`"sampleCount" must be a whole number of at least 0, and is ${kindOf(sampleCount)}.`);
  return problems;
}

export interface EvaluationOf {
  readonly stageId: StageId;
  readonly pipelineId: PipelineId;
  readonly attemptId: AttemptId;
  /** Of the stage's specification; references are filled in from `resolve`. */
  readonly params: Readonly<Record<string, unknown>>;
  /** Those of the COMPLETED stage, without evaluationProblems. */
  readonly outputs: Outputs;
  /** Whether the stage's results are made up; one of a checkpoint that a simulated training left is so by itself. */
  readonly simulated: boolean;
  readonly resolve: PipelineState;
  readonly now: Date;
}

/** Records the evaluation within the transaction that completes its stage. */
export async function recordEvaluation(client: pg.ClientBase, evaluation: EvaluationOf): Promise<void> {
  const { stageId, pipelineId, attemptId, params, outputs, simulated, resolve, now } = evaluation;
  const paths = evaluatedPaths(params, resolve).map((path) => path.replace(/\/+$/, ""));
  const errors = outputs["errors"];
  await client.query(
    `insert into evaluations (id, stage_id, pipeline_id, attempt_id, checkpoint_id, dataset, scores, sample_count, created_at, intervals, errors, simulated)
     select $1, $2, $3::text, $4, c.id, $6, $7, $8, $9, $10, $11, $12::boolean or exists (select 1 from training_jobs j where j.stage_id = c.stage_id and j.simulated)
       from (select 1) one left join lateral
         (select id, stage_id from checkpoints where pipeline_id = $3::text and rtrim(path, '/') = any($5::text[]) order by array_position($5::text[], rtrim(path, '/')), created_at desc, id desc limit 1) c on true
     on conflict (attempt_id) do nothing`,
    [newId("evl", now.getTime()), stageId, pipelineId, attemptId, paths, evaluatedOn(params, resolve), JSON.stringify(outputs["scores"]), typeof outputs["sampleCount"] === "number" ? outputs["sampleCount"] : 0, now,
      JSON.stringify(intervalsIn(outputs)), Number.isSafeInteger(errors) && (errors as number) >= 0 ? errors : null, simulated],
  );
}

/** Where the evaluated checkpoint may lie, the likeliest place first (E2). */
function evaluatedPaths(params: EvaluationOf["params"], state: PipelineState): string[] {
  const named = resolveText(params["checkpoint"], state);
  if (named !== null) return [named];
  const { model } = params;
  const paths = [resolveText(model, state)];
  const maker = typeof model === "string" ? /^\$\{stages\.([^.}]+)\.outputs\./.exec(model)?.[1] : undefined;
  const found = maker === undefined ? null : findStage(state, maker);
  if (found !== null && found.stage.status === "COMPLETED") {
    if (typeof found.stage.outputs["checkpoint"] === "string") paths.push(found.stage.outputs["checkpoint"]);
    if (found.spec.kind === "merge") paths.push(resolveText(found.spec.params["checkpoint"], state));
  }
  return paths.filter((path) => path !== null);
}

/** What the params say that was evaluated on: `dataset`, else the one input. */
function evaluatedOn(params: EvaluationOf["params"], state: PipelineState): string | null {
  const named = resolveText(params["dataset"], state);
  if (named !== null) return named;
  const { input } = params;
  const [only, ...others] = Array.isArray(input) ? (input as unknown[]) : [input];
  return others.length > 0 ? null : (resolveText(only, state)?.replace(/^dataset:/, "") ?? null);
}

/** A text parameter with its references filled in; null when it is none, or when a stage left no such output. */
function resolveText(value: unknown, state: PipelineState): string | null {
  if (typeof value !== "string") return null;
  try {
    const resolved = resolveReferences(value, (name) => {
      const stage = findStage(state, name)?.stage;
      return stage?.status === "COMPLETED" ? stage.outputs : null;
    });
    return typeof resolved === "string" ? resolved : null;
  } catch (error) {
    if (error instanceof MissingOutputError) return null;
    throw error;
  }
}

export interface EvaluationRow {
  readonly id: EvaluationId;
  readonly stageId: StageId;
  readonly pipelineId: PipelineId;
  readonly attemptId: AttemptId;
  readonly checkpointId: CheckpointId | null;
  readonly dataset: string | null;
  readonly scores: Readonly<Record<string, number>>;
  /** 0: not reported. */
  readonly sampleCount: number;
  readonly intervals: Readonly<Record<string, ScoreInterval>>;
  /** Rows without a score; null: not reported. */
  readonly errors: number | null;
  /** A stand-in drew the answers, or made the model that gave them. */
  readonly simulated: boolean;
  readonly createdAt: Date;
}

/** Evaluations that belong to these stages, oldest first: those the stages made, and those made of their checkpoints. `stageId` is the one that was asked for;
 *  an evaluation between two of them comes for both. */
export async function listEvaluations(db: Db, stageIds: readonly StageId[]): Promise<EvaluationRow[]> {
  const { rows } = await sql<EvaluationRow>`
    select e.id, k.stage_id as "stageId", e.pipeline_id as "pipelineId", e.attempt_id as "attemptId", e.checkpoint_id as "checkpointId", e.dataset, e.scores, e.sample_count as "sampleCount", e.intervals, e.errors, e.simulated, e.created_at as "createdAt"
      from (select stage_id, id from evaluations where stage_id = any(${stageIds}::text[])
            union
            select c.stage_id, e.id from checkpoints c join evaluations e on e.checkpoint_id = c.id where c.stage_id = any(${stageIds}::text[])) k
      join evaluations e on e.id = k.id order by k.stage_id, e.created_at, e.id`.execute(db);
  return rows;
}

/** All evaluations of a pipeline, oldest first. */
export async function listPipelineEvaluations(db: Db, pipelineId: PipelineId): Promise<EvaluationRow[]> {
  const { rows } = await sql<EvaluationRow>`
    select e.id, e.stage_id as "stageId", e.pipeline_id as "pipelineId", e.attempt_id as "attemptId", e.checkpoint_id as "checkpointId", e.dataset, e.scores, e.sample_count as "sampleCount", e.intervals, e.errors, e.simulated, e.created_at as "createdAt"
      from stages s join evaluations e on e.stage_id = s.id where s.pipeline_id = ${pipelineId} order by e.created_at, e.id`.execute(db);
  return rows;
}

/** Evaluations by their ids; unknown ones are missing. */
export async function readEvaluations(db: Db, ids: readonly EvaluationId[]): Promise<EvaluationRow[]> {
  const { rows } = await sql<EvaluationRow>`
    select id, stage_id as "stageId", pipeline_id as "pipelineId", attempt_id as "attemptId", checkpoint_id as "checkpointId", dataset, scores, sample_count as "sampleCount", intervals, errors, simulated, created_at as "createdAt"
      from evaluations where id = any(${ids}::text[])`.execute(db);
  return rows;
}

/** The samples of evaluations, by attempt, whatever was tried afterwards; evaluations without any are missing. */
export async function readEvaluationSets(db: Db, attemptIds: readonly AttemptId[]): Promise<(SampleSet & { attemptId: AttemptId })[]> {
  const { rows } = await sql<Omit<SampleSet, "counts"> & { attemptId: AttemptId; correct: number; wrong: number; errors: number; unscored: number }>`
    select a.id as "attemptId", s.id, s.stage_id as "stageId", s.attempt, s.source, s.step, s.kept, s.left_out as "leftOut", s.correct, s.wrong, s.errors, s.unscored
      from attempts a join sample_sets s on s.stage_id = a.stage_id and s.attempt = a.number and s.source = 'evaluation' and s.step is null where a.id = any(${attemptIds}::text[])`.execute(db);
  return rows.map(({ correct, wrong, errors, unscored, ...set }) => ({ ...set, counts: { CORRECT: correct, WRONG: wrong, ERROR: errors, UNSCORED: unscored } }));
}

function isRecord(value: Json): value is { readonly [key: string]: Json } {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function kindOf(value: Json): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object") return "an object";
  const text = JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}
