// Samples: what a model was asked and what it answered, one by one; from rollouts and validations of a training, and from evaluations. Pure.

/** train: a rollout; validation: asked during a training; evaluation: a row of an evaluate stage. */
export const SAMPLE_SOURCES = ["train", "validation", "evaluation"] as const;
export type SampleSource = (typeof SAMPLE_SOURCES)[number];

/** CORRECT: a score of at least 1. WRONG: any other score, NaN included. ERROR: no answer, or none that could be scored. UNSCORED: answered, and nobody scored it one by one. */
export const SAMPLE_VERDICTS = ["CORRECT", "WRONG", "ERROR", "UNSCORED"] as const;
export type SampleVerdict = (typeof SAMPLE_VERDICTS)[number];

/** What was asked and what came of it. */
export interface SampleContent {
  /** Names the row that was asked; at most 200 characters. */
  readonly key: string;
  readonly prompt: string;
  readonly output: string;
  readonly truth: string | null;
  /** May be NaN or infinite. */
  readonly score: number | null;
  readonly error: string | null;
}

export function verdictOf({ score, error }: { readonly score: number | null; readonly error: string | null }): SampleVerdict {
  if (error !== null) return "ERROR";
  if (score === null) return "UNSCORED";
  return score >= 1 ? "CORRECT" : "WRONG";
}

/** The text with at most `limit` UTF-16 units: of a longer one the middle is left out, and that is said where it stood. The end of an answer is worth as much as its beginning. */
export function cutText(text: string, limit: number): string {
  if (text.length <= limit) return text;
  const mark = (units: number) => `\n[… ${units} characters left out …]\n`;
  const room = limit - mark(text.length).length;
  const head = text.slice(0, Math.ceil(room / 2)).replace(/[\ud800-\udbff]$/, "");
  const tail = text.slice(text.length - Math.floor(room / 2)).replace(/^[\udc00-\udfff]/, "");
  return `${head}${mark(text.length - head.length - tail.length)}${tail}`;
}
