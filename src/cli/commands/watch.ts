import { findPipelineId } from "../api/find-pipeline.js";
import type { Cli } from "../cli.js";
import type { ExitCode } from "../exit-codes.js";
import { watchToExit } from "../follow/watch-pipeline.js";

export async function run(cli: Cli, [pipeline]: readonly string[], options: { readonly timeout?: number }): Promise<ExitCode> {
  return watchToExit(cli, await findPipelineId(cli, pipeline!), options.timeout ?? null);
}
