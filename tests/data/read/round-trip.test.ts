// Any rows, written in any format with any line ends, compression and cuts, come back equal and with the lines on which they stand.
import { gzipSync } from "node:zlib";
import { parse } from "csv-parse/sync";
import * as fc from "fast-check";
import { parquetWriteBuffer } from "hyparquet-writer";
import { expect, test } from "vitest";
import { csvRows } from "../../../src/data/read/csv-rows.js";
import { jsonArrayRows } from "../../../src/data/read/json-array-rows.js";
import { jsonlRows } from "../../../src/data/read/jsonl-rows.js";
import { brief, collect, cuts, fileOf, gzipMembers, json, pieces, readAll, row, text } from "./support.js";

const LIMIT = 4 * 1_048_576;
const lineEnd = fc.constantFrom("\n", "\r\n");

/** `JSON.stringify` with every character beyond ASCII as an escape, as Python writes it. */
const escaped = (value: unknown) => JSON.stringify(value).replace(/[^\x20-\x7e]/g, (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, "0")}`);

test("JSON Lines, with blank lines, mixed line ends, escapes or not, with or without a mark and a last line end", async () => {
  const line = fc.record({ row: row, end: lineEnd, blank: fc.constantFrom("", "", "", " \t", "\r"), escape: fc.boolean() });
  await fc.assert(fc.asyncProperty(fc.array(line, { maxLength: 8 }), cuts, fc.boolean(), fc.boolean(), async (lines, at, mark, open) => {
    const expected: [number, unknown][] = [];
    let content = "";
    let number = 1;
    for (const one of lines) {
      expected.push([number, one.row]);
      content += (one.escape ? escaped(one.row) : JSON.stringify(one.row)) + one.end;
      number++;
      if (one.blank !== "") {
        content += `${one.blank}\n`;
        number++;
      }
    }
    if (open) content = content.replace(/[\r\n]+$/, "");
    expect(brief(await collect(jsonlRows(pieces(Buffer.from(content), at), LIMIT)))).toEqual(expected);
    const bytes = Buffer.from((mark ? "\uFEFF" : "") + content);
    expect(brief(await readAll(fileOf(bytes)))).toEqual(expected);
    expect(brief(await readAll(fileOf(gzipMembers(bytes, at.slice(0, 3)), "rows.jsonl.gz")))).toEqual(expected);
  }), { numRuns: 150 });
});

test("a JSON array, in one line or pretty", async () => {
  await fc.assert(fc.asyncProperty(fc.array(row, { maxLength: 8 }), cuts, fc.constantFrom(0, 2), lineEnd, async (rows, at, indent, end) => {
    const content = JSON.stringify(rows, null, indent).replaceAll("\n", end);
    const lines = brief(await collect(jsonArrayRows(pieces(Buffer.from(content), at), LIMIT)));
    expect(lines.map(([, value]) => value)).toEqual(rows);
    if (indent === 0) expect(new Set(lines.map(([line]) => line)).size).toBeLessThanOrEqual(1);
    else for (const [line, value] of lines) expect(content.split(end)[line - 1]!.trimStart().startsWith(Object.keys(value as object).length === 0 ? "{}" : "{")).toBe(true);
    expect(brief(await readAll(fileOf(gzipSync(content), "rows.json.gz"), "json"))).toEqual(lines);
  }), { numRuns: 150 });
});

test("any JSON value inside an element array is cut at the right places", async () => {
  await fc.assert(fc.asyncProperty(fc.array(json, { minLength: 1, maxLength: 6 }), cuts, async (values, at) => {
    const wrapped = values.map((value) => ({ value: JSON.parse(JSON.stringify(value)) as unknown }));
    const read = await collect(jsonArrayRows(pieces(Buffer.from(JSON.stringify(wrapped)), at), LIMIT));
    expect(read.map((one) => one.value)).toEqual(wrapped);
  }), { numRuns: 150 });
});

const quoted = (field: string) => `"${field.replaceAll("\"", "\"\"")}"`;
const needsMarks = (field: string, delimiter: string) => field.startsWith("\"") || [delimiter, "\r", "\n"].some((one) => field.includes(one)) || field === "";

