import { CHECKPOINT_FIELDS, type CheckpointAnswer } from "../api/checkpoints.js";
import { findPipelineId } from "../api/find-pipeline.js";
import type { Cli } from "../cli.js";
import { CliError, EXIT } from "../exit-codes.js";
import { bytes, count } from "../render/quantities.js";
import { renderTable } from "../render/table.js";
import { harmless } from "../render/text-width.js";

interface Answer { readonly pipeline: { readonly stages: readonly { readonly name: string; readonly checkpoints: readonly CheckpointAnswer[] }[] } | null }

export async function run(cli: Cli, [pipeline]: readonly string[], options: { readonly stage?: string; readonly all?: boolean }): Promise<void> {
  const id = await findPipelineId(cli, pipeline!);
  const answer = await cli.api().call<Answer>(`query Checkpoints($id: ID!) { pipeline(id: $id) { stages { name checkpoints { ${CHECKPOINT_FIELDS} } } } }`, { id });
  if (answer.pipeline === null) throw new CliError(EXIT.notFound, `There is no pipeline ${id}.`, { hint: `List the pipelines: ${cli.command("ls")}` });
  const found = answer.pipeline.stages.filter(({ name }) => options.stage === undefined || name === options.stage)
    .flatMap(({ name, checkpoints }) => checkpoints.map((checkpoint) => ({ stage: name, ...checkpoint })))
    .filter(({ deletedAt }) => options.all === true || deletedAt === null);
  const marks = (checkpoint: CheckpointAnswer) => [checkpoint.simulated ? cli.style.yellow("simulated") : "", checkpoint.isBest ? cli.style.green("best") : "", checkpoint.isPinned ? "pinned" : "", checkpoint.deletedAt === null ? "" : "deleted"].filter((mark) => mark !== "").join(" ");
  const rows = () => found.map((checkpoint) => [checkpoint.id, harmless(checkpoint.stage), count(checkpoint.step), checkpoint.sizeBytes === null ? "" : bytes(checkpoint.sizeBytes), marks(checkpoint), harmless(checkpoint.host), harmless(checkpoint.path)]);
  const columns = ["ID", "STAGE", "STEP", "SIZE", "", "HOST", "PATH"].map((title) => ({ title, align: title === "STEP" || title === "SIZE" ? "right" as const : "left" as const }));
  cli.print({ value: found, table: () => (found.length === 0 ? [] : renderTable(columns, rows(), cli.style, null)), ids: () => found.map((checkpoint) => checkpoint.id) });
  if (cli.format === "table" && found.length === 0) cli.note(`No checkpoints${options.all === true ? "" : "; deleted ones with --all"}.`);
}
