// GSM8K end to end, where its train.jsonl lies beside this checkout or TRAINYARD_GSM8K names it: every row in, every row out, and ground truths equal to the numbers after ####.

import { existsSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { packagePath } from "../../src/package-root.js";
import { run, truthOf, type FinishedRun } from "./preprocess-runs.js";

const file = process.env["TRAINYARD_GSM8K"] ?? packagePath("..", "shared", "data", "gsm8k", "train.jsonl");
const here = existsSync(file);
if (!here) console.warn("\nNOT RUN: GSM8K end to end: shared/data/gsm8k is not beside this checkout; TRAINYARD_GSM8K=<path of train.jsonl> names it elsewhere\n");

const text = here ? readFileSync(file, "utf8") : "";
const problems = text.trimEnd().split("\n").filter((line) => line !== "").map((line) => JSON.parse(line) as { question: string; answer: string });
const ROWS = 7_473;
const PATIENCE_MS = 120_000;

const prepare = (params: Record<string, unknown>): Promise<FinishedRun> => run({ "train.jsonl": text }, { split: { validation: 0.02, seed: 7 }, ...params });

function expectNothingLost({ result, manifest, train, validation, rejects }: FinishedRun): void {
  expect(result).toMatchObject({ rows: ROWS, rejected: 0, dropped: 0, reasons: {} });
  expect(manifest).toMatchObject({ rows: { in: ROWS, kept: ROWS, rejected: 0, dropped: 0 }, reasons: {} });
  expect(train.length + validation.length).toBe(ROWS);
  expect(validation.length).toBeGreaterThan(100);
  expect(rejects).toEqual([]);
}

test.skipIf(!here)("7,473 problems become as many dialogues, none rejected or dropped", async () => {
  const made = await prepare({ task: "sft" });
  expectNothingLost(made);
  const sorted = (rows: readonly unknown[]) => rows.map((row) => JSON.stringify(row)).sort();
  const expected = problems.map(({ question, answer }) => ({ messages: [{ role: "user", content: question }, { role: "assistant", content: answer }] }));
  expect(sorted([...made.train, ...made.validation])).toEqual(sorted(expected));
}, PATIENCE_MS);

test.skipIf(!here)("7,473 problems become as many RL rows whose ground truth is the number after ####", async () => {
  const made = await prepare({ task: "rl", dataSource: "openai/gsm8k", answerPattern: "#### (-?[\\d.,]+)" });
  expectNothingLost(made);
  const indexOf = (row: unknown) => Number((row as { extra_info: { index: bigint } }).extra_info.index);
  const rows = [...made.train, ...made.validation].sort((a, b) => indexOf(a) - indexOf(b));
  for (const [index, problem] of problems.entries()) {
    const truth = truthOf(problem);
    expect(truth).toMatch(/^-?\d+(\.\d+)?$/);
    expect(rows[index]).toMatchObject({
      data_source: "openai/gsm8k", ability: "math", prompt: [{ role: "user", content: problem.question }], reward_model: { style: "rule", ground_truth: truth }, extra_info: { index: BigInt(index), ...problem },
    });
  }
}, PATIENCE_MS);
