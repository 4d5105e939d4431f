// Answers that nobody gave, for evaluate stages with simulate: some of them right, the same ones whenever the same model is asked the same with the same seed.

import { createHash } from "node:crypto";
import { scorerKindOf, type EvaluateModelParams } from "../domain/evaluation/evaluate-params.js";
import type { ChatAnswer } from "./chat-client.js";
import type { EvaluationRow } from "./evaluation-rows.js";
import type { ProgramScorer } from "./scorers/program-scorer.js";

/** Share of right answers. */
const RIGHT = 0.6;
/** Rows that are answered before others get a turn. */
const ROWS_AT_ONCE = 500;

/** Hands over every row's answers. Throws the signal's reason, and what `took` throws. */
export async function drawSimulated(rows: readonly EvaluationRow[], params: EvaluateModelParams, signal: AbortSignal, took: (row: EvaluationRow, answers: readonly ChatAnswer[]) => Promise<void>): Promise<void> {
  for (let from = 0; from < rows.length; from += ROWS_AT_ONCE) {
    signal.throwIfAborted();
    await Promise.all(rows.slice(from, from + ROWS_AT_ONCE).map((row) => took(row, Array.from({ length: params.generation.n }, (_, place) => ({ text: answerTo(row, params, place), truncated: false })))));
  }
}

function answerTo({ id, groundTruth }: EvaluationRow, params: EvaluateModelParams, place: number): string {
  const drawn = createHash("sha256").update(JSON.stringify([params.model, params.seed, id, place])).digest().readUInt32BE(0) / 2 ** 32;
  const truth = drawn < RIGHT ? groundTruth : WRONG;
  return scorerKindOf(params) === "exact" ? truth : `Simulated: no model was asked.\n#### ${truth}`;
}

/** No ground truth of any scorer. */
const WRONG = "simulated-wrong-answer";

/** Stands in for verl's main_eval: a mean over all rows, and one per data_source. */
export const SIMULATED_SCORER: ProgramScorer = {
  score({ response, dataSource }) {
    const score = response.endsWith(WRONG) ? 0 : 1;
    return Promise.resolve({ score, extracted: null, figures: { [dataSource]: score } });
  },
  close: () => Promise.resolve(),
};
