// The training engines that `strategy` names: which of verl's configurations each is, where its settings lie, which sizes spread the model, and what it leaves.
//   E1. Whether a release offers an engine is not said here: it does when it has the configuration (src/verl/keys), and a critic when it registers the engine for one.

import type { TrainParams } from "../domain/training/train-params.js";
import { ALGORITHM_FACTS } from "../domain/training/algorithms.js";
import type { CheckpointBackend } from "./output/checkpoint-layout.js";
import { KNOWN_RELEASES, keyTable, registeredIn, type ConfigName, type KnownRelease } from "./releases.js";

export type Strategy = NonNullable<TrainParams["strategy"]>;

/** How verl's program is told to use an engine. */
export interface EngineForm {
  readonly config: ConfigName;
  /** Words before the overrides. */
  readonly words: readonly string[];
}

export interface Engine {
  readonly name: Strategy;
  /** Null: verl offers it for the other kind of training alone. */
  readonly sft: EngineForm | null;
  readonly rl: EngineForm | null;
  /** Group below actor, critic and reference model in which RL keeps the engine's settings. */
  readonly group: "fsdp_config" | "megatron" | "veomni" | "mindspeed" | "automodel";
  /** Names under which verl registers it; the first is what it uses unless told. */
  readonly registered: readonly string[];
  /** Setting for the GPUs that share one sequence; null: it has none. For FSDP in RL see preflight-rl.ts. */
  readonly sequence: string | null;
  /** Settings whose product is the GPUs that see the same rows. */
  readonly copy: readonly string[];
  /** Of the learning rate. */
  readonly schedule: "lr_scheduler_type" | "lr_decay_style";
  /** What it leaves. */
  readonly checkpoint: CheckpointBackend;
}

const fsdp = (name: "fsdp" | "fsdp2"): Engine => ({
  name, sft: { config: "sft_trainer_engine", words: [] }, rl: { config: "ppo_trainer", words: [] }, group: "fsdp_config", registered: [name], sequence: "ulysses_sequence_parallel_size", copy: ["ulysses_sequence_parallel_size"],
  schedule: "lr_scheduler_type", checkpoint: "fsdp",
});
const MEGATRON_COPY = ["tensor_model_parallel_size", "pipeline_model_parallel_size", "context_parallel_size"] as const;

const ENGINES: Readonly<Record<Strategy, Engine>> = {
  fsdp: fsdp("fsdp"),
  fsdp2: fsdp("fsdp2"),
  megatron: {
    name: "megatron", sft: { config: "sft_trainer_engine+megatron", words: ["engine=megatron", "optim=megatron"] }, rl: { config: "ppo_megatron_trainer", words: ["--config-name=ppo_megatron_trainer"] },
    group: "megatron", registered: ["megatron"], sequence: null, copy: MEGATRON_COPY, schedule: "lr_decay_style", checkpoint: "megatron",
  },
  veomni: {
    name: "veomni", sft: { config: "sft_trainer_engine+veomni", words: ["engine=veomni", "optim=veomni"] }, rl: { config: "ppo_trainer+veomni", words: ["model_engine=veomni"] },
    group: "veomni", registered: ["veomni"], sequence: "ulysses_parallel_size", copy: ["ulysses_parallel_size"], schedule: "lr_scheduler_type", checkpoint: "veomni",
  },
  mindspeed: {
    name: "mindspeed", sft: null, rl: { config: "ppo_trainer+mindspeed", words: ["model_engine=mindspeed"] },
    group: "mindspeed", registered: ["mindspeed_megatron"], sequence: null, copy: MEGATRON_COPY, schedule: "lr_decay_style", checkpoint: "megatron",
  },
  automodel: {
    name: "automodel", sft: { config: "sft_trainer_engine+automodel", words: ["engine=automodel", "optim=automodel"] }, rl: null,
    group: "automodel", registered: ["automodel"], sequence: null, copy: ["tp_size", "pp_size", "cp_size"], schedule: "lr_scheduler_type", checkpoint: "automodel",
  },
};

/** Of a training in verl. */
export function engineOf({ strategy }: Pick<TrainParams, "strategy">): Engine {
  return ENGINES[strategy ?? "fsdp"];
}

/** Whether the model is spread by FSDP as verl itself has it, whose keys RL has twice. */
export function isFsdp({ strategy }: Pick<TrainParams, "strategy">): boolean {
  return engineOf({ strategy }).checkpoint === "fsdp";
}

/** How the program of these params is told; null: verl offers the engine for no such training, in any release. */
export function engineForm(params: Pick<TrainParams, "algorithm" | "strategy">): EngineForm | null {
  const engine = engineOf(params);
  return ALGORITHM_FACTS[params.algorithm].trainer === "verl-sft" ? engine.sft : engine.rl;
}

/** E1. Releases that offer the engine for such a training. */
export function releasesWith(params: Pick<TrainParams, "algorithm" | "strategy">): readonly KnownRelease[] {
  const form = engineForm(params);
  const { critic } = ALGORITHM_FACTS[params.algorithm];
  return form === null ? [] : KNOWN_RELEASES.filter((release) => keyTable(release, form.config).size > 0 && (!critic || trains(release, params, "value_model")));
}

/** E1. Whether the release registers the engine for that kind of model; value_model is the critic. */
export function trains(release: KnownRelease, params: Pick<TrainParams, "strategy">, model: "language_model" | "value_model"): boolean {
  return engineOf(params).registered.every((name) => registeredIn(release).engines[model][name] !== undefined);
}

/** Devices on which the release runs the engine; empty where it does not have it. */
export function devicesOf(release: KnownRelease, params: Pick<TrainParams, "strategy">): readonly string[] {
  return registeredIn(release).engines.language_model[engineOf(params).registered[0]!] ?? [];
}
