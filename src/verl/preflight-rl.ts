// The rules of verl's RL trainer. The numbers in the comments are those of verl's checks as DESIGN's sources list them.

import { hasScorer } from "../domain/data/data-sources.js";
import { nearestName } from "../domain/pipeline/dag.js";
import { ALGORITHM_FACTS } from "../domain/training/algorithms.js";
import { filesOf, type TrainParams } from "../domain/training/train-params.js";
import type { EffectiveConfig } from "./effective-config.js";
import { engineOf, isFsdp } from "./engines.js";
import { NONE, refuse, warn, type Facts, type Finding, type Rule } from "./preflight-rule.js";
import { KNOWN_RELEASES, registeredIn, type Release } from "./releases.js";

const ACTOR = "actor_rollout_ref.actor";
const ROLLOUT = "actor_rollout_ref.rollout";

interface RlNumbers { readonly batch: number; readonly n: number; readonly mini: number; readonly sp: number; /** Groups of GPUs that see different rows. */ readonly groups: number; readonly megatron: boolean; readonly dynamic: boolean; readonly micro: number | null; readonly estimator: string | null; readonly kl: boolean; readonly critic: boolean }
function rl({ config, params, release, gpus }: Facts): RlNumbers {
  const estimator = config.text("algorithm.adv_estimator");
  const megatron = params.strategy === "megatron";
  const sp = sequenceParallel(config, release, params);
  return {
    batch: config.number("data.train_batch_size") ?? 0, n: config.number(`${ROLLOUT}.n`) ?? 1, mini: config.number(`${ACTOR}.ppo_mini_batch_size`) ?? 0, sp, megatron,
    groups: Math.max(1, Math.floor(gpus / (isFsdp(params) ? sp : copySize(config, params)))),
    dynamic: config.flag(`${ACTOR}.use_dynamic_bsz`), micro: config.number(`${ACTOR}.ppo_micro_batch_size_per_gpu`), estimator,
    kl: config.flag(`${ACTOR}.use_kl_loss`) || config.flag("algorithm.use_kl_in_reward"), critic: config.flag("critic.enable") || estimator === "gae",
  };
}

/** GPUs that share one sequence. Engines read the FSDP settings, where the older key goes first. */
export function sequenceParallel(config: EffectiveConfig, { engineWorkers }: Release, params: TrainParams): number {
  const { group, sequence } = engineOf(params);
  if (!isFsdp(params)) return sequence === null ? 1 : (config.number(`${ACTOR}.${group}.${sequence}`) ?? 1);
  const older = config.number(`${ACTOR}.ulysses_sequence_parallel_size`) ?? 1;
  return older > 1 || !engineWorkers ? older : (config.number(`${ACTOR}.fsdp_config.ulysses_sequence_parallel_size`) ?? 1);
}

/** GPUs that see the same rows. */
function copySize(config: EffectiveConfig, params: TrainParams): number {
  const { group, copy } = engineOf(params);
  return copy.reduce((product, name) => product * (config.number(`${ACTOR}.${group}.${name}`) ?? 1), 1);
}

const ESTIMATORS_OF: Readonly<Record<string, readonly string[]>> = {
  ppo: ["gae"], grpo: ["grpo", "grpo_vectorized", "grpo_passk", "opo", "gpg", "gdpo", "optimal_token_baseline", "tir_optimal_token_baseline"], gspo: ["grpo", "grpo_vectorized"], dapo: ["grpo", "grpo_vectorized"],
  rloo: ["rloo", "rloo_vectorized"], remax: ["remax"], reinforce_plus_plus: ["reinforce_plus_plus", "reinforce_plus_plus_baseline"],
};
/** verl imports these modules when it starts; estimators and losses that they register are taken like its own. */
const OWN_MODULES = "VERL_USE_EXTERNAL_MODULES";
const KL_TYPES = /^(?:kl|k1|abs|mse|k2|low_var_kl|k3|full)\+?$/;

