// SSH hosts as the commands see them.
import type { Cli } from "../cli.js";
import { CliError, EXIT } from "../exit-codes.js";

export interface HostAnswer {
  readonly id: string;
  readonly name: string;
  readonly host: string;
  readonly port: number;
  readonly username: string;
  readonly credential: string;
  readonly workingDirectory: string;
  readonly pythonEnvironment: string | null;
  readonly hostKeyFingerprint: string | null;
  readonly keyAlarm: { readonly at: string; readonly fingerprint: string | null } | null;
  readonly jump: { readonly name: string; readonly host: string; readonly port: number; readonly username: string } | null;
  readonly servedBy: "SSH" | "AGENT";
  readonly agent: { readonly status: string; readonly gpus: readonly { readonly index: number }[] } | null;
  readonly deployment: DeploymentAnswer | null;
}

export interface DeploymentStepAnswer { readonly name: string; readonly state: "RUNNING" | "DONE" | "FAILED"; readonly detail: string | null; readonly bytesDone: number | null; readonly bytesTotal: number | null }

export interface DeploymentAnswer {
  readonly state: "DEPLOYING" | "DEPLOYED" | "REMOVING" | "REMOVED" | "FAILED";
  readonly release: string | null;
  readonly version: string | null;
  readonly supervision: "SYSTEMD" | "SUPERVISED" | null;
  readonly runningSince: string | null;
  readonly steps: readonly DeploymentStepAnswer[];
  readonly error: { readonly code: string; readonly message: string } | null;
  readonly notes: readonly string[];
}

export const DEPLOYMENT_FIELDS = "state release version supervision runningSince steps { name state detail bytesDone bytesTotal } error { code message } notes";

export const HOST_FIELDS = `id name host port username credential workingDirectory pythonEnvironment hostKeyFingerprint
  keyAlarm { at fingerprint } jump { name host port username } servedBy agent { status gpus { index } } deployment { ${DEPLOYMENT_FIELDS} }`;

export async function listHosts(cli: Cli): Promise<readonly HostAnswer[]> {
  return (await cli.api().call<{ sshHosts: readonly HostAnswer[] }>(`query Hosts { sshHosts { ${HOST_FIELDS} } }`)).sshHosts;
}

/** By id or by name. Throws CliError (not found) that names the hosts there are. */
export async function findHost(cli: Cli, text: string): Promise<HostAnswer> {
  const hosts = await listHosts(cli);
  const found = hosts.find(({ id, name }) => id === text || name === text);
  if (found !== undefined) return found;
  throw new CliError(EXIT.notFound, `There is no SSH host ${JSON.stringify(text)}.`, { hint: hosts.length === 0 ? `None was added yet: ${cli.command("host add")}` : `There are: ${hosts.map(({ name }) => name).join(", ")}` });
}
