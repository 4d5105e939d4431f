// `trainyard ssh-agents`: acts for all SSH hosts of a database, in the foreground. It opens their credentials, so it runs where the control plane's key is.
import { join, resolve } from "node:path";
import { pino } from "pino";
import { sealedSecrets, secretKeySource } from "../../access/sealed-secrets.js";
import { createSshHosts } from "../../access/ssh-hosts.js";
import { agentConfigSchema, readConfig, serverConfigSchema } from "../../config.js";
import { openDatabase } from "../../db/database.js";
import type { Cli } from "../cli.js";
import { CliError, EXIT, type ExitCode } from "../exit-codes.js";
import { startSshAgents } from "../ssh-agents/ssh-agents.js";
import { agentDirectory } from "../stack/data-directory.js";
import { stopOrder, tellParent, type StopMode } from "../stack/parent-link.js";

export async function run(cli: Cli, _: readonly string[], options: { readonly onStop: StopMode; readonly supervised?: boolean }): Promise<ExitCode> {
  const supervised = options.supervised === true;
  const stop = stopOrder(options.onStop, supervised);
  const given = readConfig(serverConfigSchema, cli.environment);
  const dataDir = resolve(cli.workingDirectory, cli.options.dataDir ?? given.TRAINYARD_DATA_DIR);
  const config = readConfig(agentConfigSchema, cli.environment);
  if (given.DATABASE_URL === undefined) {
    throw new CliError(EXIT.failure, "The SSH hosts and their credentials are in the control plane's database, and DATABASE_URL is not set.", { hint: `Set DATABASE_URL as the control plane has it. \`${cli.self} up\` runs this by itself.` });
  }
  const log = pino({ level: config.TRAINYARD_LOG_LEVEL, name: "ssh-agents" });
  const database = openDatabase({ url: given.DATABASE_URL, size: 4, log });
  const sshHosts = createSshHosts({ db: database.db, secrets: sealedSecrets(secretKeySource({ ...given, TRAINYARD_DATA_DIR: dataDir })), agentSocket: given.SSH_AUTH_SOCK });
  const agents = startSshAgents({ databaseUrl: given.DATABASE_URL, sshHosts, config, directory: join(dataDir, "ssh-agents"), neighbours: [join(agentDirectory(dataDir), "attempts")], environment: cli.environment, log });
  if (supervised) tellParent({ type: "ready" });
  else cli.note(`Acting for the SSH hosts of the database, for ${config.TRAINYARD_URL}`);
  await agents.stop(await stop);
  await database.close();
  return EXIT.ok;
}
