// Answers that verl's RL trainer dumps, one JSON object per line in <step>.jsonl, and which of them are kept.
//   S1. A row is known by its prompt and by which of the answers to that prompt it is: a validation row has one key at every step.
//   S2. Rows are chosen by a hash of their prompt: the same validation rows at every step, and of a training step some prompts with several of their answers.

import { createHash } from "node:crypto";

export interface DumpedAnswer {
  readonly key: string;
  readonly prompt: string;
  readonly output: string;
  readonly truth: string | null;
  /** May be NaN or infinite; null: none was given. */
  readonly score: number | null;
}

/** Rows kept of one dump, and answers to one prompt among them. */
export const KEPT_ROWS = { train: 32, validation: 64 } as const;
const ANSWERS_PER_PROMPT = 4;

export interface AnswerPicker {
  take(line: string): void;
  /** The chosen ones, prompts together. */
  chosen(): readonly DumpedAnswer[];
}

/** Chooses at most `rows` of the lines it is given (S2); memory does not grow with them. */
export function createAnswerPicker(rows: number): AnswerPicker {
  const seen = new Map<string, number>();
  let kept: (DumpedAnswer & { readonly rank: string })[] = [];
  const order = (a: { rank: string }, b: { rank: string }) => (a.rank < b.rank ? -1 : a.rank > b.rank ? 1 : 0);
  return {
    take(line) {
      const row = readDumpLine(line);
      if (row === null) return;
      const hash = createHash("sha256").update(row.prompt).digest("hex").slice(0, 16);
      const position = seen.get(hash) ?? 0;
      seen.set(hash, position + 1);
      if (position >= ANSWERS_PER_PROMPT) return;
      kept.push({ ...row, key: `${hash}-${position}`, rank: `${hash}${position}` }); // S1
      if (kept.length > rows * 4) kept = kept.sort(order).slice(0, rows);
    },
    chosen: () => kept.sort(order).slice(0, rows).map(({ rank: _rank, ...answer }) => answer),
  };
}

/** Whether the answers of this step are kept: of a long run ever fewer, about 100 for each power of ten. Validations always are. */
export function keepsStep(source: keyof typeof KEPT_ROWS, step: number): boolean {
  if (source === "validation" || step < 100) return true;
  return step % 10 ** Math.floor(Math.log10(step / 10)) === 0;
}

/** The step of a dump's file name; null when it is none. */
export function stepOfDump(name: string): number | null {
  const match = /^(\d{1,15})\.jsonl$/.exec(name);
  return match === null ? null : Number(match[1]);
}

/** One line; null when it is none of verl's. Python's bare NaN and infinities are read. */
export function readDumpLine(line: string): Omit<DumpedAnswer, "key"> | null {
  let parsed: unknown;
  try {
    parsed = JSON.parse(/NaN|Infinity/.test(line) ? line.replace(/"(?:[^"\\]|\\.)*"|-?\bInfinity\b|\bNaN\b/g, (token) => (token.startsWith('"') ? token : `"${token}"`)) : line);
  } catch {
    return null;
  }
  const { input, output, gts, score } = (parsed ?? {}) as Record<string, unknown>;
  if (typeof input !== "string" || typeof output !== "string") return null;
  return { prompt: input, output, truth: gts === undefined || gts === null ? null : typeof gts === "string" ? gts : JSON.stringify(gts), score: scoreOf(score) };
}

function scoreOf(score: unknown): number | null {
  if (typeof score === "number") return score;
  return score === "NaN" || score === "Infinity" || score === "-Infinity" ? Number(score) : null;
}
