// What can be known wrong with a training run before a GPU is taken: verl's own rules, which it would only find out minutes after the start, judged on the
// configuration as verl would read it. Errors block; warnings tell. The numbers in the comments are those of verl's checks as DESIGN's sources list them.


import { ALGORITHM_FACTS } from "../domain/training/algorithms.js";
import type { Problem } from "../domain/errors.js";
import { filesOf, type TrainParams } from "../domain/training/train-params.js";
import { effectiveConfig, type EffectiveConfig } from "./effective-config.js";
import { engineOf } from "./engines.js";
import { engineProblem, ENGINE_RULES } from "./preflight-engine.js";
import { worldSize } from "./launch-context.js";
import { overrideProblems } from "./override-check.js";
import { RL_RULES, sequenceParallel } from "./preflight-rl.js";
import { asProblem, NONE, refuse, warn, type Facts, type PreflightInput, type Rule } from "./preflight-rule.js";

export type { DataFacts, ModelFacts, PreflightInput } from "./preflight-rule.js";

/** Every rule that the run would break. */
export function preflight(input: PreflightInput): Problem[] {
  const unoffered = engineProblem(input);
  if (unoffered !== null) return [asProblem(unoffered, input.path)]; // the rules would judge a configuration that is not there
  const overrides = ALGORITHM_FACTS[input.params.algorithm].trainer === "trl-dpo" ? [] : overrideProblems(input.params, input.release, `${input.path}.overrides`);
  if (overrides.some((found) => found.severity === "ERROR")) return overrides; // the rules would judge a configuration that nobody means
  const facts: Facts = { ...input, config: effectiveConfig(input.params, input.release, input.context), gpus: worldSize(input.context) };
  const { trainer } = ALGORITHM_FACTS[input.params.algorithm];
  const rules = [...COMMON_RULES, ...(trainer === "trl-dpo" ? [] : ENGINE_RULES), ...(trainer === "verl-sft" ? SFT_RULES : trainer === "verl-rl" ? RL_RULES : DPO_RULES)];
  return [...overrides, ...rules.flatMap((rule) => rule(facts)).map((found) => asProblem(found, input.path))];
}

// ── rules of every trainer ──────────────────────────────────────────────────────────────────────────

const COMMON_RULES: readonly Rule[] = [
  ({ params, data }) => {
    const needed = ALGORITHM_FACTS[params.algorithm].data;
    return data?.tasks == null || data.tasks.includes(needed) ? NONE
      : refuse("trainFiles", "UNSUITABLE_DATA", `The train files do not have the columns that ${params.algorithm} needs.`, `Prepare them with a preprocess stage and task: ${needed}.`);
  },
  ({ params }) => {
    const given = [...Object.entries(params.overrides).map(([key, value]) => [`overrides.${key}`, value] as const), ...Object.entries(params.reward?.arguments ?? {}).map(([key, value]) => [`reward.arguments.${key}`, value] as const)];
    return given.filter(([, value]) => JSON.stringify(value).includes("secret://")).flatMap(([field]) => refuse(field, "SECRET_IN_OVERRIDE", "A secret cannot stand there: the trainer prints its whole configuration.", "Give it in params.env, and let the program read the variable."));
  },
  ({ params }) => (params.simulate ? warn("simulate", "SIMULATED", "This stage runs a stand-in that trains nothing.", "Remove simulate to train.") : NONE),
  ({ params, context }) => (params.simulate || context.device !== "cpu" || ALGORITHM_FACTS[params.algorithm].trainer !== "verl-rl" ? NONE
    : refuse("algorithm", "NEEDS_GPU", `${params.algorithm} needs at least one GPU: verl's rollout engines run on nothing else.`, "Set resources: { gpus: 1 } or more.")),
  ({ params, config, model, gpus, release }) => {
    const size = params.algorithm === "sft" ? sftSequence(config, params) : sequenceParallel(config, release, params);
    if (size === 1) return NONE;
    return [ // 9
      ...(gpus % size === 0 ? NONE : refuse("sequenceParallel", "INDIVISIBLE_GPUS", `${gpus} GPUs cannot be shared out in groups of ${size} for one sequence.`, `Choose a divisor of ${gpus}.`)),
      ...(config.flag(params.algorithm === "sft" ? "model.use_remove_padding" : "actor_rollout_ref.model.use_remove_padding") ? NONE : refuse("sequenceParallel", "NEEDS_REMOVE_PADDING", "Sequence parallelism works on packed rows only.", "Leave model.use_remove_padding at true.")),
      ...(model === null || (model.attentionHeads % size === 0 && (model.keyValueHeads % size === 0 || size % model.keyValueHeads === 0)) ? NONE
        : refuse("sequenceParallel", "INDIVISIBLE_HEADS", `The model's ${model.attentionHeads} attention heads (${model.keyValueHeads} for keys) cannot be shared by ${size} GPUs.`)),
    ];
  },
];

// ── supervised fine-tuning ──────────────────────────────────────────────────────────────────────────

/** GPUs that share one sequence. */
function sftSequence(config: EffectiveConfig, params: TrainParams): number {
  const { sequence } = engineOf(params);
  return sequence === null ? 1 : (config.number(`engine.${sequence}`) ?? 1);
}

/** Data-parallel groups: GPUs that see different rows. */
function sftGroups({ config, gpus, params }: Facts): number {
  return Math.max(1, Math.floor(gpus / engineOf(params).copy.reduce((product, name) => product * (config.number(`engine.${name}`) ?? 1), 1)));
}

