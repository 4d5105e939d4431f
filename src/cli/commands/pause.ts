import { orderOf } from "../api/orders.js";
import type { Cli } from "../cli.js";

export async function run(cli: Cli, [pipeline]: readonly string[], options: { readonly reason?: string }): Promise<void> {
  await orderOf(cli, pipeline!, { pipeline: "pausePipeline" }, options, ({ pipeline: { id, name } }) => `${name} is paused: nothing new starts, what runs is asked to stop. Go on with: ${cli.command(`resume ${id}`)}`);
}
