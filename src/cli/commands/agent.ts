// `trainyard agent`: the daemon that pulls work for this machine, in the foreground.
import { pino } from "pino";
import { startAgent } from "../../agent/daemon.js";
import { agentConfigSchema, readConfig } from "../../config.js";
import type { Cli } from "../cli.js";
import { CliError, EXIT, type ExitCode } from "../exit-codes.js";
import { stopOrder, tellParent, type StopMode } from "../stack/parent-link.js";

export async function run(cli: Cli, _: readonly string[], options: { readonly onStop: StopMode; readonly supervised?: boolean }): Promise<ExitCode> {
  const supervised = options.supervised === true;
  const stop = stopOrder(options.onStop, supervised);
  const config = readConfig(agentConfigSchema, cli.environment);
  const log = pino({ level: config.TRAINYARD_LOG_LEVEL, name: "agent" });
  const agent = await startAgent({ config, log, environment: cli.environment }).catch(expected);
  void agent.connected.then(() => (supervised ? tellParent({ type: "ready" }) : cli.note(`Agent ${agent.name} takes work from ${config.TRAINYARD_URL}`)));
  const ended = await Promise.race([agent.done.then(() => "done" as const), stop]);
  if (ended !== "done") await agent.stop(ended);
  return EXIT.ok;
}

/** The daemon's own refusals carry a code and say what to do; anything else is a bug. */
function expected(error: Error & { code?: unknown }): never {
  if (typeof error.code === "string" && error.name !== "Error") throw new CliError(EXIT.failure, error.message, { cause: error });
  throw error;
}
