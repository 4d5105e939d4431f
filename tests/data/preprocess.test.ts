import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { preprocess } from "../../src/data/preprocess.js";
import { inspectFile } from "../../src/data/read/inspect.js";
import { anyExchange, assistant, dialogueOf, LONG, messagesBefore, SHORT } from "./rows/shapes.js";
import { finished, jsonLines, linesOf, requestFor, run, sums, truthOf, type Row } from "./preprocess-runs.js";

const quiet = { signal: new AbortController().signal, onProgress: () => undefined };
const rl = { task: "rl", dataSource: "openai/gsm8k", answerPattern: "#### (-?[0-9.,]+)" };
const sft = { task: "sft" };
const indexOf = (row: Row) => Number((row["extra_info"] as { index: bigint }).index);
const questionOf = (row: Row) => (row["extra_info"] as { question: string }).question;
const bytesOf = (folder: string, name: string) => readFileSync(join(folder, name));

test("arithmetic in words becomes verl's rl rows, with the numbers after #### as ground truths", async () => {
  const rows = sums(40);
  const { result, train } = await run({ "sums.jsonl": rows }, { ...rl, systemPrompt: "Think." });
  expect(train).toEqual(rows.map((row, index) => ({
    data_source: "openai/gsm8k",
    prompt: [{ role: "system", content: "Think." }, { role: "user", content: row.question }],
    ability: "math",
    reward_model: { style: "rule", ground_truth: truthOf(row) },
    extra_info: { split: "train", index: BigInt(index), question: row.question, answer: row.answer, extra: null },
  })));
  expect(result).toMatchObject({ rows: 40, trainRows: 40, validationRows: 0, dropped: 0, rejected: 0, reasons: {}, firstRejects: [] });
});

const pairs = sums(12).map((row) => ({ prompt: row.question, chosen: row.answer, rejected: `I do not know. ${row.question}` }));
const TASKS = {
  sft: { rows: sums(12) as Row[], params: sft, columns: ["messages"] },
  rl: { rows: sums(12) as Row[], params: rl, columns: ["data_source", "prompt", "ability", "reward_model", "extra_info"] },
  preference: { rows: pairs as Row[], params: { task: "preference" }, columns: ["prompt", "chosen", "rejected"] },
};

test.each(Object.keys(TASKS) as (keyof typeof TASKS)[])("every format gives the same %s file, byte for byte", async (task) => {
  const { rows, params, columns } = TASKS[task];
  const hashes = new Set<string>();
  for (const name of ["a.jsonl", "a.jsonl.gz", "a.json", "a.json.gz", "a.csv", "a.csv.gz", "a.tsv", "a.parquet"]) {
    const { result, train, manifest } = await run({ [name]: rows }, params);
    expect(manifest.rows, name).toEqual({ in: 12, kept: 12, rejected: 0, dropped: 0 });
    expect(Object.keys(train[0]!)).toEqual(columns);
    hashes.add(result.files[0]!.facts.contentHash);
  }
  expect(hashes.size).toBe(1);
});

test("facts of a file are those that reading it finds out", async () => {
  for (const [task, { rows, params }] of Object.entries(TASKS)) {
    const { result } = await run({ "a.jsonl": rows.map((row, index) => ({ ...row, id: index })) }, { ...params, keepColumns: ["id"] });
    const [{ path, facts, datasetName }] = result.files as unknown as [(typeof result.files)[number]];
    const found = await inspectFile(path);
    expect(datasetName).toBe("tests/prepare-train");
    expect(facts).toMatchObject({ format: "parquet", contentHash: found.contentHash, sizeBytes: found.sizeBytes, rows: 12, columns: found.columns, tasks: found.tasks, sample: found.sample });
    expect(facts.statistics).toMatchObject({ rows: 12, ...(task === "preference" ? {} : { turns: found.statistics!.turns }) });
    expect(facts.contentHash).toBe(createHash("sha256").update(readFileSync(path)).digest("hex"));
  }
});

