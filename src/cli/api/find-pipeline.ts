// What a user means by <pipeline>: an id, or the name of its newest pipeline.
import { idKind } from "../../domain/ids.js";
import type { Cli } from "../cli.js";
import { CliError, EXIT } from "../exit-codes.js";

/** The id of the pipeline. Throws CliError (not found). */
export async function findPipelineId(cli: Cli, text: string): Promise<string> {
  const kind = idKind(text);
  if (kind === "pip") return text;
  if (kind === "stg") return (await stageById(cli, text)).pipelineId;
  if (kind !== null) throw new CliError(EXIT.notFound, `${text} is no pipeline.`, { hint: `List the pipelines: ${cli.command("ls")}` });
  const { pipelines } = await cli.api().call<{ pipelines: { edges: readonly { node: { id: string; name: string } }[] } }>(
    "query Named($name: String!) { pipelines(first: 1, name: $name) { edges { node { id name } } } }", { name: text });
  const newest = pipelines.edges[0]?.node;
  if (newest === undefined || newest.name !== text) throw new CliError(EXIT.notFound, `There is no pipeline with the id or name ${JSON.stringify(text)}.`, { hint: `List the pipelines: ${cli.command("ls")}` });
  return newest.id;
}

export interface FoundStage { readonly id: string; readonly name: string; readonly pipelineId: string }

/** Throws CliError (not found). */
export async function stageById(cli: Cli, id: string): Promise<FoundStage> {
  const { stage } = await cli.api().call<{ stage: { id: string; name: string; pipeline: { id: string } } | null }>("query Stage($id: ID!) { stage(id: $id) { id name pipeline { id } } }", { id });
  if (stage === null) throw new CliError(EXIT.notFound, `There is no stage ${id}.`, { hint: `List the pipelines: ${cli.command("ls")}` });
  return { id: stage.id, name: stage.name, pipelineId: stage.pipeline.id };
}

/** A stage of a pipeline by name. Throws CliError (not found) that names the stages there are. */
export async function stageByName(cli: Cli, pipelineId: string, name: string): Promise<FoundStage> {
  const { pipeline } = await cli.api().call<{ pipeline: { stage: { id: string } | null; stages: readonly { name: string }[] } | null }>(
    "query StageOf($id: ID!, $name: String!) { pipeline(id: $id) { stage(name: $name) { id } stages { name } } }", { id: pipelineId, name });
  if (pipeline === null) throw new CliError(EXIT.notFound, `There is no pipeline ${pipelineId}.`, { hint: `List the pipelines: ${cli.command("ls")}` });
  if (pipeline.stage === null) {
    const names = pipeline.stages.map((stage) => stage.name);
    throw new CliError(EXIT.notFound, `The pipeline has no stage ${JSON.stringify(name)}.`, { hint: `Its stages: ${names.slice(0, 20).join(", ")}${names.length > 20 ? ", …" : ""}` });
  }
  return { id: pipeline.stage.id, name, pipelineId };
}
