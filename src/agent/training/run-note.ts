// What is being run, written into the attempt's directory before the launch: for an agent that takes over, for the judgement at the end, for later attempts of the stage.

import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Trainer } from "../../domain/training/algorithms.js";
import type { Outputs } from "../../domain/pipeline/state.js";
import type { CheckpointExpectation } from "../../verl/output/checkpoint-layout.js";
import type { AttemptDirectory } from "../attempt/attempt-directory.js";
import type { Place } from "../place/place.js";

export interface RunNote {
  /** See runIdentity. */
  readonly identity: string;
  readonly trainer: Trainer;
  /** Words that start the interpreter. */
  readonly python: readonly string[];
  readonly argv: readonly string[];
  readonly stopSignal: NodeJS.Signals | null;
  /** Where its checkpoints lie. */
  readonly checkpointDir: string;
  readonly expectation: CheckpointExpectation;
  /** Whether it saves at its last step. */
  readonly savesLast: boolean;
  /** The attempt's folder that all nodes see; null: it has one node. */
  readonly sharedFolder: string | null;
  /** Where its exported model belongs. */
  readonly modelDir: string;
  /** Where it leaves drawn answers; null: it leaves none. */
  readonly samplesDir: string | null;
  /** verl's JSON-lines logger, as it is read here; null: it cannot be used. */
  readonly loggerFile: string | null;
  /** Where it is written, when that is none of the attempt's files: in a folder that all nodes see. */
  readonly loggerThere?: string;
  /** What it was resumed from. */
  readonly resumed: { readonly step: number; readonly path: string } | null;
  /** A stand-in runs in the trainer's place. */
  readonly simulated: boolean;
  /** The model it starts from, and the alpha of the adapter that it trains; null: none. */
  readonly model: string;
  readonly loraAlpha: number | null;
  /** As far as params and data tell. */
  readonly totalSteps: number | null;
}

/** Writes it whole, or not at all. */
export function writeNote(directory: Pick<AttemptDirectory, "planFile">, note: RunNote): void {
  writeWhole(directory.planFile, note);
}

/** Null: this attempt has none, or not one of ours. */
export function readNote(directory: Pick<AttemptDirectory, "planFile">): RunNote | null {
  return readJson<RunNote>(directory.planFile);
}

/** That the training of an attempt is over and was sound: what its outputs are, but for the exported model. */
export interface TrainedNote {
  readonly step: number;
  /** By home's path, where the attempt has one. */
  readonly checkpoint: string | null;
  readonly outputs: Outputs;
}

export function writeTrained(attemptRoot: string, trained: TrainedNote): void {
  writeWhole(join(attemptRoot, TRAINED_FILE), trained);
}

export function readTrained(attemptRoot: string): TrainedNote | null {
  return readJson<TrainedNote>(join(attemptRoot, TRAINED_FILE));
}

/** Both notes of an attempt in a folder that all nodes see, in the place's own hands. */
export const sharedNotes = (place: Pick<Place, "readText" | "writeText">, folder: string) => ({
  note: async () => parsed<RunNote>(await place.readText(join(folder, PLAN_FILE), NOTE_BYTES)),
  trained: async () => parsed<TrainedNote>(await place.readText(join(folder, TRAINED_FILE), NOTE_BYTES)),
  writeNote: (note: RunNote) => place.writeText(join(folder, PLAN_FILE), JSON.stringify(note)),
  writeTrained: (trained: TrainedNote) => place.writeText(join(folder, TRAINED_FILE), JSON.stringify(trained)),
});

const PLAN_FILE = "plan.json";
const TRAINED_FILE = "trained.json";
/** Longest note, in bytes. */
const NOTE_BYTES = 16 * 1_048_576;

function writeWhole(file: string, value: unknown): void {
  writeFileSync(`${file}.new`, JSON.stringify(value), { mode: 0o600, flush: true });
  renameSync(`${file}.new`, file);
}

function readJson<T>(file: string): T | null {
  try {
    return parsed(readFileSync(file, "utf8"));
  } catch {
    return null;
  }
}

function parsed<T>(text: string | null): T | null {
  try {
    return JSON.parse(text ?? "null") as T | null;
  } catch {
    return null;
  }
}
