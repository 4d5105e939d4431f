// Prints problems of a specification: for people on stderr, as data on stdout with --json.
import type { Cli } from "../cli.js";
import { EXIT, type ExitCode } from "../exit-codes.js";
import { countProblems, renderProblems, type LocatedProblem } from "./problem-report.js";
import type { SpecSource } from "./spec-source.js";

/** Remarks on stderr; nothing for an empty list. */
export function showProblems(cli: Cli, source: SpecSource, problems: readonly LocatedProblem[]): void {
  if (problems.length > 0) cli.stderr.write(`${renderProblems(source, problems, cli.noteStyle).join("\n")}\n`);
}

/** The end of a command whose specification is not valid. */
export function refuseProblems(cli: Cli, source: SpecSource, problems: readonly LocatedProblem[]): ExitCode {
  if (cli.format === "table") {
    showProblems(cli, source, problems);
    cli.stderr.write(`\n${cli.noteStyle.red("error:")} ${countProblems(problems)} in ${source.file === "-" ? "<stdin>" : source.file}; nothing was submitted.\n`);
  } else cli.record({ ok: false, problems: problemsAsData(problems) });
  return EXIT.usage;
}

/** A problem as JSON: what the API gives, and where it stands in the file. */
export function problemsAsData(problems: readonly LocatedProblem[]): readonly object[] {
  return problems.map(({ path, severity, code, message, hint, position }) => ({ path, severity, code, message, hint, line: position?.line ?? null, column: position?.column ?? null }));
}
