// What a rule of the checks before a launch sees, and what it answers.

import type { Problem } from "../domain/errors.js";
import type { TrainParams } from "../domain/training/train-params.js";
import type { EffectiveConfig } from "./effective-config.js";
import type { LaunchContext } from "./launch-context.js";
import type { Release } from "./releases.js";

/** What is known about the data; each null when it is not. */
export interface DataFacts {
  readonly trainRows: number | null;
  readonly valRows: number | null;
  /** Tasks the train files can serve. */
  readonly tasks: readonly string[] | null;
  /** Values of data_source in the files. */
  readonly dataSources: readonly string[] | null;
}

/** What is known about the model; null when it is not. */
export interface ModelFacts {
  readonly attentionHeads: number;
  readonly keyValueHeads: number;
  readonly maxPositions: number;
}

export interface PreflightInput {
  readonly params: TrainParams;
  readonly release: Release;
  readonly context: LaunchContext;
  readonly data: DataFacts | null;
  readonly model: ModelFacts | null;
  /** Processors of each host; null when unknown. */
  readonly hostCpus: number | null;
  /** Where the params stand, e.g. stages[1].params. */
  readonly path: string;
}

export interface Finding { readonly field: string; readonly code: string; readonly message: string; readonly hint?: string; readonly severity?: "WARNING" }

export interface Facts extends PreflightInput { readonly config: EffectiveConfig; /** All GPUs of the run. */ readonly gpus: number }
export type Rule = (facts: Facts) => readonly Finding[];

export const refuse = (field: string, code: string, message: string, hint?: string): readonly Finding[] => [{ field, code, message, ...(hint === undefined ? {} : { hint }) }];
export const warn = (field: string, code: string, message: string, hint?: string): readonly Finding[] => [{ field, code, message, severity: "WARNING", ...(hint === undefined ? {} : { hint }) }];
export const NONE: readonly Finding[] = [];

/** As it is told. `path`: where the params stand. */
export function asProblem({ field, code, message, hint, severity }: Finding, path: string): Problem {
  return { path: `${path}.${field}`, severity: severity ?? "ERROR", code, message, hint: hint ?? null };
}
