// Adds an SSH host: shows the key that it has, adds it once that is confirmed, then looks at what it has.
import { readFileSync } from "node:fs";
import { HOST_FIELDS, type HostAnswer } from "../api/hosts.js";
import { DOMAIN_ERROR, payloadOf, RefusedError, type DomainErrorAnswer } from "../api/results.js";
import type { Cli } from "../cli.js";
import { CliError, EXIT, type ExitCode } from "../exit-codes.js";
import { mayGoOn } from "../question.js";
import { run as check } from "./host-check.js";

interface AddOptions {
  readonly key?: string; readonly keyOnServer?: string; readonly passwordFile?: string; readonly passphraseFile?: string; readonly sshAgent?: boolean; readonly jump?: string; readonly dir?: string;
  readonly python?: string; readonly prefix?: readonly string[]; readonly env?: readonly string[]; readonly fingerprint?: string; readonly yes?: boolean; readonly check: boolean;
}

export async function run(cli: Cli, [name, target]: readonly string[], options: AddOptions): Promise<ExitCode | void> {
  const input = { name, ...addressOf(target!), ...secretsOf(cli, options), useSshAgent: options.sshAgent === true, jump: options.jump ?? null, workingDirectory: options.dir ?? null,
    pythonEnvironment: options.python ?? null, commandPrefix: options.prefix ?? [], environment: variablesOf(options.env ?? []), privateKeyPath: options.keyOnServer ?? null };
  const add = async (hostKeyFingerprint: string | null): Promise<HostAnswer> => {
    const { addSshHost } = await cli.api().call<{ addSshHost: { sshHost: HostAnswer } | DomainErrorAnswer }>(
      `mutation AddHost($input: AddSshHostInput!) { addSshHost(input: $input) { ... on SshHostPayload { sshHost { ${HOST_FIELDS} } } ${DOMAIN_ERROR} } }`, { input: { ...input, hostKeyFingerprint } });
    return (payloadOf(addSshHost) as { sshHost: HostAnswer }).sshHost;
  };
  let host: HostAnswer;
  try {
    host = await add(options.fingerprint ?? null);
  } catch (error) {
    const found = error instanceof RefusedError && error.code === "SSH_HOST_KEY_UNKNOWN" ? /SHA256:[A-Za-z0-9+/]{43}/.exec(error.message)?.[0] : undefined;
    if (found === undefined) throw error;
    cli.note((error as RefusedError).message);
    if (!cli.mayAsk) throw new CliError(EXIT.failure, "The host key was not confirmed.", { hint: `If it is the host's own: ${cli.command(`host add ${name} ${target} … --fingerprint ${found}`)}`, cause: error });
    const refused = await mayGoOn(cli, `Is ${found} the key of ${name}?`, false);
    if (refused !== null) return refused;
    host = await add(found);
  }
  if (!options.check || cli.format !== "table" || cli.quiet) cli.print({ value: host, table: () => [host.id], ids: () => [host.id] });
  cli.note(`Added ${host.name} (${host.username}@${host.host}:${host.port}).`);
  if (options.check && cli.format === "table" && !cli.quiet) return check(cli, [host.id]);
}

/** [user@]host[:port], an IPv6 address in brackets. Throws CliError. */
function addressOf(text: string): { username: string; host: string; port: number } {
  const match = /^(?:([^@\s]+)@)?(?:\[([0-9a-fA-F:.%]+)\]|([^:\s]+))(?::(\d{1,5}))?$/.exec(text);
  if (match === null || match[1] === undefined) throw new CliError(EXIT.usage, `${JSON.stringify(text)} is not of the form user@host or user@host:port.`);
  return { username: match[1], host: match[2] ?? match[3]!, port: Number(match[4] ?? 22) };
}

function secretsOf(cli: Cli, options: AddOptions): { privateKey: string | null; password: string | null; passphrase: string | null } {
  const read = (file: string | undefined, what: string): string | null => {
    if (file === undefined) return null;
    try {
      return readFileSync(file === "-" ? 0 : file, "utf8");
    } catch (error) {
      throw new CliError(EXIT.usage, `${what} ${file} cannot be read: ${(error as Error).message}`);
    }
  };
  const line = (text: string | null): string | null => text?.replace(/\r?\n$/, "") ?? null;
  return { privateKey: read(options.key, "The key file"), password: line(read(options.passwordFile, "The password file")), passphrase: line(read(options.passphraseFile, "The passphrase file")) };
}

function variablesOf(words: readonly string[]): Record<string, string> {
  return Object.fromEntries(words.map((word) => {
    const at = word.indexOf("=");
    if (at < 1) throw new CliError(EXIT.usage, `--env ${word} is not of the form NAME=value.`);
    return [word.slice(0, at), word.slice(at + 1)];
  }));
}
