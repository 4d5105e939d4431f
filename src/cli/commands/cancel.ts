import { orderOf } from "../api/orders.js";
import type { Cli } from "../cli.js";

export async function run(cli: Cli, [pipeline]: readonly string[], options: { readonly stage?: string; readonly reason?: string }): Promise<void> {
  await orderOf(cli, pipeline!, { pipeline: "cancelPipeline", stage: "cancelStage" }, options, ({ pipeline: { id, name, status } }) => {
    if (status === "CANCELLED") return `${name} is cancelled. Run it again: ${cli.command(`retry ${id}`)}`;
    return `${options.stage === undefined ? name : `${name} / ${options.stage}`} is being cancelled: what runs is asked to stop, then made to. Watch it: ${cli.command(`watch ${id}`)}`;
  });
}