test("the sample stays within its size, whatever the rows hold", async () => {
  const long = sums(30).map((row) => ({ ...row, answer: "漢".repeat(9_000) }));
  for (const [rows, expected] of [[sums(30), 20], [long, 2], [[{ question: "q", answer: "漢".repeat(90_000) }], 1]] as const) {
    const { result } = await run({ "a.jsonl": rows }, sft);
    const { sample } = result.files[0]!.facts;
    expect(sample).toHaveLength(expected);
    expect(Buffer.byteLength(JSON.stringify(sample))).toBeLessThanOrEqual(65_536);
  }
});

test("every row is accounted for, and broken ones are listed with file, line and reason", async () => {
  const [first, second, third] = sums(3);
  const text = `${JSON.stringify(first)}\n{"question": "half\n\n${JSON.stringify(first)}\n${JSON.stringify({ question: second!.question, answer: " " })}\n[1]\n${JSON.stringify({ question: third!.question, answer: 7 })}\n`;
  const { result, rejects, manifest } = await run({ "one.jsonl": text, "two.jsonl": [first!, second!] }, { ...rl, dedupe: "exact" });
  expect(manifest.inputs.map(({ name, rows, kept, rejected, dropped }) => ({ name, rows, kept, rejected, dropped }))).toEqual([
    { name: "one.jsonl", rows: 6, kept: 1, rejected: { INVALID_JSON: 1, NOT_AN_OBJECT: 1, NO_GROUND_TRUTH: 1 }, dropped: { DUPLICATE: 1, EMPTY_ANSWER: 1 } },
    { name: "two.jsonl", rows: 2, kept: 1, rejected: {}, dropped: { DUPLICATE: 1 } },
  ]);
  expect(rejects.map(({ file, line, reason }) => [file, line, reason])).toEqual([["one.jsonl", 2, "INVALID_JSON"], ["one.jsonl", 6, "NOT_AN_OBJECT"], ["one.jsonl", 7, "NO_GROUND_TRUTH"]]);
  expect(rejects[0]).toMatchObject({ snippet: '{"question": "half' });
  expect(rejects[2]!["snippet"]).toContain(third!.question);
  expect(result).toMatchObject({ rows: 8, trainRows: 2, dropped: 3, rejected: 3, reasons: { INVALID_JSON: 1, NOT_AN_OBJECT: 1, NO_GROUND_TRUTH: 1, DUPLICATE: 2, EMPTY_ANSWER: 1 } });
  expect(result.firstRejects[0]).toMatch(/^one\.jsonl:2 INVALID_JSON: /);
});

test("the manifest holds hashes of inputs and outputs, and no absolute path", async () => {
  const { output, result, manifest } = await run({ "a.jsonl": sums(30) }, { ...rl, split: { validation: 0.3 } });
  expect(manifest.outputs.map(({ file, sha256, rows }) => [file, sha256, rows])).toEqual(result.files.map(({ role, facts }) => [`${role}.parquet`, facts.contentHash, facts.rows]));
  expect(manifest.inputs[0]!.sha256).toBe(createHash("sha256").update(readFileSync(result.read[0]!.path)).digest("hex"));
  expect(manifest.params).toMatchObject({ task: "rl", seed: 0, dedupe: "none" });
  expect(manifest.params).not.toHaveProperty("cache");
  expect(bytesOf(output, "manifest.json").toString()).not.toContain(output.slice(0, 10));
  expect(readdirSync(output).sort()).toEqual(["manifest.json", "rejects.jsonl", "train.parquet", "validation.parquet"]);
});

