import pg from "pg";
import { afterEach, beforeEach, expect, test } from "vitest";
import { startWakeups, type RunningWakeups } from "../../src/actors/wakeups.js";
import { createTestDatabase, type TestDatabase } from "../support/postgres.js";
import { silent } from "../support/world.js";

let database: TestDatabase;
let pool: pg.Pool;
const running: RunningWakeups[] = [];
beforeEach(async () => {
  database = await createTestDatabase();
  pool = new pg.Pool({ connectionString: database.url, max: 2 });
});
afterEach(async () => {
  await Promise.all(running.splice(0).map((one) => one.stop()));
  await pool.end();
  await database.drop();
});

function start(self: string): RunningWakeups {
  const wakeups = startWakeups({ databaseUrl: database.url, pool, log: silent, self });
  running.push(wakeups);
  return wakeups;
}
/** Backends that wait for news. */
const listening = async () => (await pool.query<{ pid: number }>("select pid from pg_stat_activity where datname = current_database() and application_name = 'trainyard wake-ups' and query like 'listen%'")).rows.map((row) => row.pid);

test("whoever listens is rung without any news every second: a NOTIFY that nobody heard delays and loses nothing", async () => {
  let rings = 0;
  const stop = start("a").listen("quiet", () => rings++);
  await expect.poll(listening).toHaveLength(1);
  const before = rings;
  await expect.poll(() => rings, { timeout: 5_000 }).toBeGreaterThanOrEqual(before + 2);
  stop();
});

test("news of another process ring at once, only their own topic, and again after the connection was killed", async () => {
  const [here, there] = [start("here"), start("there")];
  await expect.poll(listening).toHaveLength(2);
  /** Whether NOTIFY itself comes through: between two rings of the clock there is time for many of its own. */
  const heard = async () => {
    const rung = { one: 0, other: 0 };
    const stops = [there.listen("one", () => rung.one++), there.listen("other", () => rung.other++)];
    for (let i = 1; i <= 10; i++) {
      here.wake(["one"]);
      await expect.poll(() => rung.one, { interval: 2, timeout: 5_000 }).toBeGreaterThanOrEqual(i);
    }
    stops.forEach((stop) => stop());
    return rung;
  };
  const began = performance.now();
  const { other } = await heard();
  expect(performance.now() - began).toBeLessThan(5_000); // ten rings of the clock would take ten seconds
  expect(other).toBeLessThan(10);

  const killed = await listening();
  for (const pid of killed) await pool.query("select pg_terminate_backend($1)", [pid]);
  await expect.poll(async () => (await listening()).filter((pid) => !killed.includes(pid)), { timeout: 8_000 }).toHaveLength(2);
  const again = performance.now();
  await heard();
  expect(performance.now() - again).toBeLessThan(5_000);
});
