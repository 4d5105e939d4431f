// A scorer of the user's that runs on another machine than the evaluation: all answers are judged in one run there (src/verl/python/score_answers.py), when all are drawn.

import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { EvaluateModelParams } from "../../domain/evaluation/evaluate-params.js";
import { packagePath } from "../../package-root.js";
import { ProgramFailedError } from "../evaluation-errors.js";
import type { EvaluationRow } from "../evaluation-rows.js";
import type { Sample } from "../samples-file.js";
import { workFolder, writtenFiles, type WantedProgram } from "../wanted-program.js";
import { readScore, ScorerFailedError, type ProgramScorer, type ScorerQuestion } from "./program-scorer.js";

/** Whether the run was wanted already. `folder`: the attempt's output. */
export function hasAsked(folder: string): boolean {
  return existsSync(questionsFile(folder));
}

/** The run that judges the answers of these rows. */
export function wantScores(rows: readonly EvaluationRow[], samples: ReadonlyMap<string, Sample>, folder: string, python: string, { scorer }: EvaluateModelParams): WantedProgram {
  if (typeof scorer === "string" || !("program" in scorer)) throw new TypeError("no scorer that is a program");
  const { scores } = writtenFiles(folder);
  mkdirSync(workFolder(folder), { recursive: true, mode: 0o700 });
  const questions = rows.flatMap(({ id, prompt, groundTruth, dataSource }) => (samples.get(id)?.responses ?? []).map((response): ScorerQuestion => ({ id, prompt, response, groundTruth, dataSource })));
  writeFileSync(questionsFile(folder), questions.map((question) => `${JSON.stringify(question)}\n`).join(""), { mode: 0o600, flush: true });
  return {
    argv: [python, packagePath("src", "verl", "python", "score_answers.py"), questionsFile(folder), scores, String(scorer.timeoutSeconds), "--", ...scorer.program.map(String)],
    environment: { PYTHONUNBUFFERED: "1" }, reads: [questionsFile(folder)], writes: [scores],
  };
}

/** What the run has said, as a scorer: it is asked in the order in which the run was. Throws ProgramFailedError. */
export function toldScores(folder: string): ProgramScorer {
  const lines = (file: string): string[] => readFileSync(file, "utf8").split("\n").slice(0, -1);
  const { scores } = writtenFiles(folder);
  if (!existsSync(scores)) throw new ProgramFailedError("the scorer's program ended without saying scores");
  const said = lines(scores).map((line) => JSON.parse(line) as { readonly line?: string; readonly error?: string });
  const asked = lines(questionsFile(folder)).map((line) => (JSON.parse(line) as ScorerQuestion).id);
  if (said.length !== asked.length) throw new ProgramFailedError(`the scorer's program judged ${said.length} of ${asked.length} answers`);
  const byRow = new Map<string, (typeof said)[number][]>();
  for (const [index, id] of asked.entries()) byRow.set(id, [...(byRow.get(id) ?? []), said[index]!]);
  return {
    score({ id }) {
      const next = byRow.get(id)?.shift();
      if (next?.line === undefined) return Promise.reject(new ScorerFailedError(`the scorer's program ${next?.error ?? "was not asked"}`));
      return Promise.resolve(readScore(next.line));
    },
    close: () => Promise.resolve(),
  };
}

function questionsFile(folder: string): string {
  return join(workFolder(folder), "questions.jsonl");
}
