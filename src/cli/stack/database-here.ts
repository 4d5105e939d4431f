// The database that a command on the server's own machine works on: DATABASE_URL, or the embedded one of a data directory, running or not.
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { readConfig, serverConfigSchema } from "../../config.js";
import { findEmbeddedPostgres, startEmbeddedPostgres } from "../../server/embedded/postgres.js";
import type { Cli } from "../cli.js";
import { CliError, EXIT } from "../exit-codes.js";

export interface DatabaseHere {
  readonly url: string;
  /** Stops it if it was started for this command. */
  close(): Promise<void>;
}

/** Throws CliError when there is neither; a data directory is never created by a slip of the finger. */
export async function databaseHere(cli: Cli): Promise<DatabaseHere> {
  const config = readConfig(serverConfigSchema, cli.environment);
  if (cli.options.dataDir === undefined && config.DATABASE_URL !== undefined) return { url: config.DATABASE_URL, close: async () => undefined };
  const dataDir = resolve(cli.workingDirectory, cli.options.dataDir ?? config.TRAINYARD_DATA_DIR);
  if (!existsSync(dataDir)) throw new CliError(EXIT.failure, `There is no data directory ${dataDir}, and DATABASE_URL is not set.`, { hint: "Name the database in DATABASE_URL, or the directory of a server with --data-dir." });
  const running = await findEmbeddedPostgres(dataDir);
  if (running !== null) return { url: running.url, close: async () => undefined };
  const started = await startEmbeddedPostgres({ dataDir, log: { info: () => undefined, warn: (facts, message) => cli.note(`${message} ${JSON.stringify(facts)}`) } });
  return { url: started.url, close: () => started.stop() };
}
