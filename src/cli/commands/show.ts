// One pipeline, or one stage, in detail: where it is, why it waits, why it failed, what came out.
import { idKind } from "../../domain/ids.js";
import { findPipelineId, stageById, stageByName } from "../api/find-pipeline.js";
import type { Cli } from "../cli.js";
import { CliError, EXIT } from "../exit-codes.js";
import { PIPELINE_SNAPSHOT, viewOf, type PipelineSnapshot } from "../follow/pipeline-view.js";
import { describePipeline, type ShownPipeline } from "../render/pipeline-page.js";
import { describeStage, STAGE_FIELDS, type ShownStage } from "../render/stage-page.js";

/** Waiting stages whose reasons are asked for; each costs the scheduler a look. */
const REASONS_SHOWN = 8;

export async function run(cli: Cli, [target, stageName]: readonly string[]): Promise<void> {
  if (idKind(target!) === "stg") return showStage(cli, (await stageById(cli, target!)).id);
  const pipelineId = await findPipelineId(cli, target!);
  return stageName === undefined ? showPipeline(cli, pipelineId) : showStage(cli, (await stageByName(cli, pipelineId, stageName)).id);
}

async function showPipeline(cli: Cli, id: string): Promise<void> {
  const { pipeline } = await cli.api().call<{ pipeline: (PipelineSnapshot & ShownPipeline) | null }>(
    `query Show($id: ID!) { pipeline(id: $id) { ${PIPELINE_SNAPSHOT} labels createdBy layers forkedFrom { id } } }`, { id });
  if (pipeline === null) throw new CliError(EXIT.notFound, `There is no pipeline ${id}.`, { hint: `List the pipelines: ${cli.command("ls")}` });
  const reasons = await waitReasons(cli, pipeline.stages.filter(({ status }) => status === "QUEUED").slice(0, REASONS_SHOWN).map((stage) => stage.id));
  const view = viewOf(pipeline);
  for (const stage of view.stages.values()) stage.waitReasons = reasons.get(stage.id) ?? [];
  cli.print({
    value: { ...pipeline, stages: pipeline.stages.map((stage) => ({ ...stage, waitReasons: reasons.get(stage.id) ?? [] })) },
    ids: () => [...view.stages.values()].map((stage) => stage.id),
    table: () => describePipeline(view, pipeline, cli.style, { now: Date.now(), width: cli.stdout.isTTY === true ? (cli.stdout.columns ?? null) : null }),
  });
  if (cli.format !== "table") return;
  for (const [what, command] of nextCommands(view.status, id, [...view.stages.values()].find(({ status }) => status === "WAITING_APPROVAL")?.name)) cli.note(`${cli.noteStyle.dim(what.padEnd(14))}${cli.command(command)}`);
}

async function waitReasons(cli: Cli, stageIds: readonly string[]): Promise<Map<string, readonly string[]>> {
  if (stageIds.length === 0) return new Map();
  const fields = stageIds.map((_, index) => `s${index}: stage(id: $id${index}) { waitReasons }`).join(" ");
  const answer = await cli.api().call<Record<string, { waitReasons: readonly string[] } | null>>(
    `query Reasons(${stageIds.map((_, index) => `$id${index}: ID!`).join(", ")}) { ${fields} }`, Object.fromEntries(stageIds.map((id, index) => [`id${index}`, id])));
  return new Map(stageIds.map((id, index) => [id, answer[`s${index}`]?.waitReasons ?? []]));
}

async function showStage(cli: Cli, id: string): Promise<void> {
  const { stage } = await cli.api().call<{ stage: ShownStage | null }>(`query ShowStage($id: ID!) { stage(id: $id) { ${STAGE_FIELDS} } }`, { id });
  if (stage === null) throw new CliError(EXIT.notFound, `There is no stage ${id}.`);
  cli.print({ value: stage, ids: () => [stage.id], table: () => describeStage(stage, cli.style, Date.now()) });
  if (cli.format !== "table") return;
  cli.note(`${cli.noteStyle.dim("Its log:".padEnd(14))}${cli.command(`logs ${stage.pipeline.id} --stage ${stage.name}`)}`);
  if (stage.trainingJob !== null) cli.note(`${cli.noteStyle.dim("The training:".padEnd(14))}${cli.command(`job show ${stage.trainingJob.id}`)}`);
}

function nextCommands(status: string, id: string, approval: string | undefined): [string, string][] {
  if (approval !== undefined) return [["Approve it:", `approve ${id} ${approval}`], ["Watch it:", `watch ${id}`]];
  switch (status) {
    case "PAUSED": return [["Go on:", `resume ${id}`]];
    case "FAILED": case "CANCELLED": return [["Try again:", `retry ${id}`], ["The logs:", `logs ${id}`]];
    case "COMPLETED": return [["The logs:", `logs ${id}`], ["Checkpoints:", `checkpoint ls ${id}`]];
    default: return [["Watch it:", `watch ${id}`]];
  }
}
