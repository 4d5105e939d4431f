import { orderDrain } from "../api/drain.js";
import type { Cli } from "../cli.js";

export async function run(cli: Cli, [name]: readonly string[], options: { readonly reason?: string }): Promise<void> {
  await orderDrain(cli, name!, "drainAgent", options.reason, (agent) => `${agent.name} gets no new work; what runs there goes on. Give it work again: ${cli.command(`agents undrain ${agent.name}`)}`);
}
