// The algorithms as the API names them; what each is stands in domain/training/algorithms.ts.

import type { DataTask } from "../domain/data/preprocess-params.js";
import { ALGORITHM_FACTS, ALGORITHMS, type Algorithm } from "../domain/training/algorithms.js";
import { builder } from "./builder.js";

export const TrainingAlgorithm = builder.enumType("TrainingAlgorithm", {
  description: "How a model is trained. SFT learns answers; DPO learns from pairs of a better and a worse answer; the others are reinforcement learning on prompts with a reward.",
  values: Object.fromEntries(ALGORITHMS.map((algorithm) => [algorithm.toUpperCase(), { value: algorithm, description: `${ALGORITHM_FACTS[algorithm].title}.` }])) as Record<Uppercase<Algorithm>, { value: Algorithm; description: string }>,
});

/** Algorithms that data with columns for these tasks can train, in the order of the enum. */
export function algorithmsFor(tasks: readonly DataTask[]): Algorithm[] {
  return ALGORITHMS.filter((algorithm) => tasks.includes(ALGORITHM_FACTS[algorithm].data));
}
