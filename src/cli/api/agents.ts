// Agents as the commands see them.
import type { Cli } from "../cli.js";
import { CliError, EXIT } from "../exit-codes.js";

export interface AgentAnswer {
  readonly id: string;
  readonly name: string;
  readonly status: string;
  readonly draining: boolean;
  readonly runMode: string;
  /** What stands in the way of programs there. */
  readonly problem: string | null;
  readonly labels: Readonly<Record<string, unknown>>;
  readonly versions: Readonly<Record<string, string | null>>;
  readonly queues: readonly { readonly name: string; readonly concurrency: number; readonly running: number }[];
  readonly gpus: readonly { readonly index: number; readonly model: string; readonly memoryTotalMiB: number; readonly memoryUsedMiB: number | null; readonly utilizationPercent: number | null; readonly heldBy: { readonly id: string } | null }[];
  readonly running: readonly { readonly id: string; readonly number: number; readonly status: string; readonly startedAt: string | null; readonly stage: { readonly name: string; readonly pipeline: { readonly id: string; readonly name: string } } }[];
  readonly lastHeartbeatAt: string | null;
}

export const AGENT_FIELDS = `id name status draining runMode problem labels versions lastHeartbeatAt
  queues { name concurrency running }
  gpus { index model memoryTotalMiB memoryUsedMiB utilizationPercent heldBy { id } }
  running { id number status startedAt stage { name pipeline { id name } } }`;

export async function listAgents(cli: Cli): Promise<readonly AgentAnswer[]> {
  return (await cli.api().call<{ agents: readonly AgentAnswer[] }>(`query Agents { agents { ${AGENT_FIELDS} } }`)).agents;
}

/** By id or by name. Throws CliError (not found) that names the agents there are. */
export async function findAgent(cli: Cli, text: string): Promise<AgentAnswer> {
  const agents = await listAgents(cli);
  const found = agents.find(({ id, name }) => id === text || name === text);
  if (found !== undefined) return found;
  throw new CliError(EXIT.notFound, `There is no agent ${JSON.stringify(text)}.`, { hint: agents.length === 0 ? `No agent has reported yet. Start one: ${cli.command("agent")}` : `There are: ${agents.map(({ name }) => name).join(", ")}` });
}
