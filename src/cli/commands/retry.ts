import { orderOf } from "../api/orders.js";
import type { Cli } from "../cli.js";

export async function run(cli: Cli, [pipeline]: readonly string[], options: { readonly stage?: string; readonly reason?: string }): Promise<void> {
  await orderOf(cli, pipeline!, { pipeline: "retryPipeline", stage: "retryStage" }, options, ({ pipeline: { id, name } }) => `${options.stage === undefined ? `${name} runs again where it did not complete` : `${name} / ${options.stage} runs again`}; completed stages keep their outputs. Watch it: ${cli.command(`watch ${id}`)}`);
}
