// What preprocess writes, read by others: pyarrow, pandas and Hugging Face datasets row for row, verl's own data set classes and scorer, TRL's DPO trainer.

import { mkdtempSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, inject, test } from "vitest";
import { findPython, runPython } from "./python.js";
import { runStage, writeInput, type Stage } from "./stage.js";
import { dialogues, pairs, tasks, type Message, type Pair } from "./texts.js";

interface ReadBack {
  readonly rows: Readonly<Record<string, Readonly<Record<"train" | "validation", readonly Record<string, unknown>[]>>>>;
  readonly schema: readonly (readonly [string, string])[];
  readonly sameSchema: boolean;
  readonly sameFeatures: boolean;
}
interface LoadedByVerl {
  readonly sft: readonly { readonly text: string; readonly trained: string }[];
  readonly rl: readonly { readonly prompt: readonly Message[]; readonly data_source: string; readonly ground_truth: string; readonly index: number; readonly text: string }[];
  readonly scores: { readonly right: readonly number[]; readonly wrong: readonly number[] };
}
interface LoadedByTrl { readonly train: readonly Record<keyof Pair, string>[]; readonly validation: readonly Record<keyof Pair, string>[]; readonly loss: number }

const python = findPython("data", "the proof that pyarrow, pandas and datasets read our Parquet");
const verl = findPython("verl", "the proof that verl and TRL load our Parquet");
const LIBRARIES = ["pyarrow", "pandas", "datasets"];
const MESSAGES = "list<element: struct<role: string, content: string>>";
const PATIENCE_MS = 300_000;

const sft = dialogues(60), preference = pairs(60), rl = tasks(90);
const SUMS = Array.from({ length: 60 }, (_, n) => ({ question: `Add ${n * 777} and ${n} 😀.`, answer: `The sum is <<${n * 777}+${n}=${n * 778}>>.\n#### ${(n * 778).toLocaleString("en-US")}` }));

let folder: string;
let sftFiles: readonly string[];
let stages: Record<"sft" | "rl" | "scored" | "preference" | "preferenceText", Stage>;

beforeAll(async () => {
  if (python === null && verl === null) return;
  folder = mkdtempSync(join(inject("runFolder"), "proof-"));
  const formats = ["jsonl", "csv.gz", "json", "jsonl.gz", "csv", "jsonl"];
  const files = (name: string, shapes: readonly { name: string; rows: readonly Record<string, unknown>[] }[], endings: readonly string[]) => shapes.map((shape, index) => writeInput(join(folder, "in", name), `${shape.name}.${endings[index % endings.length]}`, shape.rows));
  const pairFiles = files("preference", preference, ["jsonl", "json.gz", "jsonl"]);
  sftFiles = files("sft", sft, formats);
  stages = {
    sft: await runStage(join(folder, "sft"), sftFiles, { task: "sft" }),
    rl: await runStage(join(folder, "rl"), files("rl", rl, ["jsonl", "json"]), { task: "rl", dataSource: "our/own", customReward: true }),
    scored: await runStage(join(folder, "scored"), [writeInput(join(folder, "in", "scored"), "sums.jsonl", SUMS)], { task: "rl", dataSource: "openai/gsm8k", answerPattern: "#### (.+)$" }),
    preference: await runStage(join(folder, "preference"), pairFiles, { task: "preference" }),
    preferenceText: await runStage(join(folder, "preference-text"), pairFiles, { task: "preference", preferenceForm: "text" }),
  };
}, PATIENCE_MS);

/** Rows of both sides, with nothing lost: in one order, whatever the side. */
const all = <T>(sides: { readonly train: readonly T[]; readonly validation: readonly T[] }): T[] => [...sides.train, ...sides.validation];
const sorted = (rows: readonly unknown[]): string[] => rows.map((row) => JSON.stringify(row)).sort();
const filesOf = (stage: Stage) => ({ train: stage.train, validation: stage.validation });
const chat = (messages: readonly Message[]): string => messages.map(({ role, content }) => `<|im_start|>${role}\n${content}<|im_end|>\n`).join("");
const asText = (pair: Pair) => ({ prompt: pair.prompt[0]!.content, chosen: pair.chosen[0]!.content, rejected: pair.rejected[0]!.content });

