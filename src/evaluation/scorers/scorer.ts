// What every scorer gives, and the choice among those that are ours. They are pure: the same response and ground truth give the same score everywhere.

import type { EvaluateModelParams, ScorerName } from "../../domain/evaluation/evaluate-params.js";
import { scoreChoice } from "./choice.js";
import { scoreMath } from "./math.js";
import { scoreNumeric } from "./numeric.js";
import { scoreContains, scoreExact } from "./text.js";

export interface Score {
  /** 0 to 1 for scorers of ours; any finite number for a program's. */
  readonly score: number;
  /** What was taken for the answer; null when the response gives none. */
  readonly extracted: string | null;
  /** Further figures of a program, name → number. */
  readonly figures?: Readonly<Record<string, number>>;
}

export type Scorer = (response: string, groundTruth: string) => Score;

/** A scorer by its name. */
export function scorerOf(name: ScorerName, { tolerance = 0, ignoreCase = false }: Pick<EvaluateModelParams, "tolerance" | "ignoreCase">): Scorer {
  switch (name) {
    case "exact": return (response, truth) => scoreExact(response, truth, ignoreCase);
    case "contains": return (response, truth) => scoreContains(response, truth, ignoreCase);
    case "numeric": return (response, truth) => scoreNumeric(response, truth, tolerance);
    case "math": return (response, truth) => scoreMath(response, truth, tolerance);
    case "choice": return scoreChoice;
  }
}

/** Right or wrong. */
export function judged(right: boolean, extracted: string | null): Score {
  return { score: right ? 1 : 0, extracted };
}

/** Longest `extracted`, in UTF-16 units: it is for people. */
const SHOWN = 500;

export function shortened(text: string): string {
  return text.length <= SHOWN ? text : `${text.slice(0, SHOWN).toWellFormed()}…`;
}
