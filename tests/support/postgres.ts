// A database per test file, copied from one that was migrated once for the whole run.
import { randomBytes } from "node:crypto";
import pg from "pg";
import { inject } from "vitest";

/** Migrated by the global setup, then only ever copied. */
export const TEMPLATE_DATABASE = "trainyard_template";

export interface TestDatabase {
  /** For `DATABASE_URL`: every migration applied, no rows. */
  readonly url: string;
  /** Ends every connection to it and removes it. */
  drop(): Promise<void>;
}

/** A migrated database of its own. Remove it in `afterAll`. */
export function createTestDatabase(): Promise<TestDatabase> {
  return createFrom(TEMPLATE_DATABASE);
}

/** A database without any table, for tests of the migrator. */
export function createEmptyDatabase(): Promise<TestDatabase> {
  return createFrom("template0");
}

async function createFrom(template: string): Promise<TestDatabase> {
  const name = `test_${randomBytes(6).toString("hex")}`;
  await asSuperuser(`CREATE DATABASE ${name} TEMPLATE ${template} STRATEGY FILE_COPY`); // half the time of copying through the log, as nothing is flushed here
  const url = new URL(inject("postgresUrl"));
  url.pathname = `/${name}`;
  return { url: url.href, drop: () => asSuperuser(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`) };
}

async function asSuperuser(statement: string): Promise<void> {
  const client = new pg.Client({ connectionString: inject("postgresUrl") });
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}
