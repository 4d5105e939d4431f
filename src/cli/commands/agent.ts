// `trainyard agent`: the daemon that pulls work for this machine, in the foreground.
import { pino } from "pino";
import { startAgent } from "../../agent/daemon.js";
import { agentConfigSchema, readConfig } from "../../config.js";
import type { Cli } from "../cli.js";
import { EXIT, type ExitCode } from "../exit-codes.js";
import { stopOrder, tellParent, type StopMode } from "../stack/parent-link.js";

export async function run(cli: Cli, _: readonly string[], options: { readonly onStop: StopMode; readonly supervised?: boolean }): Promise<ExitCode> {
  const supervised = options.supervised === true;
  const stop = stopOrder(options.onStop, supervised);
  const config = readConfig(agentConfigSchema, cli.environment);
  const log = pino({ level: config.TRAINYARD_LOG_LEVEL, name: "agent" });
  const agent = await startAgent({ config, log });
  if (supervised) tellParent({ type: "ready" });
  const ended = await Promise.race([agent.done.then(() => "done" as const), stop]);
  if (ended !== "done") await agent.stop(ended);
  return EXIT.ok;
}