test("both files of a split have one schema, and say in their rows which they are", async () => {
  const { manifest, train, validation } = await run({ "a.jsonl": sums(40) }, { ...rl, split: { validation: 0.3, seed: 7 } });
  expect(manifest.outputs[0]!.schema).toEqual(manifest.outputs[1]!.schema);
  expect(train.length + validation.length).toBe(40);
  expect(new Set(train.map((row) => (row["extra_info"] as { split: string }).split))).toEqual(new Set(["train"]));
  expect(new Set(validation.map((row) => (row["extra_info"] as { split: string }).split))).toEqual(new Set(["validation"]));
});

test("more data moves no old row to the other side", async () => {
  const split = { split: { validation: 0.3, seed: 7 } };
  const before = await run({ "a.jsonl": sums(40) }, { ...rl, ...split });
  const after = await run({ "new.jsonl": sums(40, 100), "a.jsonl": sums(40) }, { ...rl, ...split, shuffle: true });
  const old = new Set(sums(40).map(({ question }) => question));
  expect(after.validation.map(questionOf).filter((question) => old.has(question)).sort()).toEqual(before.validation.map(questionOf).sort());
  const asMessages = await run({ "a.jsonl": sums(40) }, { ...sft, ...split });
  expect(asMessages.validation.map((row) => (row["messages"] as { content: string }[])[0]!.content)).toEqual(before.validation.map(questionOf));
});

test("shuffling changes the order and nothing else; a row keeps its index", async () => {
  const plain = await run({ "a.jsonl": sums(60) }, rl);
  const shuffled = await run({ "a.jsonl": sums(60) }, { ...rl, shuffle: true });
  const other = await run({ "a.jsonl": sums(60) }, { ...rl, shuffle: true, seed: 1 });
  expect(shuffled.train.map(indexOf)).not.toEqual(plain.train.map(indexOf));
  expect(shuffled.train.map(indexOf)).not.toEqual(other.train.map(indexOf));
  expect([...shuffled.train].sort((a, b) => indexOf(a) - indexOf(b))).toEqual(plain.train);
});

