// `trainyard doctor`: everything that commonly stands in the way, each with how to fix it. Exit code 1 when something is wrong.
import type { Cli } from "../cli.js";
import { EXIT, type ExitCode } from "../exit-codes.js";
import { checkMachine } from "../doctor/machine-checks.js";
import { checkServer } from "../doctor/server-checks.js";
import type { Check } from "../doctor/check.js";

export async function run(cli: Cli): Promise<ExitCode> {
  const connection = cli.connection();
  const checks: Check[] = [...(await checkMachine(cli)), ...(await checkServer(cli))];
  const { red, green, yellow, dim, bold } = cli.style;
  const mark = { ok: green("✓"), warning: yellow("!"), failure: red("✗"), unknown: dim("·") };
  const width = Math.max(...checks.map(({ name }) => name.length));
  const failures = checks.filter(({ status }) => status === "failure");
  cli.print({
    value: { ok: failures.length === 0, url: connection.url, source: connection.source, checks },
    table: () => checks.flatMap(({ name, status, found, fix }) => [`${mark[status]} ${bold(name.padEnd(width))}  ${found}`, ...(fix === null ? [] : [`  ${" ".repeat(width)}  ${yellow("fix:")} ${fix}`])]),
    ids: () => failures.map(({ name }) => name),
  });
  return failures.length === 0 ? EXIT.ok : EXIT.failure;
}
