// Takes what became of each row: scores it, has it written, and keeps the figures that the end and the progress are made of.
//   K1. A row counts when its sample is on disk. Samples that come together are written together.
//   K2. A row without an answer or a score is an error and in no mean.

import type { EvaluateModelParams } from "../domain/evaluation/evaluate-params.js";
import type { ChatAnswer } from "./chat-client.js";
import type { EvaluationRow } from "./evaluation-rows.js";
import type { Drawn } from "./endpoint-answers.js";
import type { Sample, SamplesFile } from "./samples-file.js";
import { ScorerFailedError, type ProgramScorer } from "./scorers/program-scorer.js";
import type { Score, Scorer } from "./scorers/scorer.js";
import { confidenceOf, meanOf, type Confidence } from "../domain/evaluation/statistics.js";

/** How responses are scored as they come; null: they are not, but all together when all are there. */
export type Scoring = { readonly kind: "ours"; readonly score: Scorer } | { readonly kind: "program"; readonly program: ProgramScorer } | null;

/** One score over the rows that have it. */
export interface MeanScore { readonly mean: number; readonly n: number; readonly confidence: Confidence }

export interface Figures {
  /** `score`: the mean over the scored rows. `best`: of the best of several answers to each row. And a program's further figures. Nothing without scored rows. */
  readonly scores: ReadonlyMap<string, MeanScore>;
  /** Rows that were scored (where they are not as they come: answered). */
  readonly counted: number;
  readonly errors: number;
  /** Answers that ended because maxTokens was reached. */
  readonly truncated: number;
  readonly answers: number;
  /** The first error, in words. */
  readonly firstError: string | null;
  /** Whether some row failed for a reason that may pass. */
  readonly somePassing: boolean;
}

export interface ScoreKeeper {
  /** Resolves when the sample is on disk. */
  took(row: EvaluationRow, drawn: Drawn): Promise<void>;
  /** A sample of an earlier attempt, used as it is, or scored anew. */
  reuse(row: EvaluationRow, sample: Sample, scored: boolean): Promise<void>;
  /** A sample of this attempt, as it is. */
  keep(sample: Sample): Promise<void>;
  /** One that stands in the file already. */
  recall(sample: Sample): void;
  /** Costs time that grows with the rows. */
  figures(): Figures;
  /** The mean so far; null without scored rows. */
  readonly score: number | null;
  readonly errors: number;
  readonly done: number;
}

export interface KeeperOptions {
  readonly params: EvaluateModelParams;
  readonly scoring: Scoring;
  readonly file: SamplesFile;
  /** Takes secrets out of a text that came from elsewhere. */
  conceal(text: string): string;
  /** Called after each write. */
  progressed(done: number): void;
}

export function createScoreKeeper({ params, scoring, file, conceal, progressed }: KeeperOptions): ScoreKeeper {
  const values = new Map<string, number[]>();
  let total = 0;
  const counts = { done: 0, answered: 0, errors: 0, truncated: 0, answers: 0 };
  let firstError: string | null = null;
  let somePassing = false;
  let pending: { sample: Sample; written(): void; failed(error: Error): void }[] = [];

  const flush = (): void => {
    const batch = pending;
    pending = [];
    try {
      file.append(batch.map(({ sample }) => sample));
    } catch (error) {
      for (const { failed } of batch) failed(error as Error);
      return;
    }
    for (const { sample, written } of batch) {
      count(sample);
      written();
    }
    progressed(counts.done);
  };
  const write = (sample: Sample): Promise<void> => new Promise((written, failed) => {
    if (pending.push({ sample, written, failed }) === 1) setImmediate(flush); // K1
  });
  const count = (sample: Sample): void => {
    counts.done++;
    counts.truncated += sample.truncated ?? 0;
    counts.answers += sample.responses.length;
    if (sample.error !== undefined) { // K2
      counts.errors++;
      firstError ??= `${sample.error.code}: ${sample.error.message}`;
      somePassing ||= !/^HTTP_4(?!08|09|25|29)|^SCORER|^ANSWER_TOO_LARGE/.test(sample.error.code);
      return;
    }
    counts.answered++;
    if (sample.score === null) return;
    total += sample.score;
    add("score", sample.score);
    if (params.generation.n > 1) add("best", Math.max(...sample.scores));
    for (const [name, value] of Object.entries(sample.figures ?? {})) if (name !== "score" && name !== "best") add(name, value);
  };
  const add = (name: string, value: number): void => {
    const held = values.get(name);
    if (held === undefined) values.set(name, [value]);
    else held.push(value);
  };
  const scored = (): number => values.get("score")?.length ?? 0;

  const scoreAll = async (row: EvaluationRow, responses: readonly string[]): Promise<Pick<Sample, "scores" | "extracted" | "score" | "figures" | "error">> => {
    if (scoring === null) return { scores: [], extracted: [], score: null };
    const found: Score[] = [];
    try {
      for (const response of responses) {
        found.push(scoring.kind === "ours" ? scoring.score(response, row.groundTruth) : await scoring.program.score({ id: row.id, prompt: row.prompt, response, groundTruth: row.groundTruth, dataSource: row.dataSource }));
      }
    } catch (error) {
      if (!(error instanceof ScorerFailedError)) throw error;
      return { scores: [], extracted: [], score: null, error: { code: "SCORER_FAILED", message: conceal(error.message) } };
    }
    const figures = meansOf(found);
    return { scores: found.map(({ score }) => score), extracted: found.map(({ extracted }) => extracted), score: meanOf(found.map(({ score }) => score)), ...(figures === null ? {} : { figures }) };
  };

  const base = (row: EvaluationRow) => ({ id: row.id, prompt: [...row.prompt], groundTruth: row.groundTruth, ...(params.dataSource === undefined && typeof params.scorer === "string" ? {} : { dataSource: row.dataSource }) });

  return {
    async took(row, { answers, error }) {
      if (error !== undefined) return write({ ...base(row), responses: [], scores: [], extracted: [], score: null, error: { code: error.code, message: conceal(error.message) } });
      const responses = answers.map(({ text }) => conceal(text));
      const truncated = answers.filter((answer: ChatAnswer) => answer.truncated).length;
      return write({ ...base(row), responses, ...(await scoreAll(row, responses)), ...(truncated === 0 ? {} : { truncated }) });
    },
    async reuse(row, sample, scored) {
      if (scored && sample.error === undefined) return write(sample);
      const { error: _old, figures: _figures, ...rest } = sample;
      return write({ ...rest, ...(await scoreAll(row, sample.responses)) });
    },
    keep: (sample) => write(sample),
    recall: (sample) => count(sample),
    figures: () => ({
      scores: new Map([...values].map(([name, held]) => [name, { mean: meanOf(held)!, n: held.length, confidence: confidenceOf(held)! }])),
      counted: scoring === null ? counts.answered : scored(), errors: counts.errors, truncated: counts.truncated, answers: counts.answers, firstError, somePassing,
    }),
    get score() { return scored() === 0 ? null : total / scored(); },
    get errors() { return counts.errors; },
    get done() { return counts.done; },
  };
}

function meansOf(scores: readonly Score[]): Record<string, number> | null {
  const names = new Set(scores.flatMap(({ figures }) => Object.keys(figures ?? {})));
  if (names.size === 0) return null;
  return Object.fromEntries([...names].map((name) => [name, meanOf(scores.flatMap(({ figures }) => figures?.[name] ?? []))!]));
}
