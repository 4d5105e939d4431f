import { execFileSync } from "node:child_process";
import { appendFileSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, inject, onTestFinished, test } from "vitest";
import { openJournal, replayJournal, type Journal, type Place } from "../../../src/agent/journal/journal.js";
import { Ledger } from "../../../src/agent/journal/ledger.js";
import { encodeRecord, type JournalRecord } from "../../../src/agent/journal/records.js";
import { openReserve, type Reserve } from "../../../src/agent/journal/reserve.js";
import { Spool, type Draft } from "../../../src/agent/journal/spool.js";
import { newId } from "../../../src/domain/ids.js";
import type { Report } from "../../../src/protocol/messages.js";
import { commandAssignment } from "../../support/control-plane-peer.js";

const attemptId = newId("att");
const open: Journal[] = [];
afterEach(async () => {
  for (const journal of open.splice(0)) await journal.close();
});

interface Opened { readonly journal: Journal; readonly ledger: Ledger; readonly spool: Spool; readonly records: JournalRecord[]; readonly reserve: Reserve }

/** What the daemon does at its start. */
async function openAll(directory: string, options: { segmentBytes?: number; limitBytes?: number; reserveBytes?: number } = {}): Promise<Opened> {
  const ledger = new Ledger();
  const records: JournalRecord[] = [];
  const places = new Map<number, Place>();
  replayJournal(join(directory, "journal"), (record, place) => {
    ledger.apply(record);
    records.push(record);
    if (record.kind === "report") places.set(record.body.n, place);
  });
  const reserve = openReserve(join(directory, "reserve"), options.reserveBytes ?? 4_096);
  const journal = await openJournal({
    directory: join(directory, "journal"), reserve, snapshot: () => encodeRecord("snapshot", JSON.stringify(ledger.snapshot())), beforeBatch: () => spool.beforeBatch(),
    ...(options.segmentBytes === undefined ? {} : { segmentBytes: options.segmentBytes }),
  });
  open.push(journal);
  const spool: Spool = new Spool({ journal, ledger, limitBytes: options.limitBytes ?? 1e9, replayed: [...places].sort(([a], [b]) => a - b).map(([n, place]) => ({ n, place })), onDurable: () => undefined });
  return { journal, ledger, spool, records, reserve };
}

const folder = (): string => mkdtempSync(join(inject("runFolder"), "journal-"));
const log = (text: string): Draft => ({ type: "log", attemptId, fence: 1, at: 0, fromByte: 0, skippedBytes: 0, text });
const ended = (): Draft => ({ type: "ended", attemptId, fence: 1, at: 0, outcome: { kind: "STOPPED" } });
const numbers = (spool: Spool, after: number): number[] => {
  const all: number[] = [];
  for (let batch = spool.take(after); batch !== null; batch = spool.take(batch.to)) all.push(...batch.texts.map((text) => (JSON.parse(text) as Report).n));
  return all;
};

test("what was appended is there after a restart, and numbers go on", async () => {
  const directory = folder();
  const first = await openAll(directory);
  await Promise.all([first.spool.append([log("a"), log("b")]), first.spool.append([ended()])]);
  await first.journal.close();
  const second = await openAll(directory);
  expect(numbers(second.spool, 0)).toEqual([1, 2, 3]);
  await second.spool.append([log("c")]);
  expect(numbers(second.spool, 2)).toEqual([3, 4]);
});

test("an attempt whose end was committed is not held again by a process that finds it in a snapshot only", async () => {
  const directory = folder();
  const first = await openAll(directory);
  const assignment = commandAssignment(["true"], { attemptId });
  await first.journal.append([{ vital: true, line: () => encodeRecord("accept", JSON.stringify({ assignment, at: 1 })), written: () => first.ledger.apply({ kind: "accept", body: { assignment, at: 1 } }) }]);
  await first.spool.append([ended()]);
  await first.journal.close();
  const second = await openAll(directory); // its segment begins with what was held
  expect(second.ledger.held()).toHaveLength(1);
  second.spool.commit(1);
  expect(second.ledger.held()).toEqual([]);
  await second.journal.close();
  expect((await openAll(directory)).ledger.held()).toEqual([]);
});

test("appends of the same moment share one write", async () => {
  const { journal, spool } = await openAll(folder());
  const file = journal.fileOf(journal.segment());
  const before = statSync(file).size;
  let sizeAtFirst = 0;
  const first = spool.append([log("first")]).then(() => { sizeAtFirst = statSync(file).size; });
  await Promise.all([first, ...Array.from({ length: 50 }, (_, i) => spool.append([log(`${i}`)]))]);
  expect(sizeAtFirst).toBe(statSync(file).size);
  expect(sizeAtFirst).toBeGreaterThan(before);
});

test("a torn last record is cut off, whatever was left of it", async () => {
  const directory = folder();
  const first = await openAll(directory);
  await first.spool.append([log("whole")]);
  await first.spool.append([log("torn")]);
  const file = first.journal.fileOf(first.journal.segment());
  await first.journal.close();
  const size = statSync(file).size;
  const lastLine = readFileSync(file, "utf8").trimEnd().split("\n").at(-1)?.length ?? 0;
  for (let cut = 1; cut <= lastLine; cut += 7) {
    const copy = folder();
    execFileSync("cp", ["-r", `${directory}/.`, copy]);
    truncateSync(join(copy, "journal", file.slice(file.lastIndexOf("/") + 1)), size - cut);
    const again = await openAll(copy);
    expect(numbers(again.spool, 0)).toEqual([1]);
    await again.spool.append([log("next")]);
    expect(numbers(again.spool, 0)).toEqual([1, 2]);
    rmSync(copy, { recursive: true });
  }
});

