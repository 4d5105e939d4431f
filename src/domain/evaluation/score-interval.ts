// How sure the scores of an evaluation are, as its outputs say it (`intervals`). Pure.

import { z } from "zod";
import type { Outputs } from "../pipeline/state.js";

const finite = z.number();
const scoreIntervalSchema = z.object({
  /** Rows that the score is the mean of. */
  n: z.number().int().nonnegative(),
  low: finite.optional(),
  high: finite.optional(),
  /** E.g. 0.95. */
  level: finite.optional(),
  method: z.string().max(50).optional(),
});
export type ScoreInterval = z.infer<typeof scoreIntervalSchema>;

/** The intervals of outputs whose scores are usable (evaluationProblems), by score. Programs need not tell any, and what is none is passed over. */
export function intervalsIn({ scores, intervals }: Outputs): Record<string, ScoreInterval> {
  if (typeof intervals !== "object" || intervals === null || Array.isArray(intervals)) return {};
  return Object.fromEntries(Object.entries(intervals).flatMap(([name, value]) => {
    const parsed = Object.hasOwn(scores as object, name) ? scoreIntervalSchema.safeParse(value) : null;
    return parsed?.success === true ? [[name, parsed.data]] : [];
  }));
}
