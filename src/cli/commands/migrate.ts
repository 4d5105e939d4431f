// `trainyard migrate`: brings the database to this version's schema. Safe to run from several machines at once.
import { migrate, pendingMigrations } from "../../db/migrator.js";
import type { Cli } from "../cli.js";
import { EXIT, type ExitCode } from "../exit-codes.js";
import { databaseHere } from "../stack/database-here.js";

export async function run(cli: Cli, _: readonly string[], options: { readonly check?: boolean }): Promise<ExitCode> {
  const database = await databaseHere(cli);
  try {
    const names = options.check === true ? await pendingMigrations(database.url) : (await migrate(database.url)).applied;
    cli.print({ value: options.check === true ? { pending: names } : { applied: names }, table: () => names, ids: () => names });
    if (options.check === true && names.length > 0) {
      cli.note(`${names.length} migrations are to be applied: ${cli.command("migrate")}`);
      return EXIT.failure;
    }
    cli.note(names.length === 0 ? "The database is at this version's schema." : `Applied ${names.length} migrations.`);
    return EXIT.ok;
  } finally {
    await database.close();
  }
}
