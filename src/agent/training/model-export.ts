// The program that makes a Hugging Face folder of a checkpoint (src/verl/python/export_model.py), for the end of a training and for merge stages.

import { appendFileSync } from "node:fs";
import { join } from "node:path";
import { modelFolder, type CheckpointBackend } from "../../verl/output/checkpoint-layout.js";
import type { AttemptDirectory } from "../attempt/attempt-directory.js";
import type { Place } from "../place/place.js";
import type { RunNote } from "./run-note.js";
import { pythonProgram, withOurPrograms } from "./python-programs.js";

export interface ModelExport {
  /** Words that start the interpreter. */
  readonly python: readonly string[];
  /** Whose checkpoint it is. */
  readonly trainer: "verl" | "trl";
  readonly checkpoint: string;
  readonly backend: CheckpointBackend;
  readonly lora: "fold" | "keep";
  /** As far as the stage knows; else what lies beside the checkpoint tells. */
  readonly loraAlpha: number | null;
  /** TRL's adapters are folded into this model; Automodel's checkpoints lack a tokenizer, and get its. */
  readonly base: string | null;
  /** A stand-in knows verl's merger alone. */
  readonly simulated: boolean;
}

/** Whether the export needs the model that the training began from. */
export function needsBase({ trainer, expectation }: Pick<RunNote, "trainer" | "expectation">): boolean {
  return trainer === "trl-dpo" || expectation.backend === "automodel";
}

/** Rejects with the signal's reason. */
export async function exportCommand(options: ModelExport, target: string, where: { readonly place: Place; readonly signal: AbortSignal; say(text: string): void }): Promise<readonly string[]> {
  const source = await sourceOf(options, where.place);
  if (options.simulated) return [...options.python, "-m", "verl.model_merger", "merge", "--backend", options.backend === "veomni" ? "fsdp" : options.backend, "--local_dir", source, "--target_dir", target];
  return withOurPrograms(where.place, [
    ...options.python, pythonProgram("export_model"), "--trainer", options.trainer, "--source", source, "--target", target, "--backend", options.backend, "--lora", options.lora,
    ...(options.loraAlpha === null ? [] : ["--lora-alpha", String(options.loraAlpha)]), ...(options.base === null ? [] : ["--base", options.base]),
  ], where);
}

/** verl's RL trainer keeps the model in a folder of the step's. */
async function sourceOf({ trainer, checkpoint }: Pick<ModelExport, "trainer" | "checkpoint">, place: Place): Promise<string> {
  const actor = join(checkpoint, modelFolder("verl-rl"));
  return trainer === "verl" && (await place.stat([actor]))[0] !== null ? actor : checkpoint;
}

/** Housekeeping leaves an attempt alone whose model is there. */
export function keepModel(directory: Pick<AttemptDirectory, "checkpointsFile">, model: string): void {
  appendFileSync(directory.checkpointsFile, `${JSON.stringify(model)}\n`, { mode: 0o600 });
}
