// The dispatcher's role is guarded twice: a lock says who may schedule at all (roles.test.ts), and the role's epoch refuses, in the very transaction, the offers of whoever was replaced
// without noticing. Each is tested with the other out of the way.
import pg from "pg";
import { afterEach, expect, test } from "vitest";
import { keepRole, type RoleKeeper } from "../../src/actors/roles.js";
import { line } from "../support/specs.js";
import { createTestDatabase, type TestDatabase } from "../support/postgres.js";
import { silent, startWorld, type World } from "../support/world.js";

const undo: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step();
});

test("who asks for a role that is held does not get it, whatever the epoch says", async () => {
  const database: TestDatabase = await createTestDatabase();
  undo.push(() => database.drop());
  const taken: string[] = [];
  const keep = (holder: string): RoleKeeper => {
    const keeper = keepRole({ name: "dispatcher", databaseUrl: database.url, holder, log: silent, taken: ({ epoch }) => taken.push(`${holder} ${epoch}`) });
    undo.push(() => keeper.stop());
    return keeper;
  };
  const first = keep("first");
  await expect.poll(() => first.held, { timeout: 5_000 }).not.toBeNull();
  const rivals = [keep("second"), keep("third")];
  const db = new pg.Client({ connectionString: database.url });
  await db.connect();
  undo.push(() => db.end());
  // Each rival has asked and been told no: it then looked whether the holder stands still.
  await expect.poll(async () => (await db.query("select 1 from pg_stat_activity where datname = current_database() and application_name = 'trainyard dispatcher' and state = 'idle' and query ~ '(pg_terminate_backend|update roles)'")).rowCount, { timeout: 5_000 }).toBe(3);
  expect(rivals.map((rival) => rival.held)).toEqual([null, null]);
  expect(taken).toEqual(["first 1"]);
});

test("a dispatcher that was replaced without noticing offers nothing: its transaction sees the newer epoch", async () => {
  const world: World = await startWorld();
  undo.push(() => world.stop());
  await world.agent();
  await expect.poll(() => world.actors.dispatching, { timeout: 5_000 }).toBe(true);
  await world.ended(await world.submit(line), "COMPLETED"); // it schedules
  // As a rival does that has got past the lock.
  const { epoch } = await world.database.db.updateTable("roles").set((eb) => ({ epoch: eb("epoch", "+", 1), holder: "rival" })).where("name", "=", "dispatcher").returning("epoch").executeTakeFirstOrThrow();
  const id = await world.submit(line);
  await world.until(id, (state) => state.stages.at(0).status !== "QUEUED" && state.stages.at(0).status !== "PENDING", 15_000);
  // It was offered by whoever took the role in earnest after that.
  const now = await world.database.db.selectFrom("roles").selectAll().where("name", "=", "dispatcher").executeTakeFirstOrThrow();
  expect(Number(now.epoch)).toBeGreaterThan(Number(epoch));
  expect(now.holder).not.toBe("rival");
  await world.ended(id, "COMPLETED");
});
