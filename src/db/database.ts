// Opens Postgres. One pool, shared by Kysely and by the few hot statements that go to pg directly.
//   D1. A backend that dies mid-transaction rejects that transaction and nothing else: every client has an error handler from the moment it connects.
//   D2. A process that freezes inside a transaction does not hold up the others for ever: Postgres ends the transaction after FROZEN_MS and frees its locks.

import { Kysely, PostgresDialect } from "kysely";
import pg from "pg";
import type { Logger } from "pino";
import type { Database } from "./tables.js";

export type Db = Kysely<Database>;

export interface OpenedDatabase {
  readonly db: Db;
  readonly pool: pg.Pool;
  close(): Promise<void>;
}

/** Far above any pause between two statements of a transaction of ours, in milliseconds. */
const FROZEN_MS = 10_000;

const types: pg.CustomTypesConfig = {
  getTypeParser: ((oid: number, format?: "text" | "binary") => {
    if (oid === pg.types.builtins.INT8 && format !== "binary") return Number;
    return format === "binary" ? pg.types.getTypeParser(oid, "binary") : pg.types.getTypeParser(oid, "text");
  }) as typeof pg.types.getTypeParser,
};

/** Opens a pool of at most `size` connections. Connects lazily; `close` waits for queries under way. */
export function openDatabase(options: { url: string; size: number; log: Pick<Logger, "warn"> }): OpenedDatabase {
  const pool = new pg.Pool({ connectionString: options.url, max: options.size, types, application_name: "trainyard", connectionTimeoutMillis: 10_000, idle_in_transaction_session_timeout: FROZEN_MS });
  const onError = (error: Error) => options.log.warn({ reason: error.message, code: (error as { code?: string }).code }, "a Postgres connection was lost; its transaction is void and the next query opens another");
  pool.on("connect", (client) => client.on("error", onError));
  pool.on("error", onError);
  const db = new Kysely<Database>({ dialect: new PostgresDialect({ pool }) });
  return { db, pool, close: () => db.destroy() };
}

/** Kysely on a connection that somebody else holds, inside their transaction. Nothing of it needs closing. */
export function kyselyOn(client: pg.PoolClient): Db {
  const borrowed = { query: client.query.bind(client), release: () => undefined } as unknown as pg.PoolClient;
  return new Kysely<Database>({ dialect: new PostgresDialect({ pool: { connect: () => Promise.resolve(borrowed), end: () => Promise.resolve() } as unknown as pg.Pool }) });
}
