// Checks a specification by the rules that need no server and, where one can be reached, by the server's too.
import type { ApiProblem } from "../api/results.js";
import { unreachableHint } from "../api/client.js";
import type { Cli } from "../cli.js";
import { CliError, EXIT, UnreachableError, type ExitCode } from "../exit-codes.js";
import { explainPlan, planOf } from "../render/plan.js";
import { loadSpec, locateServerProblems, type LoadedSpec } from "../spec/spec-file.js";
import { countProblems, type LocatedProblem } from "../spec/problem-report.js";
import { problemsAsData, showProblems } from "../spec/refuse-problems.js";

interface ValidateOptions {
  readonly set?: readonly string[];
  readonly simulate?: boolean;
  readonly explain?: boolean;
  readonly offline?: boolean;
  /** For `submit --dry-run`: an unreachable server is an error. */
  readonly needsServer?: boolean;
}

interface ServerReport { readonly ok: boolean; readonly problems: readonly ApiProblem[]; readonly layers: readonly (readonly string[])[] }

export async function run(cli: Cli, [file]: readonly string[], options: ValidateOptions): Promise<ExitCode> {
  const loaded = await loadSpec(cli, file!, options.set ?? [], options.simulate);
  const asked = options.offline === true || loaded.spec === undefined ? null : await askServer(cli, loaded.spec, options.needsServer === true);
  const problems = merge(loaded, asked);
  const ok = problems.every(({ severity }) => severity !== "ERROR");
  const plan = ok && options.explain === true ? planOf(loaded.spec, asked?.layers ?? loaded.layers) : null;

  if (cli.format === "table") showProblems(cli, loaded.source, problems);
  const name = loaded.source.file === "-" ? "<stdin>" : loaded.source.file;
  cli.print({
    value: { ok, checkedBy: asked === null ? "here" : "server", problems: problemsAsData(problems), layers: asked?.layers ?? loaded.layers, ...(plan === null ? {} : { plan }) },
    table: () => (plan === null ? [] : explainPlan(plan, cli.style, cli.stdout.columns ?? null)),
    ids: () => [],
  });
  if (cli.format === "table") {
    const by = asked === null ? "checked here; the server was not asked" : `checked by ${cli.connection().url}`;
    cli.note(ok ? `${cli.noteStyle.green("valid:")} ${name}${problems.length > 0 ? `, with ${countProblems(problems)}` : ""} (${by})` : `${cli.noteStyle.red("not valid:")} ${countProblems(problems)} in ${name}`);
    if (ok && options.needsServer !== true) cli.note(`Submit it: ${cli.command(`submit ${file}`)}`);
  }
  return ok ? EXIT.ok : EXIT.usage;
}

async function askServer(cli: Cli, spec: unknown, needed: boolean): Promise<ServerReport | null> {
  try {
    const { validatePipeline } = await cli.api().call<{ validatePipeline: ServerReport }>(
      "query Validate($spec: JSON!) { validatePipeline(spec: $spec) { ok problems { path severity code message hint } layers } }", { spec });
    return validatePipeline;
  } catch (error) {
    if (needed || !(error instanceof CliError)) throw error;
    if (!(error instanceof UnreachableError)) cli.note(`The server was not asked: ${error.message}`);
    else if (cli.connection().source !== "the default address") cli.note(`${error.message} ${unreachableHint(cli.connection(), cli.self)}`);
    return null;
  }
}

/** The server knows all that is known here, and more; where it answered, only it is believed. */
function merge(loaded: LoadedSpec, asked: ServerReport | null): readonly LocatedProblem[] {
  return asked === null ? loaded.problems : locateServerProblems(loaded, asked.problems);
}
