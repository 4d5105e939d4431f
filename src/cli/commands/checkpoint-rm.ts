import { changeCheckpoint } from "../api/checkpoints.js";
import type { Cli } from "../cli.js";
import type { ExitCode } from "../exit-codes.js";
import { mayGoOn } from "../question.js";

export async function run(cli: Cli, [id]: readonly string[], options: { readonly yes?: boolean }): Promise<ExitCode | void> {
  const refused = await mayGoOn(cli, `Delete the files of ${id!} for good?`, options.yes === true);
  if (refused !== null) return refused;
  await changeCheckpoint(cli, "deleteCheckpoint", id!, (checkpoint) => `${checkpoint.host} is told to delete ${checkpoint.path}.`);
}
