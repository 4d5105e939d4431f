// A train stage as the argv that starts it: our overrides first, the user's own last, so that theirs win.

import { ALGORITHM_FACTS } from "../domain/training/algorithms.js";
import type { TrainParams } from "../domain/training/train-params.js";
import { engineForm } from "./engines.js";
import { overrideArgument, type Override } from "./hydra.js";
import type { LaunchContext } from "./launch-context.js";
import { keyTable, type ConfigName, type Release } from "./releases.js";
import { nameFor } from "./renamed-keys.js";
import { rlOverrides } from "./rl.js";
import { sftOverrides } from "./sft.js";

export interface TrainCommand {
  readonly argv: readonly string[];
  /** Sent to the trainer first when it is to stop: torchrun ends its ranks on TERM, main_ppo ends its cluster on INT. */
  readonly stopSignal: "SIGTERM" | "SIGINT";
  /** Added to the environment; the stage's own come over it. */
  readonly environment: Readonly<Record<string, string>>;
}

/** Where verl offers the engine for no such training, which preflight refuses, the plain one. */
export function configOf(params: TrainParams): ConfigName {
  return engineForm(params)?.config ?? (ALGORITHM_FACTS[params.algorithm].trainer === "verl-sft" ? "sft_trainer_engine" : "ppo_trainer");
}

/** Every override of the run, ours and the user's, each key once. Keys that the configuration lacks are forced. */
export function overridesOf(params: TrainParams, release: Release, context: LaunchContext): readonly Override[] {
  const own = ALGORITHM_FACTS[params.algorithm].trainer === "verl-sft" ? sftOverrides(params, release, context) : rlOverrides(params, release, context);
  const known = keyTable(release.release, configOf(params));
  const chosen = Object.entries(params.overrides).map(([given, value]): Override => {
    const key = nameFor(given, release);
    return { key, value, mode: known.has(key) ? "set" : "force" };
  });
  const taken = new Set(chosen.map(({ key }) => key));
  return [...own.filter(({ key }) => !taken.has(key)), ...chosen];
}

/** What Hydra is asked to compose for the run: the name of the configuration, and every word after it. Throws RangeError when an override cannot be written. */
export function compositionOf(params: TrainParams, release: Release, context: LaunchContext): { readonly config: string; readonly overrides: readonly string[] } {
  return { config: configOf(params).split("+")[0]!, overrides: [...engineWords(params).filter((word) => !word.startsWith("--")), ...overridesOf(params, release, context).map(overrideArgument)] };
}

/** The command of one member. Throws RangeError when an override cannot be written. */
export function trainCommand(params: TrainParams, release: Release, context: LaunchContext): TrainCommand {
  const hydra = [`hydra.run.dir=${overrideArgument({ key: "d", value: context.hydraDir, mode: "set" }).slice(2)}`, "hydra.output_subdir=null"];
  const overrides = [...overridesOf(params, release, context).map(overrideArgument), ...hydra];
  return ALGORITHM_FACTS[params.algorithm].trainer === "verl-sft"
    ? { argv: [...torchrun(context), "-m", release.sftModule, ...engineWords(params), ...overrides], stopSignal: "SIGTERM", environment: SFT_ENVIRONMENT }
    : { argv: [...context.python, "-m", rlModule(params, release), ...engineWords(params), ...overrides], stopSignal: "SIGINT", environment: RL_ENVIRONMENT };
}

/** Ray prefixes its lines and colours them even when piped; both are switched off. */
const RL_ENVIRONMENT = { PYTHONUNBUFFERED: "1", HYDRA_FULL_ERROR: "1", TOKENIZERS_PARALLELISM: "true", RAY_COLOR_PREFIX: "0", RAY_DEDUP_LOGS: "0" } as const;
const SFT_ENVIRONMENT = { PYTHONUNBUFFERED: "1", HYDRA_FULL_ERROR: "1", TOKENIZERS_PARALLELISM: "true", VERL_SFT_LOGGING_LEVEL: "INFO" } as const;

function torchrun(context: LaunchContext): readonly string[] {
  const ranks = `--nproc_per_node=${Math.max(1, context.gpusPerNode)}`;
  const launcher = [...context.python, "-m", "torch.distributed.run"]; // torchrun of the very interpreter that has verl
  if (context.meeting === null) return [...launcher, "--standalone", "--nnodes=1", ranks];
  return [...launcher, `--nnodes=${context.nodes}`, ranks, `--node_rank=${context.rank}`, `--master_addr=${context.meeting.address}`, `--master_port=${context.meeting.port}`];
}

function engineWords(params: TrainParams): readonly string[] {
  return engineForm(params)?.words ?? [];
}

/** Asking for the new loop by its key means asking for the program that has it. */
function rlModule(params: TrainParams, release: Release): string {
  return params.overrides["trainer.use_v1"] === true ? "verl.trainer.main_ppo" : release.rlModule;
}
