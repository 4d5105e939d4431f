// The algorithms a train stage may name, and what each needs. verl runs all but DPO: verl has no offline DPO, so that one goes through TRL and says so.

export const ALGORITHMS = ["sft", "ppo", "grpo", "dpo", "gspo", "dapo", "rloo", "remax", "reinforce_plus_plus"] as const;
export type Algorithm = (typeof ALGORITHMS)[number];

/** Which program trains: verl's SFT trainer, verl's RL trainer, or TRL's `trl dpo`. */
export type Trainer = "verl-sft" | "verl-rl" | "trl-dpo";

/** Programs that draw answers for verl; the first is the default. */
export const ROLLOUT_ENGINES = ["vllm", "sglang"] as const;
export type RolloutEngine = (typeof ROLLOUT_ENGINES)[number];

export interface AlgorithmFacts {
  readonly trainer: Trainer;
  /** In words, for lists. */
  readonly title: string;
  /** Task that the data must be prepared for (a preprocess stage's `task`). */
  readonly data: "sft" | "rl" | "preference";
  /** Trains a critic of the same size. */
  readonly critic: boolean;
  /** Fewest answers per prompt that make sense (rollout.n); null: none are drawn. */
  readonly fewestAnswers: number | null;
}

export const ALGORITHM_FACTS: Readonly<Record<Algorithm, AlgorithmFacts>> = {
  sft: { trainer: "verl-sft", title: "Supervised fine-tuning", data: "sft", critic: false, fewestAnswers: null },
  ppo: { trainer: "verl-rl", title: "PPO", data: "rl", critic: true, fewestAnswers: 1 },
  grpo: { trainer: "verl-rl", title: "GRPO", data: "rl", critic: false, fewestAnswers: 2 },
  gspo: { trainer: "verl-rl", title: "GSPO", data: "rl", critic: false, fewestAnswers: 2 },
  dapo: { trainer: "verl-rl", title: "DAPO (core form, without dynamic sampling)", data: "rl", critic: false, fewestAnswers: 2 },
  rloo: { trainer: "verl-rl", title: "RLOO", data: "rl", critic: false, fewestAnswers: 2 },
  remax: { trainer: "verl-rl", title: "ReMax", data: "rl", critic: false, fewestAnswers: 1 },
  reinforce_plus_plus: { trainer: "verl-rl", title: "REINFORCE++", data: "rl", critic: false, fewestAnswers: 1 },
  dpo: { trainer: "trl-dpo", title: "DPO (through TRL)", data: "preference", critic: false, fewestAnswers: null },
};
