// A database whose migration was cut off is as it was before, and the next process brings it up.
import { spawn } from "node:child_process";
import { once } from "node:events";
import pg from "pg";
import { afterEach, expect, test } from "vitest";
import { builtCli } from "../support/built-cli.js";
import { createEmptyDatabase, type TestDatabase } from "../support/postgres.js";

let database: TestDatabase;
afterEach(() => database.drop());

async function migrate(failpoint?: string): Promise<number | NodeJS.Signals> {
  const child = spawn(process.execPath, [await builtCli(), "migrate"], { env: { PATH: process.env["PATH"], DATABASE_URL: database.url, ...(failpoint === undefined ? {} : { TRAINYARD_FAILPOINT: failpoint }) }, stdio: "ignore" });
  const [code, signal] = (await once(child, "exit")) as [number | null, NodeJS.Signals | null];
  return signal ?? code ?? -1;
}

async function tables(): Promise<string[]> {
  const client = new pg.Client({ connectionString: database.url });
  await client.connect();
  const { rows } = await client.query<{ name: string }>("select table_name as name from information_schema.tables where table_schema = 'public'");
  await client.end();
  return rows.map((row) => row.name);
}

test("a process killed during the migration leaves nothing of it; the next ones, several at once, migrate whole", async () => {
  database = await createEmptyDatabase();
  expect(await migrate("during-migration:1")).toBe("SIGKILL");
  expect(await tables()).toEqual(["schema_migrations"]);
  expect(await Promise.all([migrate(), migrate()])).toEqual([0, 0]);
  expect(await tables()).toEqual(expect.arrayContaining(["pipelines", "events", "assignments"]));
});
