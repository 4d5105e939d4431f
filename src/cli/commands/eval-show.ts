import { EVALUATION_FIELDS, findEvaluation, type EvaluationAnswer } from "../api/evaluations.js";
import type { Cli } from "../cli.js";
import { describeEvaluation } from "../render/evaluation-page.js";

export async function run(cli: Cli, [id]: readonly string[]): Promise<void> {
  const evaluation = await findEvaluation<EvaluationAnswer>(cli, id!, EVALUATION_FIELDS);
  cli.print({ value: evaluation, table: () => describeEvaluation(evaluation, cli.style), ids: () => [evaluation.id] });
  if (cli.format === "table" && evaluation.sampleSet !== null) cli.note(`Its rows: ${cli.command(`eval samples ${evaluation.id} --verdict wrong`)}`);
}
