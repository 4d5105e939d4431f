import { findPipelineId } from "../api/find-pipeline.js";
import { order, printOrdered } from "../api/orders.js";
import type { Cli } from "../cli.js";
import { CliError, EXIT } from "../exit-codes.js";

interface WaitingStage { readonly name: string; readonly status: string }

export async function run(cli: Cli, [pipeline, stage]: readonly string[], options: { readonly reason?: string }): Promise<void> {
  const pipelineId = await findPipelineId(cli, pipeline!);
  const approved = stage ?? (await theOnlyWaiting(cli, pipelineId));
  const ordered = await order(cli, "approveStage", { pipelineId, stage: approved, ...(options.reason === undefined ? {} : { reason: options.reason }) });
  printOrdered(cli, ordered, `${ordered.pipeline.name} / ${approved} is approved. Watch what follows: ${cli.command(`watch ${pipelineId}`)}`);
}

async function theOnlyWaiting(cli: Cli, pipelineId: string): Promise<string> {
  const { pipeline } = await cli.api().call<{ pipeline: { stages: readonly WaitingStage[] } | null }>("query Waiting($id: ID!) { pipeline(id: $id) { stages { name status } } }", { id: pipelineId });
  if (pipeline === null) throw new CliError(EXIT.notFound, `There is no pipeline ${pipelineId}.`, { hint: `List the pipelines: ${cli.command("ls")}` });
  const waiting = pipeline.stages.filter(({ status }) => status === "WAITING_APPROVAL").map(({ name }) => name);
  if (waiting.length === 1) return waiting[0]!;
  if (waiting.length === 0) throw new CliError(EXIT.failure, "No stage of this pipeline waits for approval.", { hint: `See where it is: ${cli.command(`show ${pipelineId}`)}` });
  throw new CliError(EXIT.usage, `Several stages wait for approval: ${waiting.join(", ")}.`, { hint: `Name one: ${cli.command(`approve ${pipelineId} ${waiting[0]!}`)}` });
}
