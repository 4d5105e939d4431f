import { mkdtempSync, readdirSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { expect, inject, test } from "vitest";
import { createSpill } from "../../../src/data/arrange/spill.js";
import type { SpillRecord } from "../../../src/data/arrange/spill-record.js";

const newFolder = () => mkdtempSync(join(inject("runFolder"), "spill-"));

async function through(records: readonly SpillRecord[], order: "key" | "arrival", bufferBytes: number, folder = newFolder()): Promise<SpillRecord[]> {
  const spill = createSpill({ folder, name: "rows", order, bufferBytes });
  for (const record of records) await spill.add(record);
  const back: SpillRecord[] = [];
  for await (const batch of spill.read()) back.push(...batch);
  return back;
}

/** Rows with keys that look like chance, and texts of mixed length. */
function someRecords(count: number): SpillRecord[] {
  return Array.from({ length: count }, (_, seq) => ({ high: (seq * 7_919) % 97, low: (seq * 2_654_435_761) >>> 0, seq, source: seq % 3, side: seq % 2, text: `${seq}: ${"é😀x".repeat(seq % 50)}` }));
}

const sorted = (records: readonly SpillRecord[]) => [...records].sort((a, b) => a.high - b.high || a.low - b.low || a.seq - b.seq);

test("rows come back in the order of their keys, whatever fits in memory", async () => {
  const records = someRecords(1_000);
  for (const bufferBytes of [300, 4_096, 100_000, 10_000_000]) expect(await through(records, "key", bufferBytes)).toEqual(sorted(records));
});

test("more runs than are merged at once are merged in steps", async () => {
  const records = someRecords(2_000);
  const folder = newFolder();
  expect(await through(records, "key", 500, folder)).toEqual(sorted(records));
  expect(readdirSync(folder).length).toBeLessThanOrEqual(64);
});

test("rows come back in order of arrival when that is asked for", async () => {
  const records = someRecords(2_000);
  for (const bufferBytes of [500, 10_000_000]) expect(await through(records, "arrival", bufferBytes)).toEqual(records);
});

test("what fits in the buffer never touches the disk", async () => {
  const folder = newFolder();
  await through(someRecords(100), "key", 1_000_000, folder);
  expect(readdirSync(folder)).toEqual([]);
});

test("rows with equal keys keep the order in which they came", async () => {
  const records = Array.from({ length: 500 }, (_, seq) => ({ high: 1, low: 1, seq, source: 0, side: 0, text: "equal" }));
  expect((await through(records, "key", 1_000)).map(({ seq }) => seq)).toEqual(records.map(({ seq }) => seq));
});

test("a row longer than every buffer survives among short ones", async () => {
  const long = { high: 1, low: 0, seq: 1, source: 0, side: 0, text: "漢".repeat(700_000) };
  const records = [{ ...long, seq: 0, high: 2, text: "short" }, long, { ...long, seq: 2, high: 0, text: "" }];
  expect((await through(records, "key", 1_000)).map(({ seq }) => seq)).toEqual([2, 1, 0]);
  expect((await through(records, "arrival", 1_000))[1]).toEqual(long);
});

test("no rows give no rows", async () => {
  expect(await through([], "key", 1_000)).toEqual([]);
  expect(await through([], "arrival", 1_000)).toEqual([]);
});

const anyRecord = fc.record({ high: fc.nat(2 ** 21 - 1), low: fc.nat(0xffff_ffff), source: fc.nat(1_000), side: fc.nat(1), text: fc.string({ unit: "binary", maxLength: 200 }) });

test("any rows survive the disk unchanged and sorted", async () => {
  await fc.assert(fc.asyncProperty(fc.array(anyRecord, { maxLength: 60 }), fc.integer({ min: 64, max: 2_000 }), async (list, bufferBytes) => {
    const records = list.map((record, seq) => ({ ...record, seq }));
    expect(await through(records, "key", bufferBytes)).toEqual(sorted(records));
  }), { numRuns: 60 });
});
