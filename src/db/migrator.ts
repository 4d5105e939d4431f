// The migrator: brings a database to the schema of this version by the frozen SQL files in migrations/.
//   M1. Any number of processes may migrate one database at once: an advisory lock lets one work, the others then find nothing to do.
//   M2. A file takes effect whole or not at all: its statements and its row in schema_migrations are one transaction.
//   M3. An applied file never changes (its checksum is kept), and a database that a newer version has migrated is refused, not guessed at.
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import pg from "pg";
import { TrainyardError, UnavailableError } from "../domain/errors.js";
import { failpoint } from "../failpoints.js";
import { packagePath } from "../package-root.js";

/** Key of the advisory lock; any fixed number that no other program uses on this database. */
const LOCK_KEY = 7_230_981_154;
const CONNECT_TIMEOUT_MS = 10_000;

export type MigrationErrorCode =
  /** A file that was applied reads differently now. */
  | "MIGRATION_CHANGED"
  /** The database holds migrations that this version does not have. */
  | "MIGRATION_UNKNOWN"
  /** A statement of a file was refused by the database. */
  | "MIGRATION_FAILED";

/** The database cannot be brought to this version's schema; it was left as it was after the last whole file. */
export class MigrationError extends TrainyardError {
  readonly kind = "CONFLICT";
  readonly migration: string;
  constructor(code: MigrationErrorCode, migration: string, message: string, cause?: unknown) {
    super(code, message, { cause });
    this.migration = migration;
  }
}

interface MigrationFile {
  readonly name: string;
  readonly sql: string;
  /** SHA-256 of the text with line ends normalised: a checkout on another system is no change. */
  readonly checksum: string;
}

/** Applies what is missing, in the order of the names. Resolves with the names applied by this call. Throws MigrationError, or UnavailableError when the database cannot be reached. */
export function migrate(databaseUrl: string, folder: string = packagePath("migrations")): Promise<{ applied: string[] }> {
  const files = readFiles(folder);
  return withClient(databaseUrl, async (client) => {
    await client.query("SELECT pg_advisory_lock($1)", [LOCK_KEY]); // M1; ends with the session, however that ends
    await client.query(
      "CREATE TABLE IF NOT EXISTS schema_migrations (name text PRIMARY KEY, checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())",
    );
    const pending = judge(files, await appliedFiles(client));
    for (const file of pending) await apply(client, file);
    return { applied: pending.map((file) => file.name) };
  });
}

/** The names that migrate() would apply. Changes nothing. Throws MigrationError when migrate() would refuse. */
export function pendingMigrations(databaseUrl: string, folder: string = packagePath("migrations")): Promise<string[]> {
  const files = readFiles(folder);
  return withClient(databaseUrl, async (client) => {
    const { rows } = await client.query<{ there: boolean }>("SELECT to_regclass('schema_migrations') IS NOT NULL AS there");
    const applied = rows[0]?.there === true ? await appliedFiles(client) : new Map<string, string>();
    return judge(files, applied).map((file) => file.name);
  });
}

/** M3: refuses, or gives what is still to be applied. */
function judge(files: readonly MigrationFile[], applied: ReadonlyMap<string, string>): MigrationFile[] {
  const known = new Map(files.map((file) => [file.name, file]));
  for (const [name, checksum] of applied) {
    const file = known.get(name);
    if (file === undefined) {
      throw new MigrationError(
        "MIGRATION_UNKNOWN",
        name,
        `The database was migrated by a newer version of trainyard (it has ${name}, which this version lacks). Run the newer version, or restore a backup from before the upgrade.`,
      );
    }
    if (file.checksum !== checksum) {
      throw new MigrationError(
        "MIGRATION_CHANGED",
        name,
        `${name} was applied to this database with other content than it has now. Put the file back as it was released (install trainyard again) and make the change in a new file.`,
      );
    }
  }
  return files.filter((file) => !applied.has(file.name));
}

/** M2. */
async function apply(client: pg.Client, file: MigrationFile): Promise<void> {
  try {
    await client.query("BEGIN");
    await client.query(file.sql);
    failpoint("during-migration");
    await client.query("INSERT INTO schema_migrations (name, checksum) VALUES ($1, $2)", [file.name, file.checksum]);
    await client.query("COMMIT");
  } catch (cause) {
    await client.query("ROLLBACK").catch(() => undefined); // the connection may be what failed
    const { message, position, hint } = cause as { message: string; position?: string; hint?: string };
    const line = position === undefined ? "" : ` at line ${file.sql.slice(0, Number(position) - 1).split("\n").length}`;
    throw new MigrationError("MIGRATION_FAILED", file.name, `${file.name} failed${line}: ${message}.${hint === undefined ? "" : ` ${hint}`} Nothing of it was kept; remove the cause and migrate again.`, cause);
  }
}

async function appliedFiles(client: pg.Client): Promise<Map<string, string>> {
  const { rows } = await client.query<{ name: string; checksum: string }>("SELECT name, checksum FROM schema_migrations ORDER BY name");
  return new Map(rows.map((row) => [row.name, row.checksum]));
}

function readFiles(folder: string): MigrationFile[] {
  const names = readdirSync(folder).filter((name) => name.endsWith(".sql"));
  return names.sort().map((name) => {
    const sql = readFileSync(join(folder, name), "utf8").replaceAll("\r\n", "\n");
    return { name, sql, checksum: createHash("sha256").update(sql).digest("hex") };
  });
}

async function withClient<T>(databaseUrl: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: databaseUrl, connectionTimeoutMillis: CONNECT_TIMEOUT_MS });
  client.on("error", () => undefined); // a lost connection also rejects the query that waits on it
  await client.connect().catch((error: unknown) => {
    const { host, pathname } = new URL(databaseUrl);
    throw new UnavailableError(`Postgres at ${host}${pathname} cannot be used: ${(error as Error).message}. Check DATABASE_URL, and that the server runs and accepts this user.`, { cause: error });
  });
  try {
    return await work(client);
  } finally {
    await client.end().catch(() => undefined);
  }
}
