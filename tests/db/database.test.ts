import pg from "pg";
import { pino } from "pino";
import { expect, onTestFinished, test } from "vitest";
import { openDatabase } from "../../src/db/database.js";
import { createTestDatabase } from "../support/postgres.js";

test("a backend that is killed in the middle of a transaction costs that transaction: it is said, the process lives, and the next query works", async () => {
  const database = await createTestDatabase();
  const said: string[] = [];
  const opened = openDatabase({ url: database.url, size: 2, log: pino({ level: "warn" }, { write: (line: string) => void said.push((JSON.parse(line) as { code: string }).code) }) });
  const killer = new pg.Client({ connectionString: database.url });
  await killer.connect();
  onTestFinished(async () => {
    await killer.end();
    await opened.close();
    await database.drop();
  });
  let crash: unknown = null;
  const onCrash = (error: unknown) => { crash = error; };
  process.prependListener("uncaughtException", onCrash);
  onTestFinished(() => void process.off("uncaughtException", onCrash));

  const transaction = opened.db.transaction().execute(async (trx) => {
    const { pid } = (await opened.pool.query<{ pid: number }>("select pid from pg_stat_activity where datname = current_database() and state = 'idle in transaction'")).rows[0]!;
    await killer.query("select pg_terminate_backend($1)", [pid]);
    // Nothing is under way on the connection now: what ends it comes as an event, and an event without a listener ends the process.
    await expect.poll(() => said.length + (crash === null ? 0 : 1)).toBeGreaterThan(0);
    await trx.selectFrom("event_counter").selectAll().execute();
  });
  await expect(transaction).rejects.toThrow();
  expect(crash).toBeNull();
  expect(said).toContain("57P01");
  expect(await opened.db.selectFrom("event_counter").select("position").execute()).toHaveLength(1);
});
