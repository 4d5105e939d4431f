import { mkdtempSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects, parquetSchema } from "hyparquet";
import { expect, inject, test } from "vitest";
import { preprocessParamsSchema } from "../../../src/domain/data/preprocess-params.js";
import { openParquet } from "../../../src/data/read/parquet-file.js";
import { createDurableFile } from "../../../src/data/write/durable-file.js";
import { outputColumns, outputRow, shapeInWords, type OutputColumns } from "../../../src/data/write/output-columns.js";
import { CHARACTERS_PER_GROUP, createParquetOutput, ROWS_PER_GROUP } from "../../../src/data/write/parquet-output.js";

const paramsOf = (params: object) => preprocessParamsSchema.parse({ input: "rows.jsonl", ...params });
const rlColumns = outputColumns(paramsOf({ task: "rl" }));

async function write(columns: OutputColumns, rows: readonly Record<string, unknown>[], charactersEach = 10): Promise<{ path: string; sha256: string }> {
  const path = join(mkdtempSync(join(inject("runFolder"), "parquet-")), "file.parquet");
  const output = createParquetOutput({ file: await createDurableFile(path), columns, createdBy: "test" });
  for (const row of rows) await output.add(row, charactersEach);
  return { path, ...(await output.finish()) };
}

async function metadataOf(path: string) {
  const file = await asyncBufferFromFile(path);
  return parquetMetadataAsync(file);
}

const rlRow = (index: number) => ({
  data_source: "openai/gsm8k", prompt: [{ role: "user", content: `question ${index} 漢字 😀` }], ability: "math", reward_model: { style: "rule", ground_truth: String(index) },
  extra_info: { split: "train", index: BigInt(index), question: index % 2 === 0 ? null : "q", answer: null, extra: null },
});

test("nested lists, empty lists, nulls and emoji survive", async () => {
  const columns: OutputColumns = { messages: { list: { struct: { role: "string", content: "string" } } }, extra: "string", number: "integer" };
  const rows = [
    { messages: [{ role: "user", content: "😀 漢字 \u0000 é" }, { role: "assistant", content: "" }], extra: "{}", number: 2n ** 53n },
    { messages: [], extra: null, number: null },
    { messages: [], extra: "", number: -1n },
    { messages: [{ role: "user", content: null }], extra: null, number: 0n },
  ];
  const { path } = await write(columns, rows);
  expect(await parquetReadObjects({ file: await asyncBufferFromFile(path) })).toEqual(rows);
});

test("a file has row groups of 2,000 rows, compressed with Snappy", async () => {
  const { path } = await write(rlColumns, Array.from({ length: 4_500 }, (_, index) => rlRow(index)));
  const { row_groups: groups } = await metadataOf(path);
  expect(groups.map((group) => Number(group.num_rows))).toEqual([ROWS_PER_GROUP, ROWS_PER_GROUP, 500]);
  expect(new Set(groups.flatMap((group) => group.columns.map((column) => column.meta_data!.codec)))).toEqual(new Set(["SNAPPY"]));
  const rows = await parquetReadObjects({ file: await asyncBufferFromFile(path), rowStart: 3_999, rowEnd: 4_001 });
  expect(rows).toEqual([rlRow(3_999), rlRow(4_000)]);
});

test("long rows close their group early, so that a group stays small in memory", async () => {
  const { path } = await write(rlColumns, Array.from({ length: 5 }, (_, index) => rlRow(index)), CHARACTERS_PER_GROUP / 2);
  expect((await metadataOf(path)).row_groups.map((group) => Number(group.num_rows))).toEqual([2, 2, 1]);
});

test("equal rows give equal bytes", async () => {
  const rows = Array.from({ length: 2_500 }, (_, index) => rlRow(index));
  expect((await write(rlColumns, rows)).sha256).toBe((await write(rlColumns, rows)).sha256);
});

test("the schema is the same whatever the rows hold", async () => {
  const schemaOf = async (rows: readonly Record<string, unknown>[]) => JSON.stringify((await metadataOf((await write(rlColumns, rows)).path)).schema);
  expect(await schemaOf([rlRow(0)])).toBe(await schemaOf([rlRow(1), rlRow(2)]));
  expect(parquetSchema(await metadataOf((await write(rlColumns, [rlRow(0)])).path)).children.map(({ element }) => element.name)).toEqual(["data_source", "prompt", "ability", "reward_model", "extra_info"]);
});

test("columns are told in the words that the reader of the file uses", async () => {
  for (const params of [{ task: "sft", keepColumns: ["id"] }, { task: "rl" }, { task: "preference" }, { task: "preference", preferenceForm: "text" }]) {
    const columns = outputColumns(paramsOf(params));
    const file = await openParquet((await write(columns, [{}])).path);
    expect(Object.entries(columns).map(([name, shape]) => ({ name, type: shapeInWords(shape) }))).toEqual(file.columns.map(({ name, type }) => ({ name, type })));
    await file.close();
  }
});

const message = fc.record({ role: fc.constantFrom("user", "assistant", "system", "tool"), content: fc.string({ unit: "grapheme", maxLength: 60 }) });

test("any dialogues survive the round trip", async () => {
  await fc.assert(fc.asyncProperty(fc.array(fc.record({ messages: fc.array(message, { maxLength: 5 }), extra: fc.option(fc.string({ unit: "binary" })) }), { minLength: 1, maxLength: 40 }), async (rows) => {
    const { path } = await write(outputColumns(paramsOf({ task: "sft", keepColumns: ["id"] })), rows);
    expect(await parquetReadObjects({ file: await asyncBufferFromFile(path) })).toEqual(rows.map(({ messages, extra }) => ({ messages: messages.map((one) => ({ ...one })), extra })));
  }), { numRuns: 50 });
});

test("plain text holds the contents, a blank line between them", () => {
  const row = {
    task: "preference" as const, prompt: [{ role: "system" as const, content: "Be kind." }, { role: "user" as const, content: "Hello" }],
    chosen: [{ role: "assistant" as const, content: "Hi" }], rejected: [{ role: "assistant" as const, content: "No" }], extra: null, promptKey: "Hello", categories: [],
  };
  expect(outputRow(row, { split: "train", index: 0 }, { preferenceForm: "text" })).toEqual({ prompt: "Be kind.\n\nHello", chosen: "Hi", rejected: "No", extra: null });
});
