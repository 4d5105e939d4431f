// Two evaluations of the same rows, sample by sample: what got better, what got worse, and whether chance explains it. Pure.

import { bootstrap, meanOf, signTest, type Confidence } from "./statistics.js";

/** What is compared of a sample. */
export interface ScoredSample {
  /** Content hash of the row: equal rows of two evaluations have equal ids. */
  readonly id: string;
  /** Null when the row got no answer or no score. */
  readonly score: number | null;
}

export const CHANGES = ["fixed", "broken", "unchanged"] as const;
export type Change = (typeof CHANGES)[number];

export interface Comparison {
  /** Rows that both scored. */
  readonly compared: number;
  /** Ids with a higher score in the second, in its order. */
  readonly fixed: readonly string[];
  /** Ids with a lower score in the second, in its order. */
  readonly broken: readonly string[];
  /** Ids with the same score in both, in the order of the second. */
  readonly unchanged: readonly string[];
  /** Rows that only one of them has, or that one of them could not score. */
  readonly onlyInFirst: number;
  readonly onlyInSecond: number;
  /** Means over the rows that both scored; null without any. */
  readonly means: { readonly first: number; readonly second: number; readonly difference: number } | null;
  /** Of the difference, by bootstrap; null without rows, or when no row changed. */
  readonly confidence: Confidence | null;
  readonly test: {
    /** mcnemar: every score is 0 or 1. sign: scores in between; only the direction of a change counts. */
    readonly method: "mcnemar" | "sign";
    /** Two-sided: how likely chance alone brings changes as uneven as these. */
    readonly p: number;
  };
}

/** How one row fared. */
export function changeOf(first: number, second: number): Change {
  return second > first ? "fixed" : second < first ? "broken" : "unchanged";
}

/** Compares by id. Of samples with the same id within one evaluation the last counts. */
export function compareSamples(first: Iterable<ScoredSample>, second: Iterable<ScoredSample>): Comparison {
  const before = scoresById(first);
  const after = scoresById(second);
  const changes: Record<Change, string[]> = { fixed: [], broken: [], unchanged: [] };
  const [firstScores, secondScores]: [number[], number[]] = [[], []];
  for (const [id, score] of after) {
    const old = before.get(id);
    if (old === undefined) continue;
    firstScores.push(old);
    secondScores.push(score);
    changes[changeOf(old, score)].push(id);
  }
  const compared = firstScores.length;
  const [a, b] = [meanOf(firstScores), meanOf(secondScores)];
  const binary = [firstScores, secondScores].every((scores) => scores.every((score) => score === 0 || score === 1));
  const differences = secondScores.map((score, index) => score - firstScores[index]!);
  const { fixed, broken } = changes;
  return {
    compared, ...changes,
    onlyInFirst: before.size - compared, onlyInSecond: after.size - compared,
    means: a === null || b === null ? null : { first: a, second: b, difference: b - a },
    confidence: fixed.length + broken.length === 0 ? null : bootstrap(differences),
    test: { method: binary ? "mcnemar" : "sign", p: signTest(fixed.length, broken.length) },
  };
}

function scoresById(samples: Iterable<ScoredSample>): Map<string, number> {
  const scores = new Map<string, number>();
  for (const { id, score } of samples) {
    if (score === null) scores.delete(id);
    else scores.set(id, score);
  }
  return scores;
}