const SFT_RULES: readonly Rule[] = [
  (facts) => { // 12
    const batch = facts.config.number("data.train_batch_size") ?? 0;
    const groups = sftGroups(facts);
    return batch % groups === 0 ? NONE : refuse("batchSize", "INDIVISIBLE_BATCH", `${batch} rows cannot be shared out evenly to ${groups} GPUs; verl would train with ${batch - (batch % groups)} without a word.`, `Choose a multiple of ${groups}.`);
  },
  (facts) => { // 13
    if (facts.config.flag("data.use_dynamic_bsz")) return NONE;
    const perGroup = Math.floor((facts.config.number("data.train_batch_size") ?? 0) / sftGroups(facts));
    const micro = facts.config.number("data.micro_batch_size_per_gpu") ?? 1;
    return perGroup % micro === 0 ? NONE : refuse("microBatchSize", "INDIVISIBLE_BATCH", `${perGroup} rows per GPU cannot be cut into micro batches of ${micro}.`, `Choose a divisor of ${perGroup}.`);
  },
  ({ config }) => (["trainer.save_freq", "trainer.test_freq"] as const).flatMap((key) => (config.value(key) !== 0 ? NONE : refuse(key === "trainer.save_freq" ? "saveEvery" : "testEvery", "ZERO_FREQUENCY", `${key} of 0 ends verl with a division by zero.`, "Use never."))), // 14
  ({ params, config }) => { // 14
    const testing = config.value("trainer.test_freq");
    return testing === -1 || filesOf(params.valFiles).length > 0 || config.value("data.val_files") != null ? NONE : refuse("testEvery", "NEEDS_VALIDATION", "testEvery needs valFiles.", "Give valFiles, or set testEvery: never.");
  },
  ({ config, params }) => { // 10
    const longest = config.number("data.max_length") ?? 0;
    const room = (config.number("data.max_token_len_per_gpu") ?? 0) * sftSequence(config, params);
    return !config.flag("data.use_dynamic_bsz") || room >= longest ? NONE : refuse("maxTokensPerGpu", "TOO_FEW_TOKENS", `A row may have ${longest} tokens, but a GPU takes ${room} at once.`, `Set maxTokensPerGpu to at least ${longest}.`);
  },
  (facts) => { // 11
    const batch = facts.config.number("data.train_batch_size") ?? 0;
    const rows = facts.data?.trainRows ?? null;
    const groups = sftGroups(facts);
    return rows === null || Math.floor(rows / groups) >= Math.floor(batch / groups) ? NONE : refuse("batchSize", "TOO_FEW_ROWS", `The train files have ${rows} rows, fewer than one batch of ${batch}.`, `Set batchSize to ${Math.max(groups, rows - (rows % groups))} or less.`);
  },
  (facts) => {
    const batch = facts.config.number("data.train_batch_size") ?? 1;
    const { steps } = facts.params;
    const rows = facts.data?.trainRows ?? null;
    const available = rows === null ? null : Math.floor(rows / batch) * (facts.config.number("trainer.total_epochs") ?? 1);
    return steps === undefined || available === null || steps <= available ? NONE
      : refuse("steps", "TOO_MANY_STEPS", `The data hold ${available} steps, fewer than the ${steps} asked for: verl would end well and leave no final checkpoint.`, `Set steps to ${available} or less, or more epochs.`);
  },
  ({ config, model }) => (model === null || (config.number("data.max_length") ?? 0) <= model.maxPositions ? NONE : refuse("maxLength", "BEYOND_MODEL", `The model reads ${model.maxPositions} tokens at most.`, `Set maxLength to ${model.maxPositions} or less.`)),
  ({ params, context }) => (context.device !== "cpu" || params.simulate ? NONE : warn("algorithm", "CPU_TRAINING", "Without a GPU verl's SFT trainer needs the shim of examples/verl-on-cpu, and is for trials only.", "Set resources: { gpus: 1 } or more.")),
];

const DPO_RULES: readonly Rule[] = [
  ({ params, context }) => {
    const batch = params.batchSize ?? 32;
    const micro = params.microBatchSize ?? 4;
    const per = micro * worldSize(context);
    return batch % per === 0 ? NONE : refuse("batchSize", "INDIVISIBLE_BATCH", `${batch} pairs cannot be made of ${worldSize(context)} × ${micro}.`, `Choose a multiple of ${per}.`);
  },
  ({ params }) => Object.keys(params.overrides).flatMap((key) => (Object.hasOwn(OURS_IN_DPO, key) ? refuse(`overrides.${key}`, "RESERVED_OVERRIDE", `"${key}" is set by Trainyard: ${OURS_IN_DPO[key]!}.`, "Leave it out.") : NONE)),
  ({ params }) => (Object.keys(params.overrides).length === 0 ? NONE : warn("overrides", "TRL_OVERRIDES", "For dpo the overrides are arguments of `trl dpo`; they are passed on unchecked.")),
];

/** Arguments of TRL that decide what the attempt leaves where, and how its lines are read. */
const OURS_IN_DPO: Readonly<Record<string, string>> = {
  output_dir: "every attempt keeps its checkpoints in its own directory",
  dataset_name: "use params.trainFiles",
  logging_steps: "each line of the console is one step",
  resume_from_checkpoint: "use params.resume",
  model_name_or_path: "use params.model",
};
