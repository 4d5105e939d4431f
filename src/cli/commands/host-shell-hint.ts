// The ssh command with which a person opens a shell on the host, in its working directory. Nothing is run.
import { findHost } from "../api/hosts.js";
import type { Cli } from "../cli.js";

export async function run(cli: Cli, [text]: readonly string[]): Promise<void> {
  const host = await findHost(cli, text!);
  const words = [
    "ssh", "-t", ...(host.port === 22 ? [] : ["-p", String(host.port)]),
    ...(host.jump === null ? [] : ["-J", `${host.jump.username}@${host.jump.host}${host.jump.port === 22 ? "" : `:${host.jump.port}`}`]),
    `${host.username}@${host.host}`,
    `'cd ${host.workingDirectory} && exec "\${SHELL:-/bin/sh}" -l'`, // the server takes no path with characters that a shell would read
  ];
  cli.print({ value: { command: words.join(" "), hostKeyFingerprint: host.hostKeyFingerprint }, table: () => [words.join(" ")], ids: () => [host.id] });
  cli.note(`The host's key is ${host.hostKeyFingerprint}. Log in with your own key: stored credentials are not given out.`);
}