describe.skipIf(python === null)("read back", () => {
  let read: Record<keyof typeof stages, ReadBack>;
  beforeAll(async () => {
    const cases = join(folder, "cases.json");
    writeFileSync(cases, JSON.stringify(Object.fromEntries(Object.entries(stages).map(([name, stage]) => [name, filesOf(stage)]))));
    read = await runPython(python!, "read_back.py", [cases]);
  }, PATIENCE_MS);

  test("nothing of the hostile rows is rejected or dropped", () => {
    for (const stage of Object.values(stages)) expect(stage.result).toMatchObject({ rejected: 0, dropped: 0, reasons: {} });
    expect(stages.sft.result.rows).toBe(360);
  });

  test.each(LIBRARIES)("%s sees every dialogue as it was, once, and both sides have rows", (library) => {
    const sides = read.sft.rows[library]!;
    expect(sides.train.length).toBeGreaterThan(200);
    expect(sides.validation.length).toBeGreaterThan(20);
    expect(sorted(all(sides))).toEqual(sorted(sft.flatMap((shape) => shape.expected.map((messages) => ({ messages })))));
  });

  test.each(LIBRARIES)("%s sees rows of one side in the order of the input", (library) => {
    const order = new Map(sft.flatMap((shape) => shape.expected).map((messages, index) => [JSON.stringify({ messages }), index]));
    for (const rows of Object.values(read.sft.rows[library]!)) {
      const places = rows.map((row) => order.get(JSON.stringify(row))!);
      expect(places).toEqual([...places].sort((a, b) => a - b));
    }
  });

  test.each(LIBRARIES)("%s sees every RL row with its ground truth, its side and its number", (library) => {
    const sides = read.rl.rows[library]!;
    const rows = all(sides).sort((a, b) => (a["extra_info"] as { index: number }).index - (b["extra_info"] as { index: number }).index);
    const expected = rl.flatMap((shape) => shape.expected);
    expect(rows.length).toBe(expected.length);
    rows.forEach((row, index) => expect(row).toMatchObject({
      data_source: "our/own", ability: "general", prompt: expected[index]!.prompt, reward_model: { style: "rule", ground_truth: expected[index]!.truth },
      extra_info: { index, question: expected[index]!.question, answer: null },
    }));
    for (const [split, side] of Object.entries(sides)) for (const row of side) expect((row["extra_info"] as { split: string }).split).toBe(split);
  });

  test.each(LIBRARIES)("%s sees every pair, as messages and as text", (library) => {
    const expected = preference.flatMap((shape) => shape.expected);
    expect(sorted(all(read.preference.rows[library]!))).toEqual(sorted(expected));
    expect(sorted(all(read.preferenceText.rows[library]!))).toEqual(sorted(expected.map(asText)));
  });

  test("train and validation have one schema, of the types that verl and TRL expect", () => {
    for (const { sameSchema, sameFeatures } of Object.values(read)) expect({ sameSchema, sameFeatures }).toEqual({ sameSchema: true, sameFeatures: true });
    expect(read.sft.schema).toEqual([["messages", MESSAGES]]);
    expect(read.rl.schema).toEqual([
      ["data_source", "string"], ["prompt", MESSAGES], ["ability", "string"], ["reward_model", "struct<style: string, ground_truth: string>"],
      ["extra_info", "struct<split: string, index: int64, question: string, answer: string, extra: string>"],
    ]);
    expect(read.scored.schema).toEqual(read.rl.schema);
    expect(read.preference.schema).toEqual([["prompt", MESSAGES], ["chosen", MESSAGES], ["rejected", MESSAGES]]);
    expect(read.preferenceText.schema).toEqual([["prompt", "string"], ["chosen", "string"], ["rejected", "string"]]);
  });
});

