// Submits a specification. Problems, found here or by the server, are shown where they stand in the file.
import { randomUUID } from "node:crypto";
import { persistently } from "../api/client.js";
import { DOMAIN_ERROR, payloadOf, RefusedError, type ApiProblem, type DomainErrorAnswer } from "../api/results.js";
import type { Cli } from "../cli.js";
import { CliError, EXIT, type ExitCode } from "../exit-codes.js";
import { watchToExit } from "../follow/watch-pipeline.js";
import { loadSpec, locateServerProblems, type LoadedSpec } from "../spec/spec-file.js";
import { run as validate } from "./validate.js";
import { refuseProblems, showProblems } from "../spec/refuse-problems.js";

interface SubmitOptions {
  readonly watch?: boolean;
  readonly detach?: boolean;
  readonly dryRun?: boolean;
  readonly set?: readonly string[];
  readonly simulate?: boolean;
  readonly requestId?: string;
  readonly timeout?: number;
}

export interface Submitted {
  readonly pipeline: { readonly id: string; readonly name: string; readonly status: string };
  readonly cursor: string;
  /** The server's. */
  readonly warnings: readonly ApiProblem[];
}

export async function run(cli: Cli, [file]: readonly string[], options: SubmitOptions): Promise<ExitCode> {
  if (options.dryRun === true) return validate(cli, [file!], { set: options.set ?? [], simulate: options.simulate === true, explain: true, needsServer: true });
  const loaded = await loadSpec(cli, file!, options.set ?? [], options.simulate);
  if (loaded.problems.some(({ severity }) => severity === "ERROR")) return refuseProblems(cli, loaded.source, loaded.problems);
  showProblems(cli, loaded.source, loaded.problems); // warnings

  const requestId = options.requestId ?? `cli-${randomUUID()}`;
  const submitted = await submitLoaded(cli, loaded, requestId);
  if ("refused" in submitted) return submitted.refused;
  const { pipeline } = submitted;
  const attached = options.detach !== true && (options.watch === true || (cli.stdout.isTTY === true && cli.format === "table" && !cli.quiet));
  if (cli.quiet || cli.format === "table") cli.line(pipeline.id);
  else cli.record(submitted);
  if (attached) return watchToExit(cli, pipeline.id, options.timeout ?? null);
  cli.note(`Submitted ${pipeline.name}. Watch it: ${cli.command(`watch ${pipeline.id}`)}`);
  return EXIT.ok;
}

/** Sends it, and shows what the server warns of; the same request id makes a repeat harmless, also one after an answer that was lost. Problems of the server are printed and give the exit code. */
export async function submitLoaded(cli: Cli, loaded: LoadedSpec, requestId: string): Promise<Submitted | { refused: ExitCode }> {
  const document = `mutation Submit($input: SubmitPipelineInput!) { submitPipeline(input: $input) { ... on SubmitPipelinePayload { pipeline { id name status } cursor warnings { path severity code message hint } } ${DOMAIN_ERROR} } }`;
  try {
    const { submitPipeline } = await persistently(4, () => cli.api().call<{ submitPipeline: Submitted | DomainErrorAnswer }>(document, { input: { spec: loaded.spec, requestId } }));
    const submitted = payloadOf(submitPipeline) as Submitted;
    const known = new Set(loaded.problems.map(({ path, code }) => `${path} ${code}`));
    showProblems(cli, loaded.source, locateServerProblems(loaded, submitted.warnings.filter(({ path, code }) => !known.has(`${path} ${code}`))));
    return submitted;
  } catch (error) {
    if (error instanceof RefusedError && error.problems.length > 0) return { refused: refuseProblems(cli, loaded.source, locateServerProblems(loaded, error.problems)) };
    if (error instanceof CliError && error.exitCode === EXIT.failure && !(error instanceof RefusedError)) {
      throw new CliError(error.exitCode, error.message, { hint: [error.hint, `Submitting again with --request-id ${requestId} can never start it twice.`].filter(Boolean).join("\n"), cause: error });
    }
    throw error;
  }
}
