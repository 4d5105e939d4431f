import { existsSync, readdirSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { acquireDirectoryLock } from "../../../src/directory-lock.js";
import { identifyProcess, pidRealm } from "../../../src/process-identity.js";
import { openYard, type Yard } from "./owners.js";

let yard: Yard;
let made = 0;
beforeAll(async () => {
  yard = await openYard();
});
afterAll(() => yard.close());

test("one holder at a time; a released lock is free and leaves no file", async () => {
  const file = newFile();
  const first = await acquireDirectoryLock(file);
  expect(first.kind).toBe("held");
  expect(await acquireDirectoryLock(file)).toMatchObject({ kind: "refused", holder: { pid: process.pid } });
  if (first.kind === "held") {
    first.lock.release();
    first.lock.release();
  }
  expect(leftovers(file)).toEqual([]);
});

test("the lock of a killed process is taken by exactly one of many who want it", async () => {
  for (let round = 0; round < 3; round++) {
    const file = newFile();
    const killed = await yard.own({ store: "lock", file });
    expect(killed.facts.kind).toBe("held");
    await killed.kill();
    const takers = await Promise.all(Array.from({ length: 6 }, () => yard.own({ store: "lock", file })));
    expect(takers.map((taker) => taker.facts.kind).sort()).toEqual(["held", "refused", "refused", "refused", "refused", "refused"]);
    for (const taker of takers) expect(await taker.stop()).toBe(0);
    expect(leftovers(file)).toEqual([]);
  }
});

test("many takers inside one process agree on one holder too", async () => {
  const file = newFile();
  writeFileSync(file, JSON.stringify({ pid: 999_999_999, startedAt: "1", realm: pidRealm(), nonce: "dead" }));
  const outcomes = await Promise.all(Array.from({ length: 20 }, () => acquireDirectoryLock(file)));
  const held = outcomes.filter((outcome) => outcome.kind === "held");
  expect(held).toHaveLength(1);
  held[0]?.lock.release();
});

test("a pid that belongs to a later process is no holder", async () => {
  const file = newFile();
  writeFileSync(file, JSON.stringify({ ...identifyProcess(process.pid), startedAt: "1", realm: pidRealm(), nonce: "earlier" }));
  const outcome = await acquireDirectoryLock(file);
  expect(outcome.kind).toBe("held");
  if (outcome.kind === "held") outcome.lock.release();
});

test("a lock file that lost its content to a power cut is taken over", async () => {
  const file = newFile();
  writeFileSync(file, "");
  const outcome = await acquireDirectoryLock(file);
  expect(outcome.kind).toBe("held");
  if (outcome.kind === "held") outcome.lock.release();
});

test("a holder in another container is believed while it refreshes, and gone when it has long stopped", async () => {
  const elsewhere = JSON.stringify({ pid: 1, startedAt: "1", realm: "another machine", nonce: "elsewhere" });
  const silent = newFile();
  writeFileSync(silent, elsewhere);
  utimesSync(silent, new Date(0), new Date(Date.now() - 60_000));
  const taken = await acquireDirectoryLock(silent);
  expect(taken.kind).toBe("held");
  if (taken.kind === "held") taken.lock.release();

  const refreshed = newFile();
  writeFileSync(refreshed, elsewhere);
  const refresh = setInterval(() => utimesSync(refreshed, new Date(), new Date()), 50);
  try {
    expect(await acquireDirectoryLock(refreshed)).toMatchObject({ kind: "refused", holder: { realm: "another machine" } });
  } finally {
    clearInterval(refresh);
  }
});

test("a process is told apart from others, and the dead are nobody", () => {
  expect(identifyProcess(process.pid)).toEqual(identifyProcess(process.pid));
  expect(identifyProcess(process.ppid)?.startedAt).not.toBe(undefined);
  for (const pid of [0, -1, 1.5, Number.NaN, 999_999_999]) expect(identifyProcess(pid)).toBeNull();
});

function newFile(): string {
  const file = join(yard.folder, `lock-${++made}`);
  expect(existsSync(file)).toBe(false);
  return file;
}

function leftovers(file: string): string[] {
  return readdirSync(yard.folder).filter((name) => join(yard.folder, name) === file || join(yard.folder, name).startsWith(`${file}.`));
}
