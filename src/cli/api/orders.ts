// What a user orders of a pipeline: one mutation, one answer, one remark.
import type { Cli } from "../cli.js";
import { DOMAIN_ERROR, payloadOf, type DomainErrorAnswer } from "./results.js";
import { findPipelineId } from "./find-pipeline.js";

type Order = "cancelPipeline" | "pausePipeline" | "resumePipeline" | "retryPipeline" | "cancelStage" | "retryStage" | "approveStage" | "forkPipeline";

export interface Ordered {
  readonly pipeline: { readonly id: string; readonly name: string; readonly status: string };
  readonly cursor: string;
}

/** Throws RefusedError for what the server refuses. */
export async function order(cli: Cli, name: Order, input: Readonly<Record<string, unknown>>): Promise<Ordered> {
  const type = name === "forkPipeline" ? "ForkPipelineInput" : name.endsWith("Stage") ? "StageActionInput" : "PipelineActionInput";
  const document = `mutation Order($input: ${type}!) { ${name}(input: $input) { ... on PipelinePayload { pipeline { id name status } cursor } ${DOMAIN_ERROR} } }`;
  const answer = await cli.api().call<Record<string, Ordered | DomainErrorAnswer>>(document, { input });
  return payloadOf(answer[name]!) as Ordered;
}

/** Orders it of the pipeline (or of one stage) that the user named, prints the pipeline and says what happens now. */
export async function orderOf(cli: Cli, pipeline: string, names: { readonly pipeline: Order; readonly stage?: Order }, options: { readonly stage?: string; readonly reason?: string }, remark: (ordered: Ordered) => string): Promise<void> {
  const pipelineId = await findPipelineId(cli, pipeline);
  const reason = options.reason === undefined ? {} : { reason: options.reason };
  const ordered = options.stage === undefined ? await order(cli, names.pipeline, { pipelineId, ...reason }) : await order(cli, names.stage!, { pipelineId, stage: options.stage, ...reason });
  printOrdered(cli, ordered, remark(ordered));
}

export function printOrdered(cli: Cli, ordered: Ordered, remark: string): void {
  cli.print({ value: ordered, table: () => [], ids: () => [ordered.pipeline.id] });
  cli.note(remark);
}
