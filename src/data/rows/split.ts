// On which side of the split a row falls. Only its question and the seed decide: adding rows moves no old row, equal questions stay together, and stages of
// different tasks over the same file with the same seed split it alike.

import type { PreprocessParams } from "../../domain/data/preprocess-params.js";
import { uniform53 } from "./fingerprint.js";
import type { TrainingRow } from "./training-row.js";

/** The side of a row. `seed` is the stage's, for a split without its own. A larger share keeps every validation row of a smaller one. */
export function sideOf(row: Pick<TrainingRow, "promptKey">, split: NonNullable<PreprocessParams["split"]>, seed: number): "train" | "validation" {
  return uniform53(`split\0${split.seed ?? seed}\0${row.promptKey}`) < split.validation * 2 ** 53 ? "validation" : "train";
}
