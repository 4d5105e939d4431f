import { orderDrain } from "../api/drain.js";
import type { Cli } from "../cli.js";

export async function run(cli: Cli, [name]: readonly string[], options: { readonly reason?: string }): Promise<void> {
  await orderDrain(cli, name!, "undrainAgent", options.reason, (agent) => `${agent.name} gets work again.`);
}
