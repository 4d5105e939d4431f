// Params and conversions as tests write them down.

import { createConverter, type Conversion } from "../../../src/data/rows/converter.js";
import type { Message, TrainingRow } from "../../../src/data/rows/training-row.js";
import { inputsOf, preprocessParamsSchema, type PreprocessParams } from "../../../src/domain/data/preprocess-params.js";

export type Loose = Record<string, unknown>;

export function paramsOf(over: Loose): PreprocessParams {
  return preprocessParamsSchema.parse({ input: "in.jsonl", ...over });
}

/** One conversion with params that are made for it. */
export function convertWith(over: Loose, value: unknown): Conversion {
  const params = paramsOf(over);
  return createConverter(params, inputsOf(params)[0]!)({ value: value as Loose });
}

/** The row of a conversion that must succeed. */
export function rowWith(over: Loose, value: unknown): TrainingRow {
  const conversion = convertWith(over, value);
  if (conversion.row === undefined) throw new Error(`${conversion.reason}: ${conversion.message}`);
  return conversion.row;
}

export const RL: Loose = { task: "rl", dataSource: "openai/gsm8k" };

/** "u: Hi" → a user's message. */
export function dialogue(...lines: string[]): Message[] {
  const roles = { s: "system", u: "user", a: "assistant", t: "tool" } as const;
  return lines.map((line) => ({ role: roles[line[0] as keyof typeof roles], content: line.slice(3) }));
}

/** A converted sft row, for what works on rows. */
export function sftRow(...lines: string[]): TrainingRow {
  return rowWith({ task: "sft" }, { messages: dialogue(...lines) });
}