test("maxRows keeps a sample that grows with it, numbered in the order of the input", async () => {
  const few = await run({ "a.jsonl": sums(60) }, { ...rl, maxRows: 10 });
  const more = await run({ "a.jsonl": sums(60) }, { ...rl, maxRows: 25, shuffle: true });
  expect(few.result).toMatchObject({ trainRows: 10, dropped: 50, reasons: { NOT_SAMPLED: 50 } });
  expect(few.train.map(indexOf)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  const order = sums(60).map(({ question }) => question);
  expect(few.train.map(questionOf)).toEqual(few.train.map(questionOf).sort((a, b) => order.indexOf(a) - order.indexOf(b)));
  expect(more.train.map(indexOf).sort((a, b) => a - b)).toEqual(Array.from({ length: 25 }, (_, index) => index));
  for (const question of few.train.map(questionOf)) expect(more.train.map(questionOf)).toContain(question);
});

test("inputs are mixed by their weights, after the quality checks", async () => {
  const inputs = { "a.jsonl": { weight: 3 }, "b.jsonl": { weight: 1 } };
  const { manifest, train } = await run({ "a.jsonl": [...sums(50), ...sums(50)], "b.jsonl": sums(10, 100) }, { ...rl, dedupe: "exact", inputs });
  expect(manifest.inputs.map(({ kept, dropped }) => ({ kept, dropped }))).toEqual([{ kept: 30, dropped: { DUPLICATE: 50, NOT_SAMPLED: 20 } }, { kept: 10, dropped: {} }]);
  expect(train.map(indexOf)).toEqual(Array.from({ length: 40 }, (_, index) => index));
});

test("files that one entry names share its cap", async () => {
  const request = requestFor({ "a.jsonl": sums(20), "b.jsonl": sums(20, 50), "c.jsonl": sums(5, 90) }, { ...rl, input: [{ path: "[ab].jsonl", maxRows: 12 }, "c.jsonl"] });
  const [glob, single] = [request.inputs[0]!.spec, request.inputs[1]!.spec];
  const inputs = request.inputs.map((input, index) => ({ ...input, spec: structuredClone(index < 2 ? glob : single) }));
  const { manifest } = await finished(request, await preprocess({ ...request, inputs }, quiet));
  const kept = manifest.inputs.map((input) => input.kept);
  expect(kept[0]! + kept[1]!).toBe(12);
  expect(kept[2]).toBe(5);
});

const ARRANGEMENTS = [{}, { shuffle: true }, { maxRows: 700 }, { shuffle: true, maxRows: 700, split: { validation: 0.2 } }];

test("equal input and params give equal bytes, however much is held in memory and however the bytes arrive", async () => {
  const rows = [...sums(300), ...sums(100)];
  for (const params of ARRANGEMENTS) {
    const runs = [await run({ "a.jsonl": rows }, { ...rl, ...params }), await run({ "a.jsonl": rows }, { ...rl, ...params }, { spillBytes: 2_000 }), await run({ "a.jsonl": rows }, { ...rl, ...params }, { spillBytes: 50_000 })];
    for (const { output } of runs) for (const name of readdirSync(runs[0]!.output)) expect(bytesOf(output, name).equals(bytesOf(runs[0]!.output, name)), name).toBe(true);
    const gzipped = await run({ "a.jsonl.gz": rows }, { ...rl, ...params }, { spillBytes: 3_000 });
    expect(gzipped.result.files.map((file) => file.facts.contentHash)).toEqual(runs[0]!.result.files.map((file) => file.facts.contentHash));
  }
});

/** Shapes whose lists of messages may also stand in a cell as JSON text. */
const IN_CELLS = [LONG.messages, LONG.parts, LONG.json, LONG.sharegpt, ...Object.values(SHORT)];
const anyFile = fc.tuple(fc.constantFrom("a.jsonl", "a.jsonl.gz", "a.json", "a.json.gz", "a.csv", "a.csv.gz", "a.tsv", "a.parquet"), fc.boolean(), fc.nat(5)).map(([name, long, nth]) => {
  const row = Object.values(long ? LONG : SHORT)[nth]!;
  return { name: /json/.test(name) || IN_CELLS.includes(row) ? name : "a.jsonl", long, row };
});

test("any rows in any of the shapes and formats survive the round trip", async () => {
  await fc.assert(fc.asyncProperty(anyFile, fc.array(anyExchange, { minLength: 1, maxLength: 12 }), async ({ name, long, row }, exchanges) => {
    const asked = exchanges.map((exchange) => (long ? exchange : { ...exchange, turns: [] }));
    const made = await run({ [name]: asked.map(row) }, sft);
    expect(made.result).toMatchObject({ rejected: 0, dropped: 0 });
    expect(made.train).toEqual(asked.map((one) => ({ messages: dialogueOf(one) })));
  }), { numRuns: 60 });
  await fc.assert(fc.asyncProperty(fc.constantFrom(LONG.preferred!, SHORT.preferred!), fc.array(anyExchange, { minLength: 1, maxLength: 12 }), async (row, exchanges) => {
    const asked = exchanges.map((exchange) => (row === LONG.preferred ? exchange : { ...exchange, turns: [] }));
    const made = await run({ "a.jsonl": asked.map(row) }, { task: "preference" });
    expect(made.train).toEqual(asked.map((one) => ({ prompt: messagesBefore(one), chosen: [assistant(one.answer)], rejected: [assistant(one.other)] })));
  }), { numRuns: 30 });
});

const anyLine = fc.oneof(
  { weight: 6, arbitrary: fc.record({ question: fc.string({ unit: "grapheme", maxLength: 30 }), answer: fc.string({ unit: "grapheme", maxLength: 30 }) }).map((row) => JSON.stringify(row)) },
  { weight: 2, arbitrary: fc.json().map((text) => text.replaceAll("\n", " ")) },
  { weight: 1, arbitrary: fc.string({ maxLength: 20 }).map((text) => text.replaceAll(/[\r\n]/g, " ")) },
);

test("whatever the lines hold, every one is kept, rejected or dropped, and the files hold what is kept", async () => {
  const steady = JSON.stringify(sums(1)[0]);
  await fc.assert(fc.asyncProperty(fc.array(anyLine, { maxLength: 40 }), fc.constantFrom<Row>({}, { shuffle: true }, { maxRows: 5 }, { dedupe: "normalized", shuffle: true, maxRows: 3 }), async (lines, params) => {
    const { result, train, manifest, rejects } = await run({ "a.jsonl": [steady, ...lines].join("\n") }, { ...sft, ...params }, { spillBytes: 300 });
    const rows = [steady, ...lines].filter((line) => line.trim() !== "").length;
    expect(result.rows).toBe(rows);
    expect(train.length + result.dropped + result.rejected).toBe(rows);
    expect(rejects).toHaveLength(result.rejected);
    expect(manifest.rows).toEqual({ in: rows, kept: train.length, rejected: result.rejected, dropped: result.dropped });
  }), { numRuns: 40 });
});

test("a share of broken rows beyond maxRejectedFraction refuses the stage, names the first and leaves the list", async () => {
  const lines = jsonLines(sums(8)) + "{broken\nbroken}\n";
  const request = requestFor({ "a.jsonl": lines }, { ...sft, maxRejectedFraction: 0.1 });
  await expect(preprocess(request, quiet)).rejects.toMatchObject({ code: "INVALID_INPUT", message: expect.stringMatching(/2 of 10 rows are broken .*a\.jsonl:9 INVALID_JSON.*a\.jsonl:10 INVALID_JSON/) as string, firstRejects: [expect.any(String), expect.any(String)] as string[] });
  expect(readdirSync(request.outputDir)).toEqual(["rejects.jsonl"]);
  expect(linesOf(join(request.outputDir, "rejects.jsonl")).map((row) => row["line"])).toEqual([9, 10]);
  expect((await run({ "a.jsonl": lines }, { ...sft, maxRejectedFraction: 0.2 })).result).toMatchObject({ trainRows: 8, rejected: 2 });
});

test("a stage that keeps nothing is refused, saying why and what to do", async () => {
  const refusal = async (files: Record<string, string | Row[]>, params: Row) => preprocess(requestFor(files, params), quiet).then(() => "accepted", (error: Error & { code: string }) => `${error.code} ${error.message}`);
  expect(await refusal({ "a.jsonl": "" }, sft)).toMatch(/^INVALID_INPUT The input holds no rows/);
  expect(await refusal({ "a.jsonl": [{ lorem: "ipsum" }, { lorem: "dolor" }] }, sft)).toMatch(/2 UNKNOWN_SHAPE.*Say in columns.*a\.jsonl:1 .*which part; a\.jsonl:2 .*which part\.$/);
  expect(await refusal({ "a.jsonl": sums(3) }, { ...sft, filter: { minChars: 90_000 } })).toMatch(/None of the 3 rows is left: 3 TOO_SHORT \(.*\)\. Loosen filter\./);
  expect(await refusal({ "a.jsonl": sums(3), "b.jsonl": sums(3) }, { ...sft, dedupe: "exact", inputs: { "a.jsonl": { weight: 1 }, "b.jsonl": { weight: 1 } } })).toMatch(/None of the 6 rows.*bounds the whole mixture to nothing/);
});

test("a side of the split without rows refuses the stage rather than write a file that training cannot load", async () => {
  const request = requestFor({ "a.jsonl": sums(3) }, { ...sft, split: { validation: 0.000_001 } });
  await expect(preprocess(request, quiet)).rejects.toThrow(/None of the 3 kept rows falls into the validation file .*Raise split\.validation/);
  await expect(preprocess(requestFor({ "a.jsonl": sums(3) }, { ...sft, split: { validation: 0.999_999 } }), quiet)).rejects.toThrow(/the train file .*Lower split\.validation/);
  expect(readdirSync(request.outputDir)).toEqual(["rejects.jsonl"]);
});

test("a file that cannot be read to its end refuses the stage, naming file and line", async () => {
  const request = requestFor({ "a.json": `[${JSON.stringify(sums(1)[0])}, {"question": ` }, sft);
  await expect(preprocess(request, quiet)).rejects.toMatchObject({ code: "INVALID_INPUT", message: expect.stringMatching(/^a\.json/) as string });
  expect(readdirSync(request.outputDir)).toEqual([]);
});

test("a run that is cancelled midway leaves nothing", async () => {
  for (const phase of ["reading", "arranging"]) {
    const request = requestFor({ "a.jsonl": sums(6_000) }, { ...sft, shuffle: true });
    const abort = new AbortController();
    const phases: string[] = [];
    const onProgress = (at: { phase: string }) => {
      phases.push(at.phase);
      if (at.phase === phase) abort.abort(new Error("some reason"));
    };
    await expect(preprocess(request, { signal: abort.signal, onProgress, spillBytes: 10_000 })).rejects.toMatchObject({ name: "AbortError" });
    expect(phases.at(-1)).toBe(phase);
    expect(readdirSync(request.outputDir)).toEqual([]);
  }
});

test("progress is told in bytes over all phases, only grows, and ends at its total", async () => {
  const request = requestFor({ "a.jsonl": sums(3_000), "b.parquet": sums(500, 5_000) }, { ...sft, shuffle: true });
  const reports: { done: number; total: number; phase: string }[] = [];
  await preprocess(request, { ...quiet, onProgress: (at) => void reports.push({ ...at }) });
  expect(new Set(reports.map(({ total }) => total)).size).toBe(1);
  expect(reports.map(({ done }) => done)).toEqual(reports.map(({ done }) => done).sort((a, b) => a - b));
  expect(reports.at(-1)).toMatchObject({ done: reports[0]!.total, phase: "finished" });
  expect([...new Set(reports.map(({ phase }) => phase))]).toEqual(["reading", "hashing", "arranging", "finishing", "finished"]);
});

test("a second run in the same place replaces the first as a whole", async () => {
  const request = requestFor({ "a.jsonl": sums(40) }, { ...rl, split: { validation: 0.3 } });
  await preprocess(request, quiet);
  const { split: _, ...params } = request.params;
  const again = await finished(request, await preprocess({ ...request, params }, quiet));
  expect(again.train).toHaveLength(40);
  expect(existsSync(join(request.outputDir, "validation.parquet"))).toBe(false);
});

test("a tokenizer that cannot be opened refuses the stage before anything is read", async () => {
  const request = { ...requestFor({ "a.jsonl": sums(3) }, sft), tokenizer: "/nowhere/tokenizer.json" };
  await expect(preprocess(request, quiet)).rejects.toMatchObject({ code: "INVALID_INPUT", message: expect.stringContaining("/nowhere/tokenizer.json") as string });
  expect(readdirSync(request.outputDir)).toEqual([]);
});

test("the list of broken rows is complete, and shows of each no more than its beginning", async () => {
  const broken = Array.from({ length: 1_000 }, (_, index) => ({ lorem: `${index} ${"😀".repeat(400)}`, list: Array.from({ length: 500 }, () => 1) }));
  const { rejects } = await run({ "a.jsonl": [...sums(1), ...broken] }, sft);
  expect(rejects.map(({ line }) => line)).toEqual(broken.map((_, index) => index + 2));
  for (const { snippet } of rejects as { snippet: string }[]) {
    expect(snippet.length).toBeLessThanOrEqual(300);
    expect(snippet.startsWith('{"lorem":"')).toBe(true);
    expect(snippet.isWellFormed()).toBe(true);
  }
});
