import { EVALUATION_FIELDS, type EvaluationAnswer } from "../api/evaluations.js";
import { findPipelineId } from "../api/find-pipeline.js";
import type { Cli } from "../cli.js";
import { intervalText, number } from "../render/evaluation-page.js";
import { count } from "../render/quantities.js";
import { renderTable } from "../render/table.js";
import { harmless } from "../render/text-width.js";

export async function run(cli: Cli, [pipeline]: readonly string[]): Promise<void> {
  const pipelineId = await findPipelineId(cli, pipeline!);
  const { evaluations } = await cli.api().call<{ evaluations: readonly EvaluationAnswer[] }>(`query Evaluations($pipelineId: ID!) { evaluations(pipelineId: $pipelineId) { ${EVALUATION_FIELDS} } }`, { pipelineId });
  const rows = () => evaluations.map(({ id, stage, checkpoint, scores, intervals, sampleCount, errorCount, simulated }) => {
    const name = Object.hasOwn(scores, "score") ? "score" : Object.keys(scores)[0]!;
    return [id, harmless(stage.name), checkpoint === null ? "" : `${harmless(checkpoint.stage.name)} step ${count(checkpoint.step)}`, `${harmless(name)} ${number(scores[name]!)}${simulated ? cli.style.yellow(" (simulated)") : ""}`, intervalText(intervals.find((one) => one.score === name)), sampleCount === 0 ? "" : count(sampleCount), errorCount === null ? "" : count(errorCount)];
  });
  const columns = ["ID", "STAGE", "CHECKPOINT", "SCORE", "95 % BETWEEN", "N", "ERRORS"].map((title) => ({ title, align: title === "N" || title === "ERRORS" ? "right" as const : "left" as const }));
  cli.print({ value: evaluations, table: () => (evaluations.length === 0 ? [] : renderTable(columns, rows(), cli.style, null)), ids: () => evaluations.map(({ id }) => id) });
  if (cli.format !== "table") return;
  if (evaluations.length === 0) cli.note("No evaluations yet: they are made when an evaluate stage completes.");
  else if (evaluations.length > 1) cli.note(`Row by row: ${cli.command(`eval diff ${evaluations.at(-2)!.id} ${evaluations.at(-1)!.id}`)}`);
}
