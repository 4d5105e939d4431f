// GSM8K end to end, where it lies beside this checkout: every row in, every row out, and ground truths equal to the number after ####.

import { existsSync, mkdtempSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, inject, test } from "vitest";
import { openParquet } from "../../src/data/read/parquet-file.js";
import { packagePath } from "../../src/package-root.js";
import { runStage, type Stage } from "./stage.js";

const file = packagePath("..", "shared", "data", "gsm8k", "train.jsonl");
const here = existsSync(file);
if (!here) console.warn("\nNOT RUN: GSM8K end to end: shared/data/gsm8k is not beside this checkout\n");

interface Problem { readonly question: string; readonly answer: string }
interface RlRow { readonly data_source: string; readonly ability: string; readonly prompt: readonly unknown[]; readonly reward_model: { readonly style: string; readonly ground_truth: string }; readonly extra_info: { readonly index: number; readonly question: string; readonly answer: string } }

const problems = here ? readFileSync(file, "utf8").trimEnd().split("\n").map((line) => JSON.parse(line) as Problem) : [];
const newFolder = () => mkdtempSync(join(inject("runFolder"), "gsm8k-"));
const PATIENCE_MS = 120_000;

async function rowsOf(stage: Stage): Promise<Record<string, unknown>[]> {
  const sides = await Promise.all([stage.train, stage.validation].map(async (path) => {
    const parquet = await openParquet(path);
    try {
      return await parquet.read({ from: 0, to: parquet.rows });
    } finally {
      await parquet.close();
    }
  }));
  return sides.flat();
}

test.skipIf(!here)("7,473 problems become as many dialogues, none rejected or dropped", async () => {
  const stage = await runStage(newFolder(), [file], { task: "sft" });
  expect(stage.result).toMatchObject({ rows: 7_473, rejected: 0, dropped: 0, reasons: {} });
  const sorted = (rows: readonly unknown[]) => rows.map((row) => JSON.stringify(row)).sort();
  const expected = problems.map(({ question, answer }) => ({ messages: [{ role: "user", content: question }, { role: "assistant", content: answer }] }));
  expect(sorted(await rowsOf(stage))).toEqual(sorted(expected));
}, PATIENCE_MS);

test.skipIf(!here)("7,473 problems become as many RL rows whose ground truth is the number after ####", async () => {
  const stage = await runStage(newFolder(), [file], { task: "rl", dataSource: "openai/gsm8k", answerPattern: "#### (-?[\\d.,]+)" });
  expect(stage.result).toMatchObject({ rows: 7_473, rejected: 0, dropped: 0, reasons: {} });
  const rows = await rowsOf(stage) as unknown as RlRow[];
  expect(rows.length).toBe(7_473);
  for (const { data_source, ability, prompt, reward_model, extra_info } of rows) {
    const { question, answer } = problems[extra_info.index]!;
    const number = answer.slice(answer.lastIndexOf("#### ") + 5).trim().replaceAll(",", "");
    expect(number).toMatch(/^-?\d+(\.\d+)?$/);
    expect({ data_source, ability, prompt, reward_model, question: extra_info.question, answer: extra_info.answer })
      .toEqual({ data_source: "openai/gsm8k", ability: "math", prompt: [{ role: "user", content: question }], reward_model: { style: "rule", ground_truth: number }, question, answer });
  }
  expect(new Set(rows.map((row) => row.extra_info.index)).size).toBe(7_473);
}, PATIENCE_MS);
