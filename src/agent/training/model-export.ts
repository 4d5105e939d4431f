// The program that makes a Hugging Face folder of a checkpoint (src/verl/python/export_model.py), for the end of a training and for merge stages.

import { appendFileSync, existsSync } from "node:fs";
import { join } from "node:path";
import { modelFolder } from "../../verl/output/checkpoint-layout.js";
import type { AttemptDirectory } from "../attempt/attempt-directory.js";
import { pythonProgram } from "./python-programs.js";

export interface ModelExport {
  /** Words that start the interpreter. */
  readonly python: readonly string[];
  /** Whose checkpoint it is. */
  readonly trainer: "verl" | "trl";
  readonly checkpoint: string;
  readonly backend: "fsdp" | "megatron";
  readonly lora: "fold" | "keep";
  /** As far as the stage knows; else what lies beside the checkpoint tells. */
  readonly loraAlpha: number | null;
  /** TRL's adapters are folded into this model. */
  readonly base: string | null;
  /** A stand-in knows verl's merger alone. */
  readonly simulated: boolean;
}

export function exportCommand(options: ModelExport, target: string): readonly string[] {
  const source = sourceOf(options);
  if (options.simulated) return [...options.python, "-m", "verl.model_merger", "merge", "--backend", options.backend, "--local_dir", source, "--target_dir", target];
  return [
    ...options.python, pythonProgram("export_model"), "--trainer", options.trainer, "--source", source, "--target", target, "--backend", options.backend, "--lora", options.lora,
    ...(options.loraAlpha === null ? [] : ["--lora-alpha", String(options.loraAlpha)]), ...(options.base === null ? [] : ["--base", options.base]),
  ];
}

/** verl's RL trainer keeps the model in a folder of the step's. */
function sourceOf({ trainer, checkpoint }: Pick<ModelExport, "trainer" | "checkpoint">): string {
  const actor = join(checkpoint, modelFolder("verl-rl"));
  return trainer === "verl" && existsSync(actor) ? actor : checkpoint;
}

/** Housekeeping leaves an attempt alone whose model is there. */
export function keepModel(directory: Pick<AttemptDirectory, "checkpointsFile">, model: string): void {
  appendFileSync(directory.checkpointsFile, `${JSON.stringify(model)}\n`, { mode: 0o600 });
}
