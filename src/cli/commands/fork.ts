import { findPipelineId } from "../api/find-pipeline.js";
import { order, printOrdered } from "../api/orders.js";
import type { Cli } from "../cli.js";
import { overridesFrom } from "../spec/spec-changes.js";

export async function run(cli: Cli, [pipeline]: readonly string[], options: { readonly from: string; readonly set?: readonly string[] }): Promise<void> {
  const overrides = overridesFrom(options.set ?? []);
  const pipelineId = await findPipelineId(cli, pipeline!);
  const ordered = await order(cli, "forkPipeline", { pipelineId, fromStage: options.from, ...(Object.keys(overrides).length === 0 ? {} : { overrides }) });
  if (cli.format === "table" && !cli.quiet) cli.line(ordered.pipeline.id);
  printOrdered(cli, ordered, `${ordered.pipeline.name} runs again from ${options.from} as a pipeline of its own. Watch it: ${cli.command(`watch ${ordered.pipeline.id}`)}`);
}
