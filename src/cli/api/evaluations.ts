// Evaluations and their rows as the commands see them.
import type { Cli } from "../cli.js";
import { CliError, EXIT } from "../exit-codes.js";

export interface IntervalAnswer { readonly score: string; readonly value: number; readonly n: number; readonly low: number | null; readonly high: number | null; readonly method: string | null }
export interface EvaluationAnswer {
  readonly id: string;
  readonly stage: { readonly name: string; readonly pipeline: { readonly id: string; readonly name: string } };
  readonly checkpoint: { readonly id: string; readonly step: number; readonly stage: { readonly name: string } } | null;
  readonly datasetName: string | null;
  readonly scores: Readonly<Record<string, number>>;
  readonly intervals: readonly IntervalAnswer[];
  readonly sampleCount: number;
  readonly errorCount: number | null;
  readonly sampleSet: { readonly kept: number; readonly leftOut: number; readonly correct: number; readonly wrong: number; readonly errors: number; readonly unscored: number } | null;
  readonly simulated: boolean;
  readonly createdAt: string;
}
export const EVALUATION_FIELDS = `id stage { name pipeline { id name } } checkpoint { id step stage { name } } datasetName scores intervals { score value n low high method }
  sampleCount errorCount sampleSet { kept leftOut correct wrong errors unscored } simulated createdAt`;

export interface SampleAnswer {
  readonly key: string;
  readonly prompt: string;
  readonly output: string;
  readonly truth: string | null;
  readonly score: number | null;
  readonly nonFinite: string | null;
  readonly error: string | null;
  readonly verdict: "CORRECT" | "WRONG" | "ERROR" | "UNSCORED";
}
export const SAMPLE_FIELDS = "key prompt output truth score nonFinite error verdict";

/** Largest page that the server gives. */
export const PAGE = 100;

/** An evaluation with the fields asked for. Throws CliError (not found). */
export async function findEvaluation<T extends object>(cli: Cli, id: string, fields: string): Promise<T> {
  const { node } = await cli.api().call<{ node: T | null }>(`query Evaluation($id: ID!) { node(id: $id) { ... on Evaluation { ${fields} } } }`, { id });
  if (node === null || Object.keys(node).length === 0) throw new CliError(EXIT.notFound, `There is no evaluation ${id}.`, { hint: `List those of a pipeline: ${cli.command("eval ls <pipeline>")}` });
  return node;
}

/** Said beside every score of an evaluation that is simulated. */
export const SIMULATED_SCORES = "simulated: the answers are made up, or the model is; the scores say nothing";
