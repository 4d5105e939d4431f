import { findHost, type HostAnswer } from "../api/hosts.js";
import { DOMAIN_ERROR, payloadOf, type DomainErrorAnswer } from "../api/results.js";
import type { Cli } from "../cli.js";
import type { ExitCode } from "../exit-codes.js";
import { mayGoOn } from "../question.js";

export async function run(cli: Cli, [text]: readonly string[], options: { readonly yes?: boolean }): Promise<ExitCode | void> {
  const host = await findHost(cli, text!);
  const refused = await mayGoOn(cli, `Forget ${host.name} (${host.username}@${host.host}) with its credentials?`, options.yes === true);
  if (refused !== null) return refused;
  const { removeSshHost } = await cli.api().call<{ removeSshHost: { sshHost: Pick<HostAnswer, "id" | "name"> } | DomainErrorAnswer }>(
    `mutation RemoveHost($id: ID!) { removeSshHost(id: $id) { ... on SshHostPayload { sshHost { id name } } ${DOMAIN_ERROR} } }`, { id: host.id });
  const { sshHost } = payloadOf(removeSshHost) as { sshHost: Pick<HostAnswer, "id" | "name"> };
  cli.print({ value: sshHost, table: () => [], ids: () => [sshHost.id] });
  cli.note(`${sshHost.name} is forgotten. Files in ${host.workingDirectory} on the host stay.`);
}
