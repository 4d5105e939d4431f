// The comparison of two files against a plain one in memory, over any rows; and what it says of columns, lengths and values.
import { mkdtempSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { parquetWriteBuffer } from "hyparquet-writer";
import { describe, expect, inject, test } from "vitest";
import { diffFiles, type DiffedFile, type DiffOptions } from "../../src/data/diff.js";
import { inspectFile } from "../../src/data/read/inspect.js";
import { canonicalJson } from "../../src/data/rows/canonical-json.js";
import { createFingerprintCounts } from "../../src/data/rows/fingerprint-counts.js";

const folder = mkdtempSync(join(inject("runFolder"), "diff-"));
let files = 0;
const lines = (rows: readonly unknown[]) => rows.map((row) => `${JSON.stringify(row)}\n`).join("");
async function file(content: string | Uint8Array, ending = "jsonl"): Promise<DiffedFile> {
  const path = join(folder, `${++files}.${ending}`);
  writeFileSync(path, content);
  const { format, rows, columns } = await inspectFile(path);
  return { path, format, rows, columns };
}
const compare = async (from: readonly unknown[], to: readonly unknown[], options?: DiffOptions) => diffFiles(await file(lines(from)), await file(lines(to)), options);

describe("rows", () => {
  test("are counted like a subtraction of multisets, whichever file is the larger and however many passes it takes", async () => {
    const row = fc.record({ q: fc.constantFrom("a", "b", "c", "d", "é", "👋"), n: fc.integer({ min: 0, max: 2 }), nested: fc.option(fc.record({ z: fc.boolean(), a: fc.constantFrom("x", "y") }), { nil: undefined }) }, { requiredKeys: ["q"] });
    await fc.assert(fc.asyncProperty(fc.array(row, { maxLength: 40 }), fc.array(row, { maxLength: 40 }), fc.integer({ min: 1, max: 50 }), async (from, to, rowsAtOnce) => {
      const left = from.map((one) => canonicalJson(one, "missing"));
      let same = 0;
      for (const one of to) {
        const at = left.indexOf(canonicalJson(one, "missing"));
        if (at >= 0) {
          left.splice(at, 1);
          same++;
        }
      }
      const diff = await compare(from, to, { rowsAtOnce });
      expect([diff.rowsSame, diff.rowsRemoved, diff.rowsAdded]).toEqual([same, from.length - same, to.length - same]);
      expect([diff.removed.length, diff.added.length]).toEqual([Math.min(5, diff.rowsRemoved), Math.min(5, diff.rowsAdded)]);
      for (const { row: number, value } of diff.added) expect(canonicalJson(to[number], "missing")).toBe(canonicalJson(value, "missing"));
      for (const { row: number, value } of diff.removed) expect(canonicalJson(from[number], "missing")).toBe(canonicalJson(value, "missing"));
    }), { numRuns: 60 });
  });

  test("are equal whatever the order of their fields, the format they lie in, and whether a null is written", async () => {
    const rows = Array.from({ length: 300 }, (_, id) => ({ id, question: `q ${id}`, answer: id % 3 === 0 ? null : `a ${id}` }));
    const parquet = parquetWriteBuffer({ columnData: [{ name: "answer", data: rows.map(({ answer }) => answer), type: "STRING" }, { name: "question", data: rows.map(({ question }) => question), type: "STRING" }, { name: "id", data: rows.map(({ id }) => BigInt(id)), type: "INT64" }] });
    const plain = await file(lines(rows));
    const without = lines(rows.map(({ id, question, answer }) => (answer === null ? { question, id } : { answer, question, id })).reverse());
    for (const other of [await file(new Uint8Array(parquet), "parquet"), await file(without), await file(gzipSync(without), "jsonl.gz"), await file(JSON.stringify(rows), "json")]) {
      expect(await diffFiles(plain, other), other.path).toMatchObject({ rowsSame: 300, rowsAdded: 0, rowsRemoved: 0, added: [], removed: [] });
    }
  });

  test("that differ in one character, one type or one level are different; broken ones are on neither side", async () => {
    const [a, b] = [await file(`{"x":"1"}\n{"x":{"y":1}}\n{"x":[1,2]}\nbroken\n`), await file(`{"x":1}\n{"x":{"y":[1]}}\n{"x":[2,1]}\n`)];
    expect(await diffFiles(a, b)).toMatchObject({ rowsSame: 0, rowsAdded: 3, rowsRemoved: 3, removed: [{ row: 0, value: { x: "1" } }, { row: 1 }, { row: 2 }] });
  });

  test("come as examples with their number in the file and long texts cut", async () => {
    const common = Array.from({ length: 1_000 }, (_, id) => ({ id }));
    const long = { text: "x".repeat(100_000), many: Array.from({ length: 10_000 }, () => "y".repeat(50)) };
    const diff = await compare([...common.slice(0, 500), { gone: true }, ...common.slice(500)], [...common, long]);
    expect(diff).toMatchObject({ rowsSame: 1_000, removed: [{ row: 500, value: { gone: true } }], added: [{ row: 1_000 }] });
    expect(JSON.stringify(diff.added).length).toBeLessThan(10_000);
  });
});

test("columns are told as added, removed, of another type, and with nulls where there were none", async () => {
  const { columns } = await compare([{ a: 1, b: "x", c: 1, d: "y" }], [{ a: 1.5, b: "x", d: "y", e: true }, { a: 2, d: "z", e: false }]);
  expect(columns.map(({ name, change, from, to }) => [name, change, from?.type ?? null, to?.type ?? null])).toEqual([
    ["a", "TYPE", "integer", "number"], ["b", "NULLS", "string", "string"], ["e", "ADDED", null, "boolean"], ["c", "REMOVED", "integer", null],
  ]);
});

test("lengths and values are measured alike on both sides; values that come once each, such as ids, are no categories", async () => {
  const rows = (count: number, length: number, hard: number) => Array.from({ length: count }, (_, id) => ({ id, messages: [{ role: "user", content: "q".repeat(length) }, { role: "assistant", content: "a" }], meta: { level: id < hard ? "hard" : "easy" }, kind: "chat" }));
  const { lengths, categories } = await compare(rows(40, 10, 10), rows(80, 30, 60));
  expect(lengths.find(({ kind, name }) => kind === "CHARACTERS" && name === "user")).toMatchObject({ from: { count: 40, p50: 10, max: 10 }, to: { count: 80, p50: 30 } });
  expect(lengths.find(({ kind }) => kind === "TURNS")).toMatchObject({ name: null, from: { p50: 2 }, to: { p50: 2 } });
  expect(lengths.map(({ kind }) => kind)).toContain("TOKENS");
  expect(categories).toEqual([
    { column: "meta.level", from: { easy: 30, hard: 10 }, to: { hard: 60, easy: 20 }, distance: 0.5 },
    { column: "kind", from: { chat: 40 }, to: { chat: 80 }, distance: 0 },
  ]);
});

test("a file with more rows than it should have is refused, and a signal ends the comparison", async () => {
  const [small, large] = [await file(lines([{ a: 1 }])), await file(lines(Array.from({ length: 5_000 }, (_, a) => ({ a }))))];
  await expect(diffFiles({ ...large, rows: 10 }, { ...large, rows: 5_000 })).rejects.toMatchObject({ code: "UNREADABLE_FILE", message: expect.stringContaining("10 rows") });
  await expect(diffFiles(small, large, { signal: AbortSignal.abort(new Error("enough")) })).rejects.toThrow("enough");
});

test("the table of prints counts every print for itself, prints of zeros too, and says when it is full", () => {
  const print = (number: number) => { const bytes = new Uint8Array(16); new DataView(bytes.buffer).setUint32(12, number); return bytes; };
  const counts = createFingerprintCounts(1_000);
  for (const number of [0, 0, 1, ...Array.from({ length: 900 }, (_, index) => index + 2)]) counts.add(print(number));
  expect([0, 0, 0, 1, 1, 5_000].map((number) => counts.take(print(number)))).toEqual([true, true, false, true, false, false]);
  expect(() => { for (let number = 2_000; number < 5_000; number++) counts.add(print(number)); }).toThrow(RangeError);
});
