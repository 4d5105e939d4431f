import { orderOf } from "../api/orders.js";
import type { Cli } from "../cli.js";

export async function run(cli: Cli, [pipeline]: readonly string[], options: { readonly reason?: string }): Promise<void> {
  await orderOf(cli, pipeline!, { pipeline: "resumePipeline" }, options, ({ pipeline: { id, name } }) => `${name} goes on. Watch it: ${cli.command(`watch ${id}`)}`);
}
