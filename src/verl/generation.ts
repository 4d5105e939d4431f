// Evaluation of a local model with verl: main_generation_server draws the answers of a Parquet file of prompts, main_eval scores them by a reward function.
//   G1. The server's configuration is the RL trainer's; `responses` is added to the rows it was given, in their order, and everything is written at its end.
//   G2. It puts all dialogues into one array, so those of one file must have equally many messages; a single request that fails ends it.
//   G3. main_eval's own configuration has the old reward keys in every release; from 0.7.1 it reads the new ones, which its configuration lacks.

import type { EvaluateModelParams } from "../domain/evaluation/evaluate-params.js";
import { overrideArgument, type Override } from "./hydra.js";
import { force, set, when } from "./override-list.js";
import { keyTable, type Release } from "./releases.js";

export const GENERATION_MODULE = "verl.trainer.main_generation_server";
export const SCORING_MODULE = "verl.trainer.main_eval";
export const DEFAULT_PROMPT_TOKENS = 1_024;

/** Where it runs and where its files go. Paths are absolute. */
export interface GenerationContext {
  readonly python: string;
  readonly gpus: number;
  readonly promptsFile: string;
  readonly responsesFile: string;
  /** Hydra's own folder. */
  readonly hydraDir: string;
}

/** Keys that a user's override must not take, and what to use instead. */
export const OURS_IN_GENERATION: Readonly<Record<string, string>> = {
  "actor_rollout_ref.model.path": "use params.model", "actor_rollout_ref.rollout.name": "use params.engine", "actor_rollout_ref.rollout.n": "use params.generation",
  "data.train_files": "the rows of params.input are written to a file of the attempt", "data.output_path": "answers are kept in the attempt's own directory", "data.prompt_key": "the file of the rows is ours",
  "trainer.nnodes": "an evaluation runs on one node", "trainer.n_gpus_per_node": "use resources.gpus",
};

/** Every override of the generation server, ours and the user's, each key once. */
export function generationOverrides(params: EvaluateModelParams, release: Release, context: GenerationContext): readonly Override[] {
  const { generation: { n, temperature = n === 1 ? 0 : 1, topP, maxTokens, maxPromptTokens = DEFAULT_PROMPT_TOKENS } } = params;
  const { name = "vllm", tensorParallel = 1, memoryShare = 0.8 } = params.engine ?? {};
  const given = params.overrides ?? {};
  const own = [
    set("actor_rollout_ref.model.path", params.model!),
    set("actor_rollout_ref.rollout.name", name),
    set("actor_rollout_ref.rollout.n", n),
    set("actor_rollout_ref.rollout.temperature", temperature),
    ...when(topP !== undefined, set("actor_rollout_ref.rollout.top_p", topP ?? 1)),
    set("actor_rollout_ref.rollout.prompt_length", maxPromptTokens),
    set("actor_rollout_ref.rollout.response_length", maxTokens),
    set("actor_rollout_ref.rollout.tensor_model_parallel_size", tensorParallel),
    set("actor_rollout_ref.rollout.gpu_memory_utilization", memoryShare),
    set("data.train_files", [context.promptsFile]),
    set("data.prompt_key", "prompt"),
    force("data.output_path", context.responsesFile),
    set("trainer.nnodes", 1),
    set("trainer.n_gpus_per_node", context.gpus),
  ];
  const known = keyTable(release.release, "ppo_trainer");
  const chosen = Object.entries(given).filter(([key]) => !Object.hasOwn(OURS_IN_GENERATION, key)).map(([key, value]): Override => ({ key, value, mode: known.has(key) ? "set" : "force" }));
  return [...own.filter(({ key }) => !Object.hasOwn(given, key) || Object.hasOwn(OURS_IN_GENERATION, key)), ...chosen];
}

/** The argv of the generation server. Throws RangeError when an override cannot be written. */
export function generationCommand(params: EvaluateModelParams, release: Release, context: GenerationContext): readonly string[] {
  return [context.python, "-m", GENERATION_MODULE, ...generationOverrides(params, release, context).map(overrideArgument), ...hydraFolder(context.hydraDir)];
}

export interface ScoringContext extends Pick<GenerationContext, "python" | "responsesFile" | "hydraDir"> {
  readonly rewardFile: string;
  readonly rewardFunction: string;
}

/** Every override of main_eval (G3). */
export function scoringOverrides(release: Release, context: ScoringContext): readonly Override[] {
  const reward = release.rewardKeys === "reward"
    ? [force("reward.custom_reward_function.path", context.rewardFile), force("reward.custom_reward_function.name", context.rewardFunction)]
    : [set("custom_reward_function.path", context.rewardFile), set("custom_reward_function.name", context.rewardFunction)];
  return [set("data.path", context.responsesFile), set("data.prompt_key", "prompt"), set("data.response_key", "responses"), set("data.data_source_key", "data_source"), set("data.reward_model_key", "reward_model"), ...reward];
}

export function scoringCommand(release: Release, context: ScoringContext): readonly string[] {
  return [context.python, "-m", SCORING_MODULE, ...scoringOverrides(release, context).map(overrideArgument), ...hydraFolder(context.hydraDir)];
}

/** Ray prefixes its lines and colours them even when piped; both are switched off. */
export const GENERATION_ENVIRONMENT = { PYTHONUNBUFFERED: "1", HYDRA_FULL_ERROR: "1", TOKENIZERS_PARALLELISM: "true", RAY_COLOR_PREFIX: "0", RAY_DEDUP_LOGS: "0" } as const;

/** What main_eval says on its last line: a Python dict such as {'test_score/openai/gsm8k': np.float64(0.5)}. Null when the text holds none. */
export function scoresOfMainEval(output: string): Readonly<Record<string, number>> | null {
  const line = output.split(/\r?\n/).findLast((one) => /\{.*['"]test_score\//.test(one));
  if (line === undefined) return null;
  const scores: Record<string, number> = {};
  for (const match of line.matchAll(/(['"])test_score\/((?:(?!\1).)*)\1:\s*(?:np\.\w+\()?(-?\d+(?:\.\d*)?(?:e[+-]?\d+)?)\)?/gi)) scores[match[2]!] = Number(match[3]);
  return Object.keys(scores).length === 0 ? null : scores;
}

function hydraFolder(folder: string): readonly string[] {
  return [`hydra.run.dir=${overrideArgument(set("d", folder)).slice(2)}`, "hydra.output_subdir=null"];
}