test("CSV and TSV, every field quoted or only those that need it", async () => {
  const shape = fc.integer({ min: 2, max: 4 }).chain((width) => fc.array(fc.array(text, { minLength: width, maxLength: width }), { minLength: 1, maxLength: 6 }));
  await fc.assert(fc.asyncProperty(shape, cuts, fc.constantFrom("\n", "\r\n", "\r"), fc.constantFrom("csv", "tsv"), fc.boolean(), fc.boolean(), async (rows, at, end, format, all, open) => {
    const delimiter = format === "csv" ? "," as const : "\t" as const;
    const names = rows[0]!.map((_, index) => `c${index}`);
    let content = names.join(delimiter) + end;
    let line = 2;
    const expected = rows.map((fields) => {
      const record = fields.map((field) => (all || needsMarks(field, delimiter) ? quoted(field) : field)).join(delimiter);
      const begins = line;
      line += 1 + record.split(end === "\r" ? "\r" : "\n").length - 1;
      content += record + end;
      return [begins, Object.fromEntries(fields.map((field, index) => [names[index], field]))];
    });
    if (open) content = content.slice(0, -end.length);
    expect(brief(await collect(csvRows(pieces(Buffer.from(content), at), delimiter, LIMIT)))).toEqual(expected);
    expect(brief(await readAll(fileOf(`\uFEFF${content}`, `rows.${format}`), format))).toEqual(expected);
  }), { numRuns: 200 });
});

test("what an independent CSV parser reads without complaint is read the same", async () => {
  const soup = fc.array(fc.constantFrom("a", "b c", ",", ",", "\"", "\"", "\"\"", "\n", "\r\n", "é"), { maxLength: 40 }).map((parts) => `x,y\n${parts.join("")}`);
  let compared = 0;
  await fc.assert(fc.asyncProperty(soup, cuts, async (content, at) => {
    let theirs: string[][];
    try {
      theirs = parse(content, { record_delimiter: ["\r\n", "\n"], relax_column_count: true, skip_empty_lines: true });
    } catch {
      return;
    }
    if (/(?:^|\n)""(?:\r?\n|$)/.test(content)) return; // a lone pair of marks: they call it a row of one empty field, and so do we, but one parser skips it
    compared++;
    const ours = await collect(csvRows(pieces(Buffer.from(content), at), ",", LIMIT));
    expect(ours.length).toBe(theirs.length - 1);
    for (const [index, record] of ours.entries()) {
      const fields = theirs[index + 1]!;
      if (fields.length === 2) expect(record.value).toEqual({ x: fields[0], y: fields[1] });
      else expect(record.refusal?.reason).toBe("INVALID_CSV");
    }
  }), { numRuns: 1_000 });
  expect(compared).toBeGreaterThan(100);
});

test("Parquet in row groups of any size, numbered by row", async () => {
  const record = fc.record({ question: fc.option(text), id: fc.maxSafeInteger(), score: fc.double({ noNaN: true, noDefaultInfinity: true }).map((one) => one + 0), right: fc.boolean(), any: fc.dictionary(text.filter((one) => !["__proto__", "constructor", "prototype"].includes(one)), json, { maxKeys: 2 }).map((one) => JSON.parse(JSON.stringify(one)) as unknown) });
  await fc.assert(fc.asyncProperty(fc.array(record, { minLength: 1, maxLength: 20 }), fc.integer({ min: 1, max: 7 }), async (rows, rowGroupSize) => {
    const file = parquetWriteBuffer({
      rowGroupSize,
      columnData: [
        { name: "question", data: rows.map((one) => one.question), type: "STRING", nullable: true }, { name: "id", data: rows.map((one) => BigInt(one.id)), type: "INT64" },
        { name: "score", data: rows.map((one) => one.score), type: "DOUBLE" }, { name: "right", data: rows.map((one) => one.right), type: "BOOLEAN" }, { name: "any", data: rows.map((one) => one.any), type: "JSON" },
      ],
    });
    const plain = (one: unknown) => JSON.parse(JSON.stringify(one)) as unknown;
    expect(plain(brief(await readAll(fileOf(new Uint8Array(file), "rows.parquet"), "parquet")))).toEqual(plain(rows.map((one, index) => [index + 1, one])));
  }), { numRuns: 60 });
});
