// A recipe as a pipeline that can be submitted as it stands: the data prepared where they are raw, then the training.

import { ALGORITHM_FACTS } from "../domain/training/algorithms.js";
import type { KnownRelease } from "./releases.js";
import type { Recipe } from "./recipes.js";

/** What a recipe leaves open. Give `data`, or `trainFiles`. */
export interface RecipeUse {
  /** Of the pipeline; default: the recipe's. */
  readonly name?: string | undefined;
  /** Instead of the recipe's model: a path on the host or a hub id. */
  readonly model?: string | undefined;
  /** Raw data, by path or dataset:<name>: a preprocess stage makes them ready and holds a part back to validate on. */
  readonly data?: string | undefined;
  /** For raw data of reinforcement learning: what verl chooses the scorer by. */
  readonly dataSource?: string | undefined;
  /** Files that are ready. */
  readonly trainFiles?: readonly string[] | undefined;
  readonly valFiles?: readonly string[] | undefined;
  readonly verl?: KnownRelease | undefined;
  /** Runs the stand-in, which needs no GPU. */
  readonly simulate?: boolean | undefined;
}

/** GPUs of a host, as far as recipes are spread over several. */
const GPUS_PER_HOST = 8;
/** Share of raw data that is held back. */
const HELD_BACK = 0.05;

/** GPUs on each of so many hosts. */
export function resourcesOf({ gpus }: Pick<Recipe, "gpus">): { readonly gpus: number; readonly nodes: number } {
  return gpus <= GPUS_PER_HOST ? { gpus, nodes: 1 } : { gpus: GPUS_PER_HOST, nodes: Math.ceil(gpus / GPUS_PER_HOST) };
}

/** The specification. Whether it can run says validatePipeline. */
export function recipePipeline(recipe: Recipe, use: RecipeUse): { readonly name: string; readonly labels: Readonly<Record<string, string>>; readonly stages: readonly object[] } {
  const { gpus, nodes } = resourcesOf(recipe);
  const prepares = use.trainFiles === undefined && use.data !== undefined;
  const params = {
    ...recipe.params,
    ...(use.model === undefined ? {} : { model: use.model }),
    ...(prepares
      ? { trainFiles: "${stages.prepare.outputs.trainFile}", valFiles: "${stages.prepare.outputs.validationFile}" }
      : { trainFiles: only(use.trainFiles ?? []), ...(use.valFiles === undefined || use.valFiles.length === 0 ? {} : { valFiles: only(use.valFiles) }) }),
    ...(use.verl === undefined ? {} : { verl: use.verl }),
    ...(use.simulate === true ? simulated(recipe) : {}),
  };
  const train = {
    name: "train", kind: "train", description: `${recipe.title}, as in verl's ${recipe.source}.`, ...(prepares ? { dependsOn: ["prepare"] } : {}),
    ...(use.simulate === true ? {} : { resources: { gpus, ...(nodes === 1 ? {} : { nodes }) } }), retry: { maxAttempts: 2 }, params,
  };
  return { name: use.name ?? recipe.name, labels: { recipe: recipe.name }, stages: [...(prepares ? [preparation(recipe, use)] : []), train] };
}

/** Without GPUs a run is a world of one, which no engine of several GPUs fits into. */
function simulated({ params }: Recipe): object {
  const rollout = params["rollout"] as { readonly tensorParallel?: number } | undefined;
  return { simulate: true, ...(rollout?.tensorParallel === undefined ? {} : { rollout: { ...rollout, tensorParallel: 1 } }) };
}

function preparation(recipe: Recipe, { data, dataSource }: RecipeUse): object {
  const task = ALGORITHM_FACTS[recipe.algorithm].data;
  const reward = recipe.params["reward"] as { readonly model?: string; readonly file?: string } | undefined;
  return {
    name: "prepare", kind: "preprocess",
    params: {
      input: data, task, split: { validation: HELD_BACK },
      ...(task !== "rl" ? {} : dataSource !== undefined ? { dataSource } : reward?.model !== undefined ? { rewardStyle: "model" } : {}),
    },
  };
}

function only<T>(list: readonly T[]): T | readonly T[] {
  return list.length === 1 ? list[0]! : list;
}
