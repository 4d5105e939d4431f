// The data_source names that verl's own scorer knows (verl.utils.reward_score.default_compute_score; equal in 0.7.1 and 0.9.0). Any other name ends a training
// run at its first rollout, unless the run brings a reward function of its own.

const SCORED: Readonly<Record<string, string>> = {
  "openai/gsm8k": "math", "lighteval/MATH": "math", "DigitalLearningGmbH/MATH-lighteval": "math", "HuggingFaceH4/MATH-500": "math",
  math_dapo: "math", math: "math", math_dapo_reasoning: "math",
  numina_aops_forum: "math", numina_synthetic_math: "math", numina_amc_aime: "math", numina_synthetic_amc: "math", numina_cn_k12: "math", numina_olympiads: "math",
  codecontests: "code", apps: "code", codeforces: "code", taco: "code",
  "hiyouga/geometry3k": "geometry",
  searchR1_nq: "search", searchR1_triviaqa: "search", searchR1_popqa: "search", searchR1_hotpotqa: "search", searchR1_2wikimultihopqa: "search", searchR1_musique: "search", searchR1_bamboogle: "search",
};

/** Every name but the open-ended `aime…`. */
export const KNOWN_DATA_SOURCES: readonly string[] = Object.keys(SCORED);

/** Whether verl scores rows of this data_source by itself. */
export function hasScorer(dataSource: string): boolean {
  return Object.hasOwn(SCORED, dataSource) || dataSource.startsWith("aime");
}

/** The free word `ability` for a data_source; "general" when nothing is known about it. */
export function abilityOf(dataSource: string): string {
  return Object.hasOwn(SCORED, dataSource) ? SCORED[dataSource]! : dataSource.startsWith("aime") ? "math" : "general";
}