describe.skipIf(verl === null)("loaded for training", () => {
  let loaded: LoadedByVerl;
  let trl: Record<"preference" | "preferenceText", LoadedByTrl>;
  let counted: { readonly stage: Stage; readonly tokens: readonly (readonly number[])[] };
  beforeAll(async () => {
    const model = join(folder, "model");
    await runPython(verl!, "../../examples/verl-on-cpu/tiny_model.py", [model]);
    loaded = await runPython(verl!, "load_by_verl.py", [model, stages.sft.train, stages.rl.train, stages.scored.train]);
    const cases = join(folder, "trl-cases.json");
    writeFileSync(cases, JSON.stringify({ preference: filesOf(stages.preference), preferenceText: filesOf(stages.preferenceText) }));
    const stage = await runStage(join(folder, "counted"), sftFiles, { task: "sft" }, join(model, "tokenizer.json"));
    counted = { stage, tokens: await runPython(verl!, "count_tokens.py", [model, stage.train, stage.validation]) };
    trl = await runPython(verl!, "load_by_trl.py", [model, join(folder, "dpo"), cases]);
  }, PATIENCE_MS);

  test("verl's SFT data set sees every dialogue and trains on what the assistant says, and on nothing else", () => {
    const known = new Map(sft.flatMap((shape) => shape.expected).map((messages) => [chat(messages), messages]));
    expect(loaded.sft.length).toBe(stages.sft.result.trainRows);
    for (const { text, trained } of loaded.sft) {
      const messages = known.get(text);
      expect(messages, text.slice(0, 200)).toBeDefined();
      expect(trained).toBe(messages!.filter(({ role }) => role === "assistant").map(({ content }) => `${content}<|im_end|>\n`).join(""));
    }
  });

  test("verl's RL data set drops no row and sees prompts, sources and ground truths", () => {
    const expected = rl.flatMap((shape) => shape.expected);
    expect(loaded.rl.length).toBe(stages.rl.result.trainRows);
    for (const row of loaded.rl) {
      const { prompt, truth } = expected[row.index]!;
      expect(row).toMatchObject({ prompt, data_source: "our/own", ground_truth: truth, text: `${chat(prompt)}<|im_start|>assistant\n` });
    }
  });

  test("verl's own scorer gives the right answer full marks and another none", () => {
    expect(loaded.scores.right).toEqual(Array(stages.scored.result.trainRows).fill(1));
    expect(loaded.scores.wrong).toEqual(Array(stages.scored.result.trainRows).fill(0));
  });

  test("lengths in tokens are those that Hugging Face's own tokenizers count", () => {
    expect(counted.stage.result.files.map(({ facts }) => facts.statistics!.tokens)).toMatchObject(counted.tokens.map((rows) => ({
      by: "tokenizer", total: rows.reduce((sum, count) => sum + count, 0), distribution: { count: rows.length, min: Math.min(...rows), max: Math.max(...rows) },
    })));
  });

  test("TRL's DPO trainer prepares every pair of messages by the chat template, and trains", () => {
    const expected = preference.flatMap((shape) => shape.expected).map((pair) => ({ prompt: `${chat(pair.prompt)}<|im_start|>assistant\n`, chosen: `${pair.chosen[0]!.content}<|im_end|>\n`, rejected: `${pair.rejected[0]!.content}<|im_end|>\n` }));
    expect(sorted(all(trl.preference))).toEqual(sorted(expected));
    expect(trl.preference.loss).toBeCloseTo(Math.log(2), 3); // policy and reference are still the same
  });

  test("TRL's DPO trainer prepares every pair of plain texts, and trains", () => {
    const expected = preference.flatMap((shape) => shape.expected).map(asText).map((pair) => ({ prompt: pair.prompt, chosen: `${pair.chosen}<|im_end|>`, rejected: `${pair.rejected}<|im_end|>` }));
    expect(sorted(all(trl.preferenceText))).toEqual(sorted(expected));
    expect(trl.preferenceText.loss).toBeCloseTo(Math.log(2), 3);
  });
});
