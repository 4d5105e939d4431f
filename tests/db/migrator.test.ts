import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import pg from "pg";
import { afterEach, beforeEach, expect, inject, test } from "vitest";
import { migrate, pendingMigrations } from "../../src/db/migrator.js";
import { createEmptyDatabase, createTestDatabase, type TestDatabase } from "../support/postgres.js";

let database: TestDatabase;
let folder: string;

beforeEach(async () => {
  database = await createEmptyDatabase();
  folder = mkdtempSync(join(inject("runFolder"), "migrations-"));
});
afterEach(async () => {
  await database.drop();
  rmSync(folder, { recursive: true });
});

test("files are applied in the order of their names, once", async () => {
  write("0002_second.sql", "ALTER TABLE a ADD COLUMN second int;");
  write("0001_first.sql", "CREATE TABLE a (first int);");
  expect(await pendingMigrations(database.url, folder)).toEqual(["0001_first.sql", "0002_second.sql"]);
  expect(await migrate(database.url, folder)).toEqual({ applied: ["0001_first.sql", "0002_second.sql"] });
  expect(await migrate(database.url, folder)).toEqual({ applied: [] });
  expect(await pendingMigrations(database.url, folder)).toEqual([]);
});

test("ten processes may migrate one database at once: each file is applied by exactly one", async () => {
  write("0001_first.sql", "CREATE TABLE a (first int); SELECT pg_sleep(0.05);");
  write("0002_second.sql", "CREATE TABLE b (first int);");
  const outcomes = await Promise.all(Array.from({ length: 10 }, () => migrate(database.url, folder)));
  expect(outcomes.flatMap((outcome) => outcome.applied).sort()).toEqual(["0001_first.sql", "0002_second.sql"]);
});

test("a file that fails leaves nothing behind, keeps the files before it, and the error names file and line", async () => {
  write("0001_first.sql", "CREATE TABLE a (first int);");
  write("0002_second.sql", "CREATE TABLE b (first int);\nINSERT INTO missing VALUES (1);");
  await expect(migrate(database.url, folder)).rejects.toMatchObject({ code: "MIGRATION_FAILED", migration: "0002_second.sql", message: expect.stringContaining("line 2") as string });
  expect(await tables()).toEqual(["a", "schema_migrations"]);
  write("0002_second.sql", "CREATE TABLE b (first int);");
  expect(await migrate(database.url, folder)).toEqual({ applied: ["0002_second.sql"] });
});

test("a migrator killed in the middle of a file leaves nothing of it, and the next one applies it", async () => {
  write("0001_first.sql", "CREATE TABLE a (first int); SELECT pg_sleep(60);");
  const killed = migrate(database.url, folder);
  killed.catch(() => undefined);
  await expect.poll(() => endSleepers(), { timeout: 10_000 }).toBe(1);
  await expect(killed).rejects.toMatchObject({ code: "MIGRATION_FAILED" });
  expect(await tables()).toEqual(["schema_migrations"]);
  write("0001_first.sql", "CREATE TABLE a (first int);");
  expect(await migrate(database.url, folder)).toEqual({ applied: ["0001_first.sql"] });
});

test("an applied file that changed is refused; other line ends are no change", async () => {
  write("0001_first.sql", "CREATE TABLE a (\n  first int);\n");
  await migrate(database.url, folder);
  write("0001_first.sql", "CREATE TABLE a (\r\n  first int);\r\n");
  expect(await pendingMigrations(database.url, folder)).toEqual([]);
  write("0001_first.sql", "CREATE TABLE a (first bigint);");
  await expect(migrate(database.url, folder)).rejects.toMatchObject({ code: "MIGRATION_CHANGED" });
  await expect(pendingMigrations(database.url, folder)).rejects.toMatchObject({ code: "MIGRATION_CHANGED" });
});

test("a database that a newer version migrated is refused before anything is applied", async () => {
  write("0001_first.sql", "CREATE TABLE a (first int);");
  write("0003_third.sql", "CREATE TABLE c (first int);");
  await migrate(database.url, folder);
  rmSync(join(folder, "0003_third.sql"));
  write("0002_second.sql", "CREATE TABLE b (first int);");
  await expect(migrate(database.url, folder)).rejects.toMatchObject({ code: "MIGRATION_UNKNOWN", migration: "0003_third.sql", retryable: false });
  expect(await tables()).not.toContain("b");
});

test("an empty folder of migrations leaves only the bookkeeping", async () => {
  mkdirSync(folder, { recursive: true });
  expect(await migrate(database.url, folder)).toEqual({ applied: [] });
  expect(await tables()).toEqual(["schema_migrations"]);
});

test("every migration of this version is applied to a test database", async () => {
  const migrated = await createTestDatabase();
  expect(await pendingMigrations(migrated.url)).toEqual([]);
  await migrated.drop();
});

function write(name: string, sql: string): void {
  writeFileSync(join(folder, name), sql);
}

async function tables(): Promise<string[]> {
  return (await query<{ tablename: string }>("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")).map((row) => row.tablename);
}

async function endSleepers(): Promise<number> {
  return (await query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()")).length;
}

async function query<Row extends pg.QueryResultRow>(sql: string): Promise<Row[]> {
  const client = new pg.Client({ connectionString: database.url });
  await client.connect();
  try {
    return (await client.query<Row>(sql)).rows;
  } finally {
    await client.end();
  }
}

test("a database that cannot be reached is named, with what to check and without its password", async () => {
  const refusal = migrate("postgres://someone:hunter2@127.0.0.1:9/nothing").then(() => null, (error: Error & { code?: string }) => error);
  expect(await refusal).toMatchObject({ code: "UNAVAILABLE", message: expect.stringMatching(/Postgres at 127\.0\.0\.1:9\/nothing cannot be used: .*DATABASE_URL/) });
  expect((await refusal)?.message).not.toContain("hunter2");
});
