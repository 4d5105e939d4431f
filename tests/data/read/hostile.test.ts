// What broken and hostile files do: a row is refused with its line and reason and reading goes on, a file that cannot be read to its end says so.
import { writeFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { parquetWriteBuffer } from "hyparquet-writer";
import { describe, expect, test } from "vitest";
import { MAX_DEPTH, parseJson } from "../../../src/data/read/json-row.js";
import { jsonlRows } from "../../../src/data/read/jsonl-rows.js";
import { readRecords } from "../../../src/data/read/read-records.js";
import { SNIPPET_CHARACTERS, type UnreadableFileError } from "../../../src/data/read/records.js";
import { brief, collect, fileOf, folder, readAll } from "./support.js";

const GOOD = '{"a":1}';
const deep = (levels: number) => `{"a":${"[".repeat(levels - 1)}${"]".repeat(levels - 1)}}`;

describe("one broken row of JSON Lines", () => {
  test.each([
    ["a key that could reach a prototype", '{"a":{"__proto__":{"polluted":true}}}', "FORBIDDEN_KEY", /__proto__.*at a/],
    ["the same key in escapes", '{"\\u005f_proto__":1}', "FORBIDDEN_KEY", /__proto__/],
    ["constructor as a key", '{"constructor":{"prototype":1}}', "FORBIDDEN_KEY", /constructor/],
    ["half a surrogate pair deep in a list", '{"a":[{"b":"x\\ud83d"}]}', "LONE_SURROGATE", /at a\.0\.b/],
    ["the other half, as a key", '{"\\uDE00":1}', "LONE_SURROGATE", /surrogate/],
    ["a NUL in an escape", '{"a":"x\\u0000y"}', "NUL_CHARACTER", /NUL/],
    ["a NUL byte", '{"a":"x\0y"}', "NUL_CHARACTER", /NUL/],
    ["2^53+1", '{"id":9007199254740993}', "UNSAFE_NUMBER", /9007199254740993 is an integer beyond 2\^53.*at id/],
    ["-2^63", '{"id":[-9223372036854775808]}', "UNSAFE_NUMBER", /-9223372036854775808/],
    ["a number that is not finite", '{"x":1e999}', "UNSAFE_NUMBER", /1e999 is not finite/],
    ["NaN", '{"x":NaN,"y":"NaN"}', "UNSAFE_NUMBER", /^NaN is no JSON number/],
    ["-Infinity", '{"x":[-Infinity]}', "UNSAFE_NUMBER", /^-Infinity/],
    ["one level too deep", deep(MAX_DEPTH + 1), "TOO_DEEP", /64/],
    ["100,000 levels", deep(100_000), "TOO_DEEP", /64/],
    ["100,000 levels that are never closed", '{"a":'.repeat(100_000), "TOO_DEEP", /64/],
    ["text after the value", '{"a":1} {"b":2}', "INVALID_JSON", /not JSON/],
    ["single quotes", "{'a':1}", "INVALID_JSON", /not JSON/],
    ["a list", "[1]", "NOT_AN_OBJECT", /a list/],
    ["a text", '"row"', "NOT_AN_OBJECT", /a text/],
    ["null", "null", "NOT_AN_OBJECT", /null/],
    ["an integer beyond 2^53 alone", "9007199254740993", "UNSAFE_NUMBER", /9007199254740993|2\^53/],
  ])("%s", async (_name, line, reason, message) => {
    const records = await readAll(fileOf(`${GOOD}\n\n${line}\r\n${GOOD}\n`));
    expect(brief(records)).toEqual([[1, { a: 1 }], [3, reason], [4, { a: 1 }]]);
    const { snippet, message: said } = records[1]!.refusal!;
    expect(said).toMatch(message);
    expect(snippet.length).toBeLessThanOrEqual(SNIPPET_CHARACTERS);
    expect(snippet.isWellFormed() && !snippet.includes("\0")).toBe(true);
    expect(snippet.slice(0, 4)).toBe(line.slice(0, 4).replace("\0", "\uFFFD"));
  });

  test("bytes that are no UTF-8, in a short and in a long line, with the place of the first", async () => {
    const bad = Buffer.concat([Buffer.from('{"a":"é'), Buffer.from([0xff]), Buffer.from('"}')]);
    const path = fileOf(Buffer.concat([Buffer.from(`${GOOD}\n`), bad, Buffer.from(`\n${GOOD}\n{"b":"`), Buffer.alloc(700_000, 97), Buffer.from([0xe4, 0xbd]), Buffer.from(`"}\n${GOOD}`)]));
    const records = await readAll(path);
    expect(brief(records)).toEqual([[1, { a: 1 }], [2, "INVALID_UTF8"], [3, { a: 1 }], [4, "INVALID_UTF8"], [5, { a: 1 }]]);
    expect(records[1]!.refusal!.message).toMatch(/^byte 9 /);
    expect(records[3]!.refusal!.message).toMatch(/^byte 700007 /);
  });

  test("what only looks dangerous is kept", async () => {
    const rows = [{ a: "__proto__ constructor 9007199254740993 NaN 1e999" }, { a: "\\u0000 \\ud83d" }, { a: 1e300, b: -1.5e-300, c: 9007199254740991 }, { a: "\u{1F600}" }, { protos: "[[[[[[[".repeat(100) }, JSON.parse(deep(MAX_DEPTH)) as object];
    const content = rows.map((row) => JSON.stringify(row)).join("\n").replace("\u{1F600}", "\\ud83d\\ude00");
    expect((await readAll(fileOf(content))).map((record) => record.value)).toEqual(rows);
  });

  test("nothing of a row reaches Object.prototype", async () => {
    await readAll(fileOf('{"__proto__":{"polluted":1}}\n{"constructor":{"prototype":{"polluted":1}}}\n'));
    expect(({} as { polluted?: number }).polluted).toBeUndefined();
  });
});

test("a line of 10 MB is refused without being held, the rows around it are read", async () => {
  const limit = 65_536;
  let largest = 0;
  async function* stream(): AsyncGenerator<Buffer, void> {
    yield Buffer.from(`${GOOD}\n{"a":"`);
    for (let piece = 0; piece < 2_000; piece++) {
      yield Buffer.alloc(5_000, 120);
      if (piece % 200 === 0) largest = Math.max(largest, process.memoryUsage().arrayBuffers);
    }
    yield Buffer.from(`"}\n${GOOD}`);
  }
  const before = process.memoryUsage().arrayBuffers;
  const records = await collect(jsonlRows(stream(), limit));
  expect(brief(records)).toEqual([[1, { a: 1 }], [2, "ROW_TOO_LONG"], [3, { a: 1 }]]);
  expect(records[1]!.refusal!.snippet.startsWith('{"a":"xxx')).toBe(true);
  expect(largest - before).toBeLessThan(10_000_000);
  for (const format of ["json", "csv", "tsv"] as const) {
    const long = "y".repeat(300_000);
    const content = { json: `[{"a":"1"},\n{"a":"${long}"},\n{"a":"1"}]`, csv: `a\n1\n"${long}\nz"\n1\n`, tsv: `a\r\n1\r\n${long}\r\n1\r\n` }[format];
    const read = await readAll(fileOf(content, `rows.${format}`), format, { maxRowBytes: limit });
    expect(brief(read)).toEqual({ json: [[1, { a: "1" }], [2, "ROW_TOO_LONG"], [3, { a: "1" }]], csv: [[2, { a: "1" }], [3, "ROW_TOO_LONG"], [5, { a: "1" }]], tsv: [[2, { a: "1" }], [3, "ROW_TOO_LONG"], [4, { a: "1" }]] }[format]);
  }
});

test("the limit of a row is counted in bytes, its line end aside", async () => {
  const row = (characters: number) => `{"a":"${"é".repeat(characters)}"}`;
  const fits = Buffer.byteLength(row(600));
  for (const end of ["\n", "\r\n", ""]) {
    expect(brief(await readAll(fileOf(`${row(600)}${end}`), "jsonl", { maxRowBytes: fits }))).toEqual([[1, { a: "é".repeat(600) }]]);
    expect(brief(await readAll(fileOf(`${row(601)}${end}`), "jsonl", { maxRowBytes: fits }))).toEqual([[1, "ROW_TOO_LONG"]]);
  }
});

test("wrong rows far inside a large file are refused with their lines", async () => {
  const rows = 900_000;
  const lines: string[] = [];
  for (let line = 1; line <= rows; line++) lines.push(line === rows - 1 ? '{"a":9007199254740993}' : line === rows ? "[]" : '{"a":1}');
  let count = 0;
  const refused: [number, string][] = [];
  for await (const batch of readRecords(fileOf(lines.join("\n")), { format: "jsonl", gzip: false, maxRowBytes: 1_024 })) {
    for (const record of batch) {
      count++;
      if (record.refusal !== undefined) refused.push([record.line, record.refusal.reason]);
    }
  }
  expect(count).toBe(rows);
  expect(refused).toEqual([[rows - 1, "UNSAFE_NUMBER"], [rows, "NOT_AN_OBJECT"]]);
});

describe("one broken element of a JSON array", () => {
  test("is refused alone, with the line on which it begins", async () => {
    const content = '[\n  {"a":1},\n  {"a":\n bad},\n  7, "x",\n  ,\n  {"a":[{"b":"]}"}]},\n  {"a":NaN}\n]\n';
    expect(brief(await readAll(fileOf(content, "rows.json"), "json"))).toEqual([[2, { a: 1 }], [3, "INVALID_JSON"], [5, "NOT_AN_OBJECT"], [5, "NOT_AN_OBJECT"], [6, "INVALID_JSON"], [7, { a: [{ b: "]}" }] }], [8, "UNSAFE_NUMBER"]]);
  });
  test("a comma before the end counts as a broken row", async () => {
    expect(brief(await readAll(fileOf('[{"a":1},]', "rows.json"), "json"))).toEqual([[1, { a: 1 }], [1, "INVALID_JSON"]]);
  });
  test("an empty array has no rows", async () => {
    expect(await readAll(fileOf(" [ ] \n", "rows.json"), "json")).toEqual([]);
  });
});

describe("CSV", () => {
  test("a row shorter or longer than the header, or with text after a closing mark, is refused and reading goes on", async () => {
    const content = 'a,b\n1,2\n1\n1,2,3\n"x"y,2\n"multi\nline",2\r\nsay "hi",2\n\n5,6';
    const records = await readAll(fileOf(content, "rows.csv"), "csv");
    expect(brief(records)).toEqual([[2, { a: "1", b: "2" }], [3, "INVALID_CSV"], [4, "INVALID_CSV"], [5, "INVALID_CSV"], [6, { a: "multi\nline", b: "2" }], [8, { a: 'say "hi"', b: "2" }], [10, { a: "5", b: "6" }]]);
    expect(records[1]!.refusal!.message).toBe("the row has 1 field, the header 2");
  });
  test("NUL and bytes that are no UTF-8 are refused with their line", async () => {
    const content = Buffer.concat([Buffer.from("a,b\nx,\0\n"), Buffer.from([0xc3, 0x28]), Buffer.from(",2\n1,2\n")]);
    expect(brief(await readAll(fileOf(content, "rows.csv"), "csv"))).toEqual([[2, "NUL_CHARACTER"], [3, "INVALID_UTF8"], [4, { a: "1", b: "2" }]]);
  });
  test("a column without a name gets one", async () => {
    expect(brief(await readAll(fileOf(",a\n0,x\n", "rows.csv"), "csv"))).toEqual([[2, { column_1: "0", a: "x" }]]);
  });
});

describe("a file that cannot be read to its end", () => {
  const lines = (count: number) => Array.from({ length: count }, (_, index) => JSON.stringify({ index, noise: Math.imul(index, 2654435761).toString(36).repeat(20) })).join("\n");
  const refusal = async (path: string, format: Parameters<typeof readAll>[1], options: { gzip?: boolean } = {}): Promise<UnreadableFileError> => {
    const error = await readAll(path, format, options).then(() => null, (thrown: unknown) => thrown as UnreadableFileError);
    expect(error).toMatchObject({ name: "UnreadableFileError", code: "UNREADABLE_FILE", path });
    return error!;
  };

  test("truncated gzip: the last line that was read is named", async () => {
    const packed = gzipSync(lines(20_000));
    const path = fileOf(packed.subarray(0, Math.floor(packed.length * 0.7)), "rows.jsonl.gz");
    let last = 0;
    const reading = (async () => {
      for await (const batch of readRecords(path, { format: "jsonl", gzip: true, maxRowBytes: 65_536 })) last = batch.at(-1)!.line;
    })();
    await expect(reading).rejects.toThrow(/truncated/);
    expect(last).toBeGreaterThan(5_000);
    expect((await refusal(path, "jsonl")).line).toBe(last);
  });
  test("damaged gzip", async () => {
    const packed = gzipSync(lines(5_000));
    packed.fill(0x55, Math.floor(packed.length / 2), Math.floor(packed.length / 2) + 50);
    expect((await refusal(fileOf(packed, "rows.jsonl.gz"), "jsonl")).message).toMatch(/gzip stream is damaged|truncated/);
  });
  test("gzip by name only; and gzip that its name does not tell is read", async () => {
    expect((await refusal(fileOf(GOOD, "rows.jsonl.gz"), "jsonl")).message).toMatch(/not gzipped although/);
    expect(brief(await readAll(fileOf(gzipSync(GOOD), "rows.jsonl"), "jsonl"))).toEqual([[1, { a: 1 }]]);
  });
  test("an array that stops", async () => {
    expect(await refusal(fileOf('[\n{"a":1},\n{"a":"', "rows.json"), "json")).toMatchObject({ line: 2, message: expect.stringMatching(/stops inside a string of the element that begins on line 3/) });
    expect(await refusal(fileOf('[{"a":1}', "rows.json"), "json")).toMatchObject({ message: expect.stringMatching(/its \] is missing/) });
  });
  test("one object, lines of objects, or nothing where an array is expected", async () => {
    expect((await refusal(fileOf('{"data":[{"a":1}]}', "rows.json"), "json")).message).toMatch(/rows\.json: the file holds an object, not an array.*jsonl/);
    expect((await refusal(fileOf('[{"a":1}]\n[{"a":2}]', "rows.json"), "json")).message).toMatch(/something follows the end/);
    expect((await refusal(fileOf("", "rows.json"), "json")).message).toMatch(/empty/);
    expect((await refusal(fileOf("rows", "rows.json"), "json")).message).toMatch(/does not begin with \[/);
  });
  test("a mark in CSV that is never closed, over the rows after it", async () => {
    expect(await refusal(fileOf('a,b\n1,2\n"open,2\n3,4\n5,6\n', "rows.csv"), "csv")).toMatchObject({ line: 3, message: expect.stringMatching(/never closed/) });
    expect(brief(await readAll(fileOf('a,b\n1,2\n"open,2', "rows.csv"), "csv"))).toEqual([[2, { a: "1", b: "2" }], [3, "INVALID_CSV"]]);
  });
  test("a CSV header that names a column twice, is none, or names a prototype", async () => {
    expect((await refusal(fileOf("a,a\n1,2\n", "rows.csv"), "csv")).message).toMatch(/"a" stands there twice/);
    expect((await refusal(fileOf("a,__proto__\n1,2\n", "rows.csv"), "csv")).message).toMatch(/__proto__/);
    expect((await refusal(fileOf("", "rows.csv"), "csv")).message).toMatch(/empty/);
  });
  test.each(["utf16le", "utf16be", "utf16le without a mark", "utf16be without a mark"])("%s", async (encoding) => {
    const bytes = Buffer.from(`${encoding.includes("without") ? "" : "\uFEFF"}{"a":"text"}\n`, "utf16le");
    if (encoding.startsWith("utf16be")) bytes.swap16();
    expect((await refusal(fileOf(bytes), "jsonl")).message).toMatch(/UTF-16.*save it as UTF-8/);
    expect((await refusal(fileOf(gzipSync(bytes), "rows.jsonl.gz"), "jsonl")).message).toMatch(/UTF-16/);
  });
  test("Parquet, a zip archive, a folder, a missing file read as text", async () => {
    const parquet = Buffer.from(parquetWriteBuffer({ columnData: [{ name: "a", data: ["x"], type: "STRING" }] }));
    expect((await refusal(fileOf(parquet), "jsonl")).message).toMatch(/is Parquet/);
    expect((await refusal(fileOf(Buffer.from("504b03041400000008", "hex")), "csv")).message).toMatch(/zip/);
    expect((await refusal(folder(), "jsonl")).message).toMatch(/folder/);
    expect((await refusal(`${folder()}/none.jsonl`, "jsonl")).message).toMatch(/no such file/);
  });
  test("truncated Parquet, at every tenth of the file", async () => {
    const rows = Array.from({ length: 500 }, (_, index) => `row ${index}`);
    const whole = Buffer.from(parquetWriteBuffer({ rowGroupSize: 100, columnData: [{ name: "a", data: rows, type: "STRING" }] }));
    for (let tenth = 0; tenth < 10; tenth++) expect((await refusal(fileOf(whole.subarray(0, Math.floor((whole.length * tenth) / 10)), "rows.parquet"), "parquet")).message).toMatch(/truncated|no Parquet/);
    expect(await readAll(fileOf(whole, "rows.parquet"), "parquet")).toHaveLength(500);
  });
  test("damaged Parquet is refused as unreadable wherever the damage shows, never with an error of another kind", async () => {
    const rows = Array.from({ length: 300 }, (_, index) => `row ${index} ${"abc".repeat(index % 7)}`);
    const whole = Buffer.from(parquetWriteBuffer({ rowGroupSize: 100, columnData: [{ name: "a", data: rows, type: "STRING" }] }));
    let noticed = 0;
    for (let at = 4; at < whole.length; at += 97) {
      const bytes = Buffer.from(whole);
      bytes[at]! ^= 0xff;
      const outcome = await readAll(fileOf(bytes, "rows.parquet"), "parquet").then(() => null, (error: unknown) => error);
      if (outcome !== null) {
        expect(outcome).toMatchObject({ code: "UNREADABLE_FILE" });
        noticed++;
      }
    }
    expect(noticed).toBeGreaterThan(5);
  });
});

describe("Parquet rows that JSON cannot hold", () => {
  test("are refused by row and reason", async () => {
    const file = parquetWriteBuffer({ columnData: [
      { name: "id", data: [1n, 9007199254740993n, 2n, 3n, 4n], type: "INT64" }, { name: "score", data: [0.5, 1, NaN, 1, 1], type: "DOUBLE" },
      { name: "raw", data: [Buffer.from("text"), Buffer.from("x"), Buffer.from("x"), Buffer.from([0xff, 0xd8, 0xff]), Buffer.from("a\0b")].map((one) => new Uint8Array(one)), type: "BYTE_ARRAY" },
    ] });
    expect(brief(await readAll(fileOf(new Uint8Array(file), "rows.parquet"), "parquet"))).toEqual([[1, { id: 1, score: 0.5, raw: "text" }], [2, "UNSAFE_NUMBER"], [3, "UNSAFE_NUMBER"], [4, { id: 3, score: 1, raw: { bytes: 3 } }], [5, "NUL_CHARACTER"]]);
  });
  test("a column that names a prototype refuses the file; times become ISO text", async () => {
    const bad = parquetWriteBuffer({ columnData: [{ name: "__proto__", data: ["x"], type: "STRING" }] });
    await expect(readAll(fileOf(new Uint8Array(bad), "rows.parquet"), "parquet")).rejects.toThrow(/__proto__/);
    const times = parquetWriteBuffer({ columnData: [{ name: "at", data: [new Date(0), null], type: "TIMESTAMP", nullable: true }] });
    expect(brief(await readAll(fileOf(new Uint8Array(times), "rows.parquet"), "parquet"))).toEqual([[1, { at: "1970-01-01T00:00:00.000Z" }], [2, { at: null }]]);
  });
});

test("JSON inside a cell is judged by the same rules", () => {
  expect(parseJson('[{"role":"user"}]')).toEqual({ value: [{ role: "user" }] });
  expect(parseJson(" ")).toBeNull();
  expect(parseJson('[{"__proto__":1}]')).toMatchObject({ fault: { reason: "FORBIDDEN_KEY" } });
  expect(parseJson('"\\ud800"')).toMatchObject({ fault: { reason: "LONE_SURROGATE" } });
  expect(parseJson("1e20")).toEqual({ value: 1e20 });
});

describe("the caller", () => {
  test("sees every byte of the file once and in order, and how far it is", async () => {
    const content = gzipSync(`${GOOD}\n`.repeat(200_000), { level: 0 });
    const path = fileOf(content, "rows.jsonl.gz");
    const chunks: Buffer[] = [];
    const consumed: number[] = [];
    const records = await collect(readRecords(path, { format: "jsonl", gzip: true, maxRowBytes: 1_024, onContent: (chunk) => chunks.push(Buffer.from(chunk)), onBytes: (bytes) => consumed.push(bytes) }));
    expect(records).toHaveLength(200_000);
    expect(Buffer.concat(chunks).equals(content)).toBe(true);
    expect(consumed.at(-1)).toBe(content.length);
    expect(consumed).toEqual([...consumed].sort((left, right) => left - right));
  });
  test.each(["jsonl", "jsonl.gz", "parquet"])("aborts the reading of %s with its own reason", async (ending) => {
    const path = `${folder()}/rows.${ending}`;
    const lines = `${GOOD}\n`.repeat(400_000);
    writeFileSync(path, ending === "jsonl" ? lines : ending === "jsonl.gz" ? gzipSync(lines, { level: 0 }) : new Uint8Array(parquetWriteBuffer({ rowGroupSize: 100, columnData: [{ name: "a", data: Array.from({ length: 1_000 }, String), type: "STRING" }] })));
    const abort = new AbortController();
    const reason = new Error("enough");
    let batches = 0;
    await expect((async () => {
      for await (const _ of readRecords(path, { format: ending === "parquet" ? "parquet" : "jsonl", gzip: ending.endsWith("gz"), maxRowBytes: 1_024, signal: abort.signal })) if (++batches === 2) abort.abort(reason);
    })()).rejects.toBe(reason);
  });
});