/** A name that the release does not register, unless modules of the user's own may: which releases do, or which of this one's is nearest. */
function unknownName({ params, release }: Facts, kind: "estimators" | "losses", name: string, field: string, code: string, what: string, most: readonly string[] = registeredIn(release.release)[kind]): readonly Finding[] {
  if (params.env?.[OWN_MODULES] !== undefined) return NONE;
  const having = KNOWN_RELEASES.filter((known) => registeredIn(known)[kind].includes(name));
  const near = nearestName(name, registeredIn(release.release)[kind]);
  const hint = having.length > 0 ? `${having.join(", ")} ${having.length === 1 ? "has" : "have"} it: set verl.` : near !== null ? `Did you mean "${near}"?` : `It has ${most.join(", ")}.`;
  return refuse(field, code, `verl ${release.release} has no ${what} "${name}".`, `${hint} One of your own needs ${OWN_MODULES} in env.`);
}

export const RL_RULES: readonly Rule[] = [
  ({ params }) => (filesOf(params.valFiles).length > 0 || params.overrides["data.val_files"] !== undefined ? NONE : refuse("valFiles", "MISSING_FIELD", "verl needs validation files for reinforcement learning.", "Give valFiles; a preprocess stage makes them with split.")),
  (facts) => {
    const { estimator } = rl(facts);
    const { estimators } = registeredIn(facts.release.release);
    const fitting = (ESTIMATORS_OF[facts.params.algorithm] ?? []).filter((name) => estimators.includes(name));
    if (estimator === null || fitting.includes(estimator)) return NONE;
    if (!estimators.includes(estimator)) return unknownName(facts, "estimators", estimator, "overrides.algorithm.adv_estimator", "UNKNOWN_ESTIMATOR", "advantage estimator", fitting);
    return refuse("overrides.algorithm.adv_estimator", "ALGORITHM_MISMATCH", `algorithm is ${facts.params.algorithm}, but the estimator "${estimator}" is another one's.`, `Use ${fitting.join(" or ")}, or name the algorithm that you mean.`);
  },
  (facts) => { // 1
    const size = engineOf(facts.params).sequence === null ? copySize(facts.config, facts.params) : 1; // what shares a sequence has a rule of its own
    return facts.gpus % size === 0 ? NONE : refuse("overrides", "INDIVISIBLE_GPUS", `${facts.gpus} GPUs cannot be shared out to copies of the model of ${size} GPUs (tensor × pipeline × context parallelism).`, `Choose sizes whose product divides ${facts.gpus}.`);
  },
  (facts) => { // 1, 6
    const { batch, n, dynamic, groups, megatron, micro } = rl(facts);
    const divisor = dynamic ? groups : megatron ? groups * (micro ?? 1) : facts.gpus;
    return (batch * n) % divisor === 0 ? NONE : refuse("batchSize", "INDIVISIBLE_BATCH", `${batch} prompts × ${n} answers = ${batch * n} rows cannot be shared out evenly: they must be a multiple of ${divisor}.`, `Choose batchSize so that batchSize × answers is a multiple of ${divisor}.`);
  },
  (facts) => { // 2
    const { batch, mini } = rl(facts);
    const critic = facts.config.number("critic.ppo_mini_batch_size") ?? mini;
    return [
      ...(batch >= mini ? NONE : refuse("miniBatchSize", "MINI_ABOVE_BATCH", `miniBatchSize ${mini} is larger than batchSize ${batch}.`, `Set miniBatchSize to ${batch} or less.`)),
      ...(!rl(facts).critic || batch >= critic ? NONE : refuse("overrides.critic.ppo_mini_batch_size", "MINI_ABOVE_BATCH", `The critic's mini batch ${critic} is larger than batchSize ${batch}.`)),
    ];
  },
  (facts) => { // 3
    const { mini, n, groups, dynamic, micro } = rl(facts);
    const perGpu = Math.floor((mini * n) / groups);
    if (perGpu < 1) return refuse("miniBatchSize", "MINI_BELOW_GPUS", `${mini} prompts × ${n} answers are fewer rows than the ${groups} ${groups === facts.gpus ? "GPUs" : "groups of GPUs"} that share them.`, "Raise miniBatchSize or answers.");
    return dynamic || micro === null || perGpu % micro === 0 ? NONE : refuse("microBatchSize", "INDIVISIBLE_BATCH", `${perGpu} rows per GPU and update cannot be cut into micro batches of ${micro}.`, `Choose a divisor of ${perGpu}.`);
  },
  (facts) => { // 3, of the critic, where its sizes are not the actor's
    const { config, params, gpus } = facts;
    const { critic, n } = rl(facts);
    if (!critic || !isFsdp(params)) return NONE;
    const [mini, micro] = [config.number("critic.ppo_mini_batch_size"), config.number("critic.ppo_micro_batch_size_per_gpu")];
    if (mini === null || (mini === rl(facts).mini && micro === rl(facts).micro)) return NONE;
    const groups = Math.max(1, Math.floor(gpus / (config.number("critic.ulysses_sequence_parallel_size") ?? 1)));
    const perGpu = Math.floor((mini * n) / groups);
    if (perGpu < 1) return refuse("overrides.critic.ppo_mini_batch_size", "MINI_BELOW_GPUS", `The critic's mini batch of ${mini} × ${n} rows is smaller than the ${groups} GPUs that share it.`, "Raise it.");
    return config.flag("critic.use_dynamic_bsz") || micro === null || perGpu % micro === 0 ? NONE
      : refuse("overrides.critic.ppo_micro_batch_size_per_gpu", "INDIVISIBLE_BATCH", `The critic's ${perGpu} rows per GPU and update cannot be cut into micro batches of ${micro}.`, `Choose a divisor of ${perGpu}.`);
  },
  (facts) => { // 4
    const { dynamic, kl, critic } = rl(facts);
    if (dynamic) return NONE;
    const both = (prefix: string, name: string, field: string): readonly Finding[] => {
      const perGpu = facts.config.value(`${prefix}.${name}_per_gpu`) ?? null;
      const global = facts.config.value(`${prefix}.${name}`) ?? null;
      if (perGpu === null && global === null) return refuse(field, "MISSING_MICRO_BATCH", `Without dynamic batching ${prefix}.${name}_per_gpu must be set.`, "Set microBatchSize.");
      return perGpu !== null && global !== null ? refuse(field, "TWO_MICRO_BATCHES", `Both ${prefix}.${name} and ${prefix}.${name}_per_gpu are set; verl takes one.`, `Remove ${prefix}.${name}.`) : NONE;
    };
    return [
      ...both(ACTOR, "ppo_micro_batch_size", "microBatchSize"), ...both(ROLLOUT, "log_prob_micro_batch_size", "microBatchSize"),
      ...(kl ? both("actor_rollout_ref.ref", "log_prob_micro_batch_size", "microBatchSize") : NONE), ...(critic ? both("critic", "ppo_micro_batch_size", "microBatchSize") : NONE),
    ];
  },
  (facts) => { // 5
    const { batch, n, estimator } = rl(facts);
    const workers = facts.config.number(`${ROLLOUT}.agent.num_workers`) ?? 8;
    const bad = (batch * n) % workers !== 0 || (estimator === "remax" && batch % workers !== 0);
    return bad ? refuse("batchSize", "INDIVISIBLE_WORKERS", `${batch} prompts × ${n} answers cannot be shared out evenly to verl's ${workers} agent workers.`, `Choose a multiple of ${workers}, or set actor_rollout_ref.rollout.agent.num_workers.`) : NONE;
  },
  ({ config, gpus, context }) => { // 7, 8
    const [tp, dp, pp, ep] = ["tensor_model_parallel_size", "data_parallel_size", "pipeline_model_parallel_size", "expert_parallel_size"].map((name) => config.number(`${ROLLOUT}.${name}`) ?? 1) as [number, number, number, number];
    const size = tp * dp * pp;
    if (pp !== 1) return refuse(`overrides.${ROLLOUT}.pipeline_model_parallel_size`, "UNSUPPORTED_PARALLELISM", "verl's rollout takes no pipeline parallelism.", "Set it to 1.");
    if (ep > 1 && ep !== tp * dp && config.text(`${ROLLOUT}.name`) !== "trtllm") return refuse(`overrides.${ROLLOUT}.expert_parallel_size`, "UNSUPPORTED_PARALLELISM", `Expert parallelism must be tensor × data parallelism, ${tp * dp}.`);
    if (gpus % size !== 0) return refuse("rollout.tensorParallel", "INDIVISIBLE_GPUS", `${gpus} GPU${gpus === 1 ? "" : "s"} cannot be shared out to engines of ${size}.`, `Choose a divisor of ${gpus}.`);
    return size % Math.min(context.gpusPerNode || 1, size) === 0 ? NONE : refuse("rollout.tensorParallel", "INDIVISIBLE_GPUS", `An engine of ${size} GPUs does not fill whole hosts of ${context.gpusPerNode}.`);
  },
  (facts) => { // 10
    const { dynamic, sp } = rl(facts);
    if (!dynamic) return NONE;
    const longest = (facts.config.number("data.max_prompt_length") ?? 0) + (facts.config.number("data.max_response_length") ?? 0);
    const room = (facts.config.number(`${ACTOR}.ppo_max_token_len_per_gpu`) ?? 0) * sp;
    return room >= longest ? NONE : refuse("maxTokensPerGpu", "TOO_FEW_TOKENS", `Prompt and answer may have ${longest} tokens, but a GPU takes ${room} at once.`, `Set maxTokensPerGpu to at least ${Math.ceil(longest / sp)}.`);
  },
  (facts) => { // 11
    const { batch } = rl(facts);
    const rows = facts.data?.trainRows ?? null;
    return [
      ...(rows === null || rows >= batch ? NONE : refuse("batchSize", "TOO_FEW_ROWS", `The train files have ${rows} rows, fewer than one batch of ${batch} prompts.`, `Set batchSize to ${rows} or less.`)),
      ...(facts.data?.valRows !== 0 ? NONE : refuse("valFiles", "TOO_FEW_ROWS", "The validation files have no rows.")),
    ];
  },
  (facts) => { // 15
    const fewest = facts.config.flag("distillation.enabled") ? 1 : (ALGORITHM_FACTS[facts.params.algorithm].fewestAnswers ?? 1); // a teacher judges each answer alone
    const { n } = rl(facts);
    return n >= fewest ? NONE : refuse("answers", "TOO_FEW_ANSWERS", `${facts.params.algorithm} compares the answers of one prompt: ${n} leaves nothing to compare.`, `Set answers to ${fewest} or more.`);
  },
  (facts) => { // 16
    const { config, params, release } = facts;
    const rank = config.number("actor_rollout_ref.model.lora_rank") ?? 0;
    const aggregation = config.text(`${ACTOR}.loss_agg_mode`);
    const loss = config.text(`${ACTOR}.policy_loss.loss_mode`);
    const klType = config.text(`${ACTOR}.kl_loss_type`);
    const own = params.env?.[OWN_MODULES] !== undefined;
    const { aggregations } = registeredIn(release.release);
    return [
      ...(rank <= 512 || config.text(`${ROLLOUT}.name`) !== "vllm" ? NONE : refuse("lora.rank", "LORA_TOO_LARGE", `vLLM takes adapters up to rank 512, not ${rank}.`)),
      ...(aggregation === null || aggregations.includes(aggregation) ? NONE : refuse(`overrides.${ACTOR}.loss_agg_mode`, "UNKNOWN_CHOICE", `verl ${release.release} has no loss_agg_mode "${aggregation}".`, `It has ${aggregations.join(", ")}.`)),
      ...(loss === null || registeredIn(release.release).losses.includes(loss) ? NONE : unknownName(facts, "losses", loss, `overrides.${ACTOR}.policy_loss.loss_mode`, "UNKNOWN_CHOICE", "loss mode")),
      ...(klType === null || KL_TYPES.test(klType) ? NONE : refuse(`overrides.${ACTOR}.kl_loss_type`, "UNKNOWN_CHOICE", `verl has no KL estimate "${klType}".`, "It has kl (k1), abs, mse (k2), low_var_kl (k3), full.")),
      ...(config.text(`${ROLLOUT}.mode`) !== "sync" ? NONE : refuse(`overrides.${ROLLOUT}.mode`, "UNSUPPORTED_ROLLOUT", "verl 0.7 and later draw answers asynchronously only.", "Leave it out.")),
      ...(release.rollouts.includes(config.text(`${ROLLOUT}.name`) ?? "") || own ? NONE : refuse(`overrides.${ROLLOUT}.name`, "UNSUPPORTED_ROLLOUT", `verl ${release.release} has no rollout engine "${config.text(`${ROLLOUT}.name`)}".`, `It has ${release.rollouts.join(", ")}.`)),
    ];
  },
  ({ params, config }) => (params.algorithm === "gspo" && config.text(`${ACTOR}.policy_loss.loss_mode`) !== "gspo" ? refuse(`overrides.${ACTOR}.policy_loss.loss_mode`, "ALGORITHM_MISMATCH", "algorithm is gspo, but the loss is another one's.", "Leave the override out, or use algorithm: grpo.") : NONE),
  ({ config }) => (config.flag(`${ROLLOUT}.val_kwargs.do_sample`) && (config.number(`${ROLLOUT}.temperature`) ?? 1) === 0 ? refuse("temperature", "ZERO_TEMPERATURE", "Drawing answers needs a temperature above 0.") : NONE), // 17
  ({ config, model }) => { // 18
    const longest = (config.number("data.max_prompt_length") ?? 0) + (config.number("data.max_response_length") ?? 0);
    return model === null || longest <= model.maxPositions ? NONE : refuse("maxResponseLength", "BEYOND_MODEL", `Prompt and answer may have ${longest} tokens, but the model reads ${model.maxPositions}.`, `Keep maxPromptLength + maxResponseLength within ${model.maxPositions}.`);
  },
  ({ params, hostCpus, context }) => {
    const needed = 3 * context.gpusPerNode + 4;
    return params.simulate || hostCpus === null || hostCpus >= needed ? NONE : refuse("algorithm", "TOO_FEW_CPUS", `Ray wants 3 processors per GPU and some more, ${needed} in all; the host has ${hostCpus}. It would wait for them for ever.`, "Use a larger host or fewer GPUs.");
  },
  ({ config, release, data }) => {
    const scored = release.rewardKeys === "reward" ? ["reward.custom_reward_function.path", "reward.reward_model.enable"] : ["custom_reward_function.path", "reward_model.enable"];
    if (data?.dataSources == null || scored.some((key) => config.text(key) !== null || config.flag(key))) return NONE;
    const unscored = data.dataSources.filter((name) => !hasScorer(name));
    return unscored.length === 0 ? NONE : refuse("reward", "NO_SCORER", `verl has no scorer for data_source ${unscored.slice(0, 3).map((name) => `"${name}"`).join(", ")}; the run would end at its first answers.`, "Give reward.file (and reward.function), or reward.model.");
  },
  ({ params }) => (params.saveEvery === "epoch" || params.testEvery === "epoch" ? refuse(params.saveEvery === "epoch" ? "saveEvery" : "testEvery", "UNSUPPORTED_FREQUENCY", "verl's RL trainer counts in steps, not epochs.", "Give a number of steps.") : NONE),
  ({ config }) => ((config.number("trainer.save_freq") ?? -1) > 0 ? NONE : warn("saveEvery", "NO_CHECKPOINTS", "Without saveEvery verl's RL trainer leaves no checkpoint at all, not even the last.", "Set saveEvery to a number of steps.")),
];
