import { changeCheckpoint } from "../api/checkpoints.js";
import type { Cli } from "../cli.js";

export async function run(cli: Cli, [id]: readonly string[]): Promise<void> {
  await changeCheckpoint(cli, "unpinCheckpoint", id!, (checkpoint) => `The checkpoint of step ${checkpoint.step} may be tidied up again.`);
}
