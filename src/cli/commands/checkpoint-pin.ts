import { changeCheckpoint } from "../api/checkpoints.js";
import type { Cli } from "../cli.js";

export async function run(cli: Cli, [id]: readonly string[]): Promise<void> {
  await changeCheckpoint(cli, "pinCheckpoint", id!, (checkpoint) => `The checkpoint of step ${checkpoint.step} is kept until it is unpinned: ${cli.command(`checkpoint unpin ${checkpoint.id}`)}`);
}
