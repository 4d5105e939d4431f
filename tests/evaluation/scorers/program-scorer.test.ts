// Scorers that are programs of the user's: real processes over stdin and stdout.
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, inject, onTestFinished, test } from "vitest";
import { createProgramScorer, readScore, type ProgramScorer, type ScorerQuestion } from "../../../src/evaluation/scorers/program-scorer.js";

const question = (response: string, id = "r1"): ScorerQuestion => ({ id, prompt: [{ role: "user", content: "?" }], response, groundTruth: "42", dataSource: "custom" });

/** A scorer from the body of `line => …`, which has the question as `q`, the number of this process from 1 as `life`, and answers by `say(text)`. */
function scorer(body: string, timeoutMs = 2_000): { scorer: ProgramScorer; said: string[]; lives(): number } {
  const folder = mkdtempSync(join(inject("runFolder"), "scorer-"));
  const lives = join(folder, "lives");
  const file = join(folder, "scorer.cjs");
  writeFileSync(file, `
    const fs = require("fs"); let life = 1; try { life = fs.readFileSync(${JSON.stringify(lives)}, "utf8").length + 1 } catch {} fs.appendFileSync(${JSON.stringify(lives)}, "x");
    const say = (text) => process.stdout.write(text + "\\n"); let n = 0;
    require("readline").createInterface({ input: process.stdin }).on("line", (text) => { const q = JSON.parse(text); n++; ${body} });`);
  const said: string[] = [];
  const made = createProgramScorer({ argv: [process.execPath, file], environment: { PATH: process.env["PATH"] }, timeoutMs, say: (text) => said.push(text) });
  onTestFinished(() => made.close());
  return { scorer: made, said, lives: () => readFileSync(lives, "utf8").length };
}

test("one process judges all answers, one at a time and each with its own line, whatever is in it", async () => {
  const { scorer: program, lives } = scorer("say(JSON.stringify({ score: q.response === q.groundTruth ? 1 : 0.25, extracted: q.response, length: q.response.length, note: 'no number' }))");
  const hostile = ["42", "two\nlines", "\"quoted\" \\ {}", "é🙂".repeat(500), ""];
  const scores = await Promise.all(hostile.map((response, index) => program.score(question(response, `r${index}`))));
  expect(scores.map(({ score, figures }) => [score, figures!["length"]])).toEqual(hostile.map((text, index) => [index === 0 ? 1 : 0.25, text.length]));
  expect(scores[1]!.extracted).toBe("two\nlines");
  expect(lives()).toBe(1);
});

test("a program that ends, hangs or babbles is started again, and the answer is given to it once more", async () => {
  const { scorer: program, said, lives } = scorer("if (life === 1) process.exit(3); if (life === 2) return; if (life === 3) return say('hello'); say('{\"score\": 1}')", 1_500);
  await expect(program.score(question("a"))).rejects.toThrow("the scorer's program gave no score within 1.5 s");
  expect(await program.score(question("b"))).toEqual({ score: 1, extracted: null });
  expect(lives()).toBe(4);
  expect(said).toEqual(["the scorer's program ended with exit code 3; it is started again", "the scorer's program gave no score within 1.5 s; it is started again", 'the scorer\'s program wrote "hello" where one JSON object was to be; it is started again']);
});

test("a program that never works ends the evaluation instead of failing every row", async () => {
  const { scorer: program } = scorer("process.exit(1)");
  for (let row = 1; row < 5; row++) await expect(program.score(question("x"))).rejects.toMatchObject({ name: "ScorerFailedError" });
  await expect(program.score(question("x"))).rejects.toMatchObject({ name: "EvaluationRefusedError", message: expect.stringContaining("5 answers in a row") });
});

test("a program that does not exist is told by its name", async () => {
  const missing = createProgramScorer({ argv: ["/nowhere/scorer"], environment: {}, timeoutMs: 1_000, say: () => undefined });
  await expect(missing.score(question("x"))).rejects.toMatchObject({ name: "EvaluationRefusedError", message: expect.stringContaining("/nowhere/scorer cannot be started: it does not exist") });
  await missing.close();
});

test("closing ends a program that does not go by itself", async () => {
  const { scorer: program } = scorer("process.on('SIGTERM', () => {}); setInterval(() => {}, 1000); say('{\"score\": 1}')");
  await program.score(question("x"));
  await program.close();
});

test.each([
  ['{"score": 0.5}', { score: 0.5, extracted: null }], ['{"score": true, "extracted": "x"}', { score: 1, extracted: "x" }], ['{"score": -3, "a": 1, "b": "no", "c": null}', { score: -3, extracted: null, figures: { a: 1 } }],
])("the line %s is a score", (line, score) => { expect(readScore(line)).toEqual(score); });

test.each([["", "where one JSON object was to be"], ["[1]", "no object"], ['{"score": "1"}', 'the score "1"'], ["{}", "the score of no value"], ['{"score": 1e999}', "it must be a number"]])("the line %s is none", (line, why) => {
  expect(() => readScore(line)).toThrow(why);
});
