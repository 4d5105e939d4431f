// A row on its way from a file to training: what the conversion gives, and what the writers take.

import type { Json } from "../../domain/pipeline/state.js";

export const ROLES = ["system", "user", "assistant", "tool"] as const;
export type Role = (typeof ROLES)[number];
export interface Message { readonly role: Role; readonly content: string }

export interface SftRow { readonly task: "sft"; readonly messages: readonly Message[] }
export interface RlRow {
  readonly task: "rl";
  readonly prompt: readonly Message[];
  readonly dataSource: string;
  readonly ability: string;
  readonly style: "rule" | "model";
  readonly groundTruth: string;
  /** As they stood in the file, before template and pattern; null when there was none. */
  readonly question: string | null;
  readonly answer: string | null;
}
/** `prompt` ends with a user's message; chosen and rejected are what may follow. */
export interface PreferenceRow { readonly task: "preference"; readonly prompt: readonly Message[]; readonly chosen: readonly Message[]; readonly rejected: readonly Message[] }

export type TrainingRow = (SftRow | RlRow | PreferenceRow) & {
  /** The columns of `keepColumns` that the row has, as JSON text; null when none is kept. */
  readonly extra: string | null;
  /** What rows with an equal question share, before template and system prompt: decides on which side of the split the row falls. */
  readonly promptKey: string;
  /** Values of `countBy`, in its order, as text. */
  readonly categories: readonly (string | null)[];
};

export type JsonObject = { readonly [key: string]: Json };
