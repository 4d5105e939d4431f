// Rules of training engines: whether a release has the engine for such a training, and which fields it can take.

import { ALGORITHM_FACTS } from "../domain/training/algorithms.js";
import { devicesOf, engineForm, engineOf, isFsdp, releasesWith, trains } from "./engines.js";
import type { CheckpointBackend } from "./output/checkpoint-layout.js";
import { NONE, refuse, warn, type Finding, type PreflightInput, type Rule } from "./preflight-rule.js";
import { keyTable } from "./releases.js";

/** Null: the release has the configuration of the engine. */
export function engineProblem({ params, release }: Pick<PreflightInput, "params" | "release">): Finding | null {
  if (ALGORITHM_FACTS[params.algorithm].trainer === "trl-dpo") return params.strategy === undefined ? null : { field: "strategy", code: "ENGINE_UNAVAILABLE", message: "dpo runs in TRL, which knows none of verl's training engines.", hint: "Leave strategy out." };
  const form = engineForm(params);
  const having = releasesWith(params);
  if (having.includes(release.release)) return null;
  const { critic } = ALGORITHM_FACTS[params.algorithm];
  const where = having.length === 0 ? "no release of verl has it for that" : `these releases have it: ${having.join(", ")}`;
  const kind = form === null || keyTable(release.release, form.config).size === 0 ? (params.algorithm === "sft" ? "for sft" : "for reinforcement learning") : critic ? "for a critic" : "";
  return { field: "strategy", code: "ENGINE_UNAVAILABLE", message: `verl ${release.release} has no engine ${params.strategy ?? "fsdp"} ${kind}; ${where}.`, hint: having.length === 0 ? "Choose another strategy." : `Set verl to one of them, or choose another strategy.` };
}

/** What verl's dataclasses assert for lr_scheduler_type; the others hand the text on. */
const SCHEDULES: Readonly<Partial<Record<CheckpointBackend, readonly string[]>>> = { fsdp: ["constant", "cosine"], automodel: ["constant", "cosine", "linear", "inverse-square-root"] };
const FSDP_ONLY = "Leave it out, or use strategy: fsdp.";

export const ENGINE_RULES: readonly Rule[] = [
  ({ params }) => (params.sequenceParallel === undefined || engineOf(params).sequence !== null ? NONE
    : refuse("sequenceParallel", "UNSUPPORTED_FIELD", `The engine ${engineOf(params).name} has no sequence parallelism of that kind.`, `Use its own sizes in overrides: ${engineOf(params).copy.join(", ")}.`)),
  ({ params }) => (params.precision === undefined || isFsdp(params) ? NONE : refuse("precision", "UNSUPPORTED_FIELD", `The precision of the engine ${engineOf(params).name} is not set by this field.`, "Use its own keys in overrides.")),
  ({ params }) => (params.lora === undefined || isFsdp(params) ? NONE
    : refuse("lora", "UNSUPPORTED_FIELD", `The engine ${engineOf(params).name} does not read these settings of an adapter: it would train all weights.`, params.strategy === "megatron" ? "Use Megatron's own keys (…model.lora.rank and others) in overrides, with export: none." : FSDP_ONLY)),
  ({ params, config }) => ["optim", "actor_rollout_ref.actor.optim", ...(config.flag("critic.enable") || config.text("algorithm.adv_estimator") === "gae" ? ["critic.optim"] : [])].flatMap((group) => { // 16
    const taken = SCHEDULES[engineOf(params).checkpoint];
    const given = config.text(`${group}.lr_scheduler_type`);
    return taken === undefined || given === null || taken.includes(given) ? NONE : refuse(`overrides.${group}.lr_scheduler_type`, "UNKNOWN_CHOICE", `The engine ${engineOf(params).name} has no learning rate schedule "${given}".`, `It has ${taken.join(", ")}.`);
  }),
  ({ params, release }) => {
    const form = engineForm(params);
    const key = params.algorithm === "sft" ? "engine.param_offload" : `actor_rollout_ref.actor.${engineOf(params).group}.param_offload`;
    return params.offload === undefined || form === null || keyTable(release.release, form.config).has(key) ? NONE : refuse("offload", "UNSUPPORTED_FIELD", `The engine ${engineOf(params).name} of verl ${release.release} cannot do it.`, "Leave it out.");
  },
  ({ params, config, release }) => { // a critic that was switched on by key
    const critic = config.flag("critic.enable") || config.text("algorithm.adv_estimator") === "gae";
    return !critic || params.algorithm === "sft" || trains(release.release, params, "value_model") ? NONE : refuse("strategy", "ENGINE_UNAVAILABLE", `verl ${release.release} has no engine ${engineOf(params).name} for a critic.`, "Use an algorithm without a critic, or another strategy.");
  },
  ({ params, config }) => {
    const key = params.algorithm === "sft" ? "engine.expert_parallel_size" : "actor_rollout_ref.actor.veomni.expert_parallel_size";
    return params.strategy !== "veomni" || params.export === "none" || (config.number(key) ?? 1) === 1 ? NONE
      : warn(`overrides.${key}`, "UNEXPORTABLE", "verl's merger cannot put together experts that VeOmni has spread over GPUs: outputs.model could not be made at the end.", "Set export: none, and convert the checkpoint with VeOmni's own tools.");
  },
  ({ params, config }) => (params.strategy !== "automodel" || (config.number("engine.pp_size") ?? 1) === 1 ? NONE : refuse("overrides.engine.pp_size", "UNSUPPORTED_PARALLELISM", "verl's Automodel engine takes no pipeline parallelism.", "Set it to 1.")),
  ({ params, config }) => (params.strategy !== "mindspeed" || config.text("actor_rollout_ref.actor.mindspeed.strategy") !== "mindspeed_fsdp" ? NONE
    : refuse("overrides.actor_rollout_ref.actor.mindspeed.strategy", "ENGINE_UNAVAILABLE", "verl takes mindspeed_fsdp in its configuration, but has no such engine: the run would end when it starts its workers.", "Leave it at mindspeed_megatron.")),
  ({ params, release, context }) => {
    const devices = devicesOf(release.release, params);
    return params.simulate || devices.length === 0 || devices.includes(context.device) || context.device === "cpu" ? NONE : warn("strategy", "OTHER_DEVICE", `The engine ${engineOf(params).name} runs on ${devices.join(" and ")} only.`, "Choose a host that has them (resources.labels).");
  },
];
