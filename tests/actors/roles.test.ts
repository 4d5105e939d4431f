import pg from "pg";
import { afterEach, expect, test } from "vitest";
import { keepRole, type RoleKeeper } from "../../src/actors/roles.js";
import { createTestDatabase, type TestDatabase } from "../support/postgres.js";
import { silent } from "../support/world.js";

let database: TestDatabase;
const keepers: RoleKeeper[] = [];
afterEach(async () => {
  await Promise.all(keepers.splice(0).map((keeper) => keeper.stop()));
  await database.drop();
});

function keep(holder: string): RoleKeeper {
  const keeper = keepRole({ name: "caretaker", databaseUrl: database.url, holder, log: silent });
  keepers.push(keeper);
  return keeper;
}

test("one holds a role at a time; when it stops, the other takes over with a higher epoch", async () => {
  database = await createTestDatabase();
  const first = keep("first");
  await expect.poll(() => first.held?.epoch, { timeout: 5_000 }).toBe(1);
  const second = keep("second");
  await new Promise((resolve) => setImmediate(resolve));
  expect(second.held).toBeNull();
  await first.stop();
  await expect.poll(() => second.held?.epoch, { timeout: 5_000 }).toBe(2);
});

test("a holder that stands still loses the role: its connection is ended and a rival has a higher epoch", async () => {
  database = await createTestDatabase();
  const frozen = new pg.Client({ connectionString: database.url });
  const ended = new Promise<void>((resolve) => frozen.on("end", () => resolve()));
  frozen.on("error", () => undefined);
  await frozen.connect();
  await frozen.query("select pg_advisory_lock(7230981202)"); // the caretaker's key
  await frozen.query("update roles set epoch = 7, holder = 'frozen', seen_at = now() - interval '1 minute' where name = 'caretaker'");
  const rival = keep("rival");
  await expect.poll(() => rival.held?.epoch, { timeout: 8_000 }).toBe(8);
  await ended;
});

test("a holder that shows signs of life keeps the role, however often others ask", async () => {
  database = await createTestDatabase();
  const holder = keep("holder");
  await expect.poll(() => holder.held?.epoch, { timeout: 5_000 }).toBe(1);
  const rival = keep("rival");
  const client = new pg.Client({ connectionString: database.url });
  await client.connect();
  const seen = async () => ((await client.query<{ seen_at: Date }>("select seen_at from roles where name = 'caretaker'")).rows[0]!.seen_at).getTime();
  const before = await seen();
  await expect.poll(async () => (await seen()) > before, { timeout: 8_000 }).toBe(true);
  expect([holder.held?.epoch, rival.held]).toEqual([1, null]);
  await client.end();
});