test("a torn last record of nonsense is cut off too", async () => {
  const directory = folder();
  const first = await openAll(directory);
  await first.spool.append([log("whole")]);
  await first.journal.close();
  appendFileSync(first.journal.fileOf(first.journal.segment()), Buffer.from([0, 0, 0, 10, 0]));
  expect(numbers((await openAll(directory)).spool, 0)).toEqual([1]);
});

test("damage before whole records is refused with the file and the line", async () => {
  const directory = folder();
  const first = await openAll(directory);
  for (const text of ["a", "b", "c"]) await first.spool.append([log(text)]);
  const file = first.journal.fileOf(first.journal.segment());
  await first.journal.close();
  writeFileSync(file, readFileSync(file, "utf8").replace('"text":"b"', '"text":"B"'));
  await expect(openAll(directory)).rejects.toMatchObject({ code: "JOURNAL_DAMAGED", message: expect.stringMatching(/line 3/) });
});

test("segments that nothing needs are removed, and the snapshot keeps what is held", async () => {
  const directory = folder();
  const first = await openAll(directory, { segmentBytes: 2_000 });
  const assignment = commandAssignment(["true"]);
  await first.journal.append([{ vital: false, line: () => encodeRecord("accept", JSON.stringify({ assignment, at: 1 })), written: () => first.ledger.apply({ kind: "accept", body: { assignment, at: 1 } }) }]);
  for (let i = 0; i < 60; i++) await first.spool.append([{ ...log("x".repeat(100)), attemptId: assignment.attemptId }], { attemptId: assignment.attemptId, log: { offset: i, published: i, taken: 0, skipping: false, skipped: 0 } });
  const many = readdirSync(join(directory, "journal")).length;
  expect(many).toBeGreaterThan(4);
  first.spool.commit(55);
  const few = readdirSync(join(directory, "journal")).length;
  expect(few).toBeLessThan(many);
  expect(numbers(first.spool, 55)).toEqual([56, 57, 58, 59, 60]);
  await first.journal.close();

  const second = await openAll(directory, { segmentBytes: 2_000 });
  expect(second.ledger.held()).toEqual([{ attemptId: assignment.attemptId, fence: 1 }]);
  expect(second.ledger.attempts.get(assignment.attemptId)?.log?.offset).toBe(59);
  expect(numbers(second.spool, 55)).toEqual([56, 57, 58, 59, 60]);
  second.spool.commit(60);
  expect(readdirSync(join(directory, "journal"))).toHaveLength(1);
  expect(second.spool.bytes).toBe(0);
});

test("reports beyond what memory holds are read back from the journal", async () => {
  const { spool } = await openAll(folder());
  const text = "y".repeat(60_000);
  for (let i = 0; i < 40; i++) await spool.append(Array.from({ length: 10 }, () => log(text)));
  expect(spool.bytes).toBeGreaterThan(16 * 1024 * 1024);
  expect(numbers(spool, 0)).toEqual(Array.from({ length: 400 }, (_, i) => i + 1));
});

test("above its limit the spool asks logs and metrics to wait, and takes ends", async () => {
  const { spool } = await openAll(folder(), { limitBytes: 1_000 });
  await spool.append([log("z".repeat(2_000))]);
  let there = false;
  const room = spool.room().then(() => { there = true; });
  await spool.append([ended()]);
  expect(there).toBe(false);
  spool.commit(1);
  await room;
  expect(spool.last).toBe(2);
});

describe("a full disk", () => {
  /** A file system of its own, or null where this user may not make one. */
  const smallDisk = (): string | null => {
    const at = folder();
    try {
      execFileSync("mount", ["-t", "tmpfs", "-o", "size=256k", "none", at], { stdio: "ignore" });
    } catch {
      console.warn("\nNOT RUN: a full disk under the journal: this user cannot mount a small file system\n");
      return null;
    }
    onTestFinished(() => void execFileSync("umount", ["-l", at]));
    return at;
  };

  test("refuses logs first, records ends from the reserve, and goes on when there is room", async () => {
    const directory = smallDisk();
    if (directory === null) return;
    const { spool, reserve } = await openAll(directory, { reserveBytes: 64 * 1024 });
    let accepted = 0;
    for (;;) {
      try {
        await spool.append([log("f".repeat(10_000))]);
        accepted++;
      } catch (error) {
        expect(error).toMatchObject({ code: "JOURNAL_FULL" });
        break;
      }
    }
    expect(reserve.isKept()).toBe(true);
    try {
      writeFileSync(join(directory, "filler"), Buffer.alloc(256 * 1024));
    } catch {
      // full to the last page
    }
    for (let i = 0; i < 5; i++) await spool.append([ended()]);
    expect(spool.last).toBe(accepted + 5);
    await expect(spool.append([log("f".repeat(10_000))])).rejects.toMatchObject({ code: "JOURNAL_FULL" });
    expect(numbers(spool, 0)).toEqual(Array.from({ length: accepted + 5 }, (_, i) => i + 1));
    rmSync(join(directory, "filler"), { force: true });
    execFileSync("mount", ["-o", "remount,size=1m", directory]);
    await spool.append([log("again")]);
    expect(reserve.isKept()).toBe(true);
    expect(spool.last).toBe(accepted + 6);
  });
});
