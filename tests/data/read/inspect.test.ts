// What is found out about a file, and pages of it.
import { createHash } from "node:crypto";
import { readFileSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { parquetWriteBuffer } from "hyparquet-writer";
import { describe, expect, test } from "vitest";
import { formatFor, formatOf } from "../../../src/data/read/format.js";
import { hashFile } from "../../../src/data/read/file-hash.js";
import { inspectFile, tasksOf } from "../../../src/data/read/inspect.js";
import { createPageReader } from "../../../src/data/read/page.js";
import { openParquet } from "../../../src/data/read/parquet-file.js";
import { createStatistics } from "../../../src/data/rows/statistics.js";
import { fileOf, readAll } from "./support.js";

const MESSAGES_SCHEMA = [
  { name: "root", num_children: 2 },
  { name: "messages", repetition_type: "OPTIONAL", converted_type: "LIST", logical_type: { type: "LIST" }, num_children: 1 },
  { name: "list", repetition_type: "REPEATED", num_children: 1 },
  { name: "element", repetition_type: "OPTIONAL", num_children: 2 },
  { name: "role", type: "BYTE_ARRAY", converted_type: "UTF8", repetition_type: "OPTIONAL" },
  { name: "content", type: "BYTE_ARRAY", converted_type: "UTF8", repetition_type: "OPTIONAL" },
  { name: "id", type: "INT64", repetition_type: "OPTIONAL" },
] as const;
const dialogue = (index: number) => [{ role: "user", content: `question ${index}` }, { role: "assistant", content: `answer ${index} ${"x".repeat(index % 50)}` }];

function dialogues(rows: number, rowGroupSize: number): string {
  const messages = Array.from({ length: rows }, (_, index) => (index === 3 ? null : dialogue(index)));
  const file = parquetWriteBuffer({ rowGroupSize, pageSize: 4_096, schema: MESSAGES_SCHEMA as any, columnData: [{ name: "messages", data: messages }, { name: "id", data: messages.map((_, index) => BigInt(index)) }] });
  return fileOf(new Uint8Array(file), "rows.parquet");
}

test("facts about JSON Lines: hash, rows, types with nulls, figures, sample", async () => {
  const rows = [{ q: "déjà", n: 1, tags: ["a"], m: [{ role: "user", content: "hi" }] }, { q: null, n: 1.5, tags: [], extra: { deep: true } }, { q: "x", n: 2, mixed: "1" }, { q: "x", n: 2, mixed: 1 }];
  const content = `${rows.map((row) => JSON.stringify(row)).join("\n")}\nbroken\n`;
  const facts = await inspectFile(fileOf(content));
  expect(facts).toMatchObject({
    format: "jsonl", rows: 5, unreadableRows: 1, sizeBytes: Buffer.byteLength(content), contentHash: createHash("sha256").update(content).digest("hex"), sample: rows,
    columns: [{ name: "q", type: "string", nullCount: 1 }, { name: "n", type: "number", nullCount: 0 }, { name: "tags", type: "list<string>", nullCount: 2 }, { name: "m", type: "list<struct<role: string, content: string>>", nullCount: 3 }, { name: "extra", type: "struct<deep: boolean>", nullCount: 3 }, { name: "mixed", type: "json", nullCount: 2 }],
  });
  expect(facts.statistics).toMatchObject({ rows: 5, characters: { q: { count: 3, min: 1, max: 4 }, user: { count: 1, max: 2 } }, turns: { count: 1, max: 1 }, tokens: { by: "estimate" } });
});

test("facts about Parquet come with the declared types, whatever the rows hold", async () => {
  const path = dialogues(500, 100);
  const facts = await inspectFile(path);
  expect(facts).toMatchObject({ format: "parquet", rows: 500, sizeBytes: statSync(path).size, contentHash: (await hashFile(path)).sha256, tasks: ["sft"], columns: [{ name: "messages", type: "list<struct<role: string, content: string>>", nullCount: 1 }, { name: "id", type: "integer", nullCount: 0 }] });
  expect(facts.contentHash).toBe(createHash("sha256").update(readFileSync(path)).digest("hex"));
  expect(facts.sample[1]).toEqual({ messages: dialogue(1), id: 1 });
  expect(facts.statistics!.turns!.count).toBe(499);
});

test("nested Parquet rows are read whole, with and without a row group's page index", async () => {
  const path = dialogues(2_000, 1_500);
  const read = await readAll(path, "parquet");
  expect(read.map((record) => record.value)).toEqual(Array.from({ length: 2_000 }, (_, index) => ({ messages: index === 3 ? null : dialogue(index), id: index })));
  const file = await openParquet(path);
  expect(file.rowGroups.map((group) => [group.from, group.rows])).toEqual([[0, 1_500], [1_500, 500]]);
  expect(await file.read({ from: 1_498, to: 1_502, columns: ["id"] })).toEqual([{ id: 1_498 }, { id: 1_499 }, { id: 1_500 }, { id: 1_501 }]);
  expect(await file.read({ from: 1_999, to: 5_000 })).toEqual([{ messages: dialogue(1_999), id: 1_999 }]);
  expect(await file.read({ from: 9_999, to: 10_000 })).toEqual([]);
  await file.close();
});

test("the sample is bounded: 20 rows, 64 KiB, the first row shortened when it must be", async () => {
  const many = await inspectFile(fileOf(Array.from({ length: 100 }, (_, index) => `{"a":${index}}`).join("\n")));
  expect(many.sample).toHaveLength(20);
  const large = await inspectFile(fileOf(Array.from({ length: 30 }, () => JSON.stringify({ a: "你".repeat(3_000) })).join("\n")));
  expect(Buffer.byteLength(JSON.stringify(large.sample))).toBeLessThanOrEqual(65_536);
  expect(large.sample.length).toBe(7);
  const huge = await inspectFile(fileOf(JSON.stringify({ a: "x".repeat(200_000) })));
  expect(huge.sample).toEqual([{ a: `${"x".repeat(500)}…` }]);
});

test("columns serve a task as they are only in the form its trainer reads", () => {
  const column = (name: string, type: string) => ({ name, type, nullCount: 0 });
  const messages = "list<struct<role: string, content: string>>";
  expect(tasksOf([column("messages", messages)])).toEqual(["sft"]);
  expect(tasksOf([column("messages", "list<struct<content: string, role: string>>")])).toEqual(["sft"]);
  expect(tasksOf([column("messages", "string")])).toEqual([]);
  expect(tasksOf([column("prompt", messages), column("data_source", "string"), column("reward_model", "struct<style: string, ground_truth: string>")])).toEqual(["rl"]);
  expect(tasksOf([column("prompt", "string"), column("chosen", "string"), column("rejected", messages)])).toEqual(["preference"]);
  expect(tasksOf([column("question", "string"), column("answer", "string")])).toEqual([]);
});

test("formats by ending", () => {
  expect(["a.jsonl", "A.NDJSON.GZ", "x/y.json.gz", "t.tab", "d.csv", "p.pq", "p.parquet.gz", "none", "a.txt", "jsonl", "constructor.constructor"].map(formatOf)).toEqual([
    { format: "jsonl", gzip: false }, { format: "jsonl", gzip: true }, { format: "json", gzip: true }, { format: "tsv", gzip: false }, { format: "csv", gzip: false }, { format: "parquet", gzip: false }, null, null, null, null, null,
  ]);
  expect(formatFor("a.txt", "jsonl")).toEqual({ format: "jsonl", gzip: false });
  expect(formatFor("a.txt.gz", "csv")).toEqual({ format: "csv", gzip: true });
});

describe("pages", () => {
  const count = 60_000;
  const rows = Array.from({ length: count }, (_, index) => ({ id: String(index), text: `line\n"${index}", ${"é".repeat(index % 30)}` }));
  const csv = (delimiter: string, end: string) => `id${delimiter}text${end}${rows.map(({ id, text }) => `${id}${delimiter}"${text.replaceAll("\"", "\"\"")}"${end}`).join("")}`;
  test.each([
    ["jsonl", "rows.jsonl", rows.map((row, index) => `${JSON.stringify(row)}\n${index % 7 === 0 ? " \r\n" : ""}`).join("")],
    ["jsonl", "mark.jsonl", `\uFEFF${rows.map((row) => JSON.stringify(row)).join("\r\n")}`],
    ["jsonl", "rows.jsonl.gz", gzipSync(rows.map((row) => JSON.stringify(row)).join("\n"))],
    ["json", "rows.json", JSON.stringify(rows)],
    ["csv", "rows.csv", `\uFEFF${csv(",", "\n")}`],
    ["tsv", "rows.tsv", csv("\t", "\r\n")],
    ["csv", "old.csv", csv(",", "\r")],
  ] as const)("%s: any page of %s, asked for in any order", async (format, name, content) => {
    const path = fileOf(content, name);
    const reader = createPageReader();
    for (const from of [0, count - 3, 31_234, 5, 12_345, 59_000, count - 1]) expect(await reader.read(path, format, { from, count: 7 })).toEqual(rows.slice(from, from + 7));
    expect(await reader.read(path, format, { from: count, count: 7 })).toEqual([]);
    expect(await Promise.all([40_000, 20_000, 50_000].map(async (from) => (await reader.read(path, format, { from, count: 1 }))[0]))).toEqual([rows[40_000], rows[20_000], rows[50_000]]);
  });
  test("a file that changed is indexed anew", async () => {
    const path = fileOf(rows.map((row) => JSON.stringify(row)).join("\n"));
    const reader = createPageReader();
    await reader.read(path, "jsonl", { from: 50_000, count: 1 });
    writeFileSync(path, rows.map((row) => JSON.stringify({ ...row, more: "y".repeat(40) })).join("\n"));
    utimesSync(path, 1, 1);
    expect(await reader.read(path, "jsonl", { from: 50_000, count: 1 })).toEqual([{ ...rows[50_000], more: "y".repeat(40) }]);
  });
  test("a broken row keeps its place; a file that cannot be read says so", async () => {
    const path = fileOf('{"a":1}\n{"a":\n{"a":3}\n');
    const reader = createPageReader();
    expect(await reader.read(path, "jsonl", { from: 0, count: 3 })).toEqual([{ a: 1 }, { "(unreadable)": expect.stringMatching(/^INVALID_JSON/), "(text)": '{"a":' }, { a: 3 }]);
    await expect(reader.read(`${path}.none`, "jsonl", { from: 0, count: 1 })).rejects.toMatchObject({ code: "UNREADABLE_FILE" });
  });
  test("Parquet shows what JSON cannot hold as text", async () => {
    const file = parquetWriteBuffer({ columnData: [{ name: "id", data: [9007199254740993n], type: "INT64" }, { name: "score", data: [NaN], type: "DOUBLE" }] });
    expect(await createPageReader().read(fileOf(new Uint8Array(file), "rows.parquet"), "parquet", { from: 0, count: 5 })).toEqual([{ id: "9007199254740993", score: "NaN" }]);
  });
});

test("turns of preference rows are those of prompt and chosen, as the stage that makes such rows counts them", async () => {
  const say = (role: "user" | "assistant", content: string) => ({ role, content });
  const rows = [
    { prompt: [say("user", "a"), say("assistant", "b"), say("user", "c")], chosen: [say("assistant", "d")], rejected: [say("assistant", "e"), say("user", "f"), say("assistant", "g")] },
    { prompt: [say("user", "a")], chosen: [say("assistant", "d")], rejected: [say("assistant", "e")] },
  ];
  const counted = createStatistics({ countBy: [], tokens: null });
  for (const row of rows) counted.add({ task: "preference", ...row, extra: null, promptKey: "", categories: [] });
  const { statistics } = await inspectFile(fileOf(`${rows.map((row) => JSON.stringify(row)).join("\n")}\n`));
  expect(statistics!.turns).toMatchObject({ count: 2, min: 2, max: 4 });
  expect(statistics!.turns).toEqual(counted.result().turns);
  expect((await inspectFile(fileOf(`${JSON.stringify({ rejected: rows[0]!.rejected })}\n`))).statistics!.turns).toMatchObject({ max: 3 });
});
