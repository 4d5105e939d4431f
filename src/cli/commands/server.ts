// `trainyard server`: the control plane in the foreground. With DATABASE_URL it serves that database; without, it brings the embedded stores up first.
import { resolve } from "node:path";
import { pino } from "pino";
import { readConfig, serverConfigSchema, type ServerConfig } from "../../config.js";
import { migrate, pendingMigrations } from "../../db/migrator.js";
import { startControlPlaneServer } from "../../server/control-plane-server.js";
import type { Cli } from "../cli.js";
import { CliError, EXIT, type ExitCode } from "../exit-codes.js";
import { writeServerNote } from "../stack/data-directory.js";
import { stopOrder, tellParent } from "../stack/parent-link.js";
import { startStores } from "../stack/stores.js";
import { ensureTokens } from "../stack/tokens.js";

interface ServerOptions { readonly port?: number; readonly migrate?: boolean; readonly supervised?: boolean }

export async function run(cli: Cli, _: readonly string[], options: ServerOptions): Promise<ExitCode> {
  const supervised = options.supervised === true;
  const stop = stopOrder("now", supervised);
  const given = readConfig(serverConfigSchema, cli.environment);
  const config: ServerConfig = {
    ...given,
    ...(options.port === undefined ? {} : { TRAINYARD_PORT: options.port }),
    ...(cli.options.dataDir === undefined ? {} : { TRAINYARD_DATA_DIR: resolve(cli.workingDirectory, cli.options.dataDir) }),
  };
  const log = pino({ level: config.TRAINYARD_LOG_LEVEL, name: "server" });
  const stores = await prepareStores(cli, config, options.migrate === true, supervised, log);
  try {
    const server = await startControlPlaneServer({ config: { ...config, ...stores.config }, log });
    const { url, wsUrl } = server;
    if (!supervised && given.DATABASE_URL === undefined) writeServerNote(resolve(config.TRAINYARD_DATA_DIR), { url, wsUrl, pid: process.pid });
    if (supervised) tellParent({ type: "ready", url });
    else cli.note(`The control plane serves ${url}`);
    await stop;
    log.info("stopping");
    await server.close();
    return EXIT.ok;
  } finally {
    await stores.stop();
  }
}

interface PreparedStores { readonly config: Partial<ServerConfig>; stop(): Promise<void> }

async function prepareStores(cli: Cli, config: ServerConfig, wantsMigration: boolean, supervised: boolean, log: pino.Logger): Promise<PreparedStores> {
  if (config.DATABASE_URL !== undefined) {
    if (wantsMigration) await migrate(config.DATABASE_URL);
    else if (!supervised && (await pendingMigrations(config.DATABASE_URL)).length > 0) {
      throw new CliError(EXIT.failure, "The database is not at this version's schema.", { hint: `Run \`${cli.self} migrate\` once, or start with --migrate.` });
    }
    return { config: {}, stop: async () => undefined };
  }
  const dataDir = resolve(cli.workingDirectory, config.TRAINYARD_DATA_DIR);
  // A store that moves to another port cannot be followed in this process: it ends, and whoever keeps it running starts it again.
  const stores = await startStores({ dataDir, databaseUrl: undefined, redisUrl: config.REDIS_URL, wantsRedis: config.TRAINYARD_REDIS === "auto", log }, () => process.kill(process.pid, "SIGTERM"));
  try {
    await migrate(stores.databaseUrl());
    await ensureTokens(stores.databaseUrl(), dataDir);
  } catch (error) {
    await stores.stop();
    throw error;
  }
  return { config: { DATABASE_URL: stores.databaseUrl(), REDIS_URL: stores.redisUrl() ?? undefined, TRAINYARD_DATA_DIR: dataDir }, stop: () => stores.stop() };
}
