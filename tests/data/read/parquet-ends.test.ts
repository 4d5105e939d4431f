// What the two ends of a Parquet file tell, when the file itself lies on another machine.
import { parquetWriteBuffer } from "hyparquet-writer";
import { expect, test } from "vitest";
import { describeEnds, openParquet } from "../../../src/data/read/parquet-file.js";
import { UnreadableFileError } from "../../../src/data/read/records.js";
import { fileOf } from "./support.js";

/** A file larger than its end, so that something in between is never read. */
const bytes = Buffer.from(parquetWriteBuffer({ columnData: [{ name: "text", data: Array.from({ length: 40_000 }, (_, index) => `row ${index} ${Math.sin(index)}`), type: "STRING" }, { name: "n", data: Array.from({ length: 40_000 }, (_, index) => index), type: "INT32" }], codec: "UNCOMPRESSED" }));
const ends = (tail: number) => ({ sizeBytes: bytes.length, head: bytes.subarray(0, 4), tail: bytes.subarray(-tail) });

test("the ends tell the same rows and columns as the whole file", async () => {
  expect(bytes.length).toBeGreaterThan(600_000);
  const whole = await openParquet(fileOf(bytes, "whole.parquet"));
  const { rows, columns } = await describeEnds("there.parquet", ends(524_288));
  expect([rows, columns]).toEqual([whole.rows, whole.columns]);
  await whole.close();
});

test.each<[string, () => Parameters<typeof describeEnds>[1]]>([
  ["no Parquet", () => ({ sizeBytes: 20, head: Buffer.from("{\"a\""), tail: Buffer.from("x".repeat(20)) })],
  ["an empty file", () => ({ sizeBytes: 0, head: Buffer.alloc(0), tail: Buffer.alloc(0) })],
  ["a truncated file", () => ({ sizeBytes: 700_000, head: bytes.subarray(0, 4), tail: bytes.subarray(0, 524_288) })],
])("%s is refused by its name", async (_, file) => {
  await expect(describeEnds("there.parquet", file())).rejects.toThrow(UnreadableFileError);
  await expect(describeEnds("there.parquet", file())).rejects.toThrow("there.parquet");
});
