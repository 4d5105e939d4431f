// A question before something that cannot be taken back.
import { createInterface } from "node:readline/promises";
import type { Cli } from "./cli.js";
import { CliError, EXIT, type ExitCode } from "./exit-codes.js";

/** Null: go on. Otherwise the exit code of a user who said no. Throws CliError (usage) where nobody can be asked and --yes was not given. */
export async function mayGoOn(cli: Cli, question: string, yes: boolean): Promise<ExitCode | null> {
  if (yes) return null;
  if (!cli.mayAsk) throw new CliError(EXIT.usage, `${question} Nobody can be asked here.`, { hint: "Say so on the command line: --yes" });
  const asking = createInterface({ input: cli.stdin, output: cli.stderr });
  try {
    const answer = await asking.question(`${question} [y/N] `);
    if (/^y(es)?$/i.test(answer.trim())) return null;
    cli.note("Left as it is.");
    return EXIT.failure;
  } finally {
    asking.close();
  }
}
