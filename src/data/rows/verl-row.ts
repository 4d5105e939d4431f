// verl's own RL rows (prompt, data_source, ability, reward_model, extra_info), so that a Parquet made for verl, by us or by one of its scripts, passes through.

import { valueOf, type RecordValue } from "./columns.js";
import { isBlank } from "./dialogue.js";
import type { Exchange } from "./exchange.js";
import { Reject, shown } from "./reject.js";

export interface VerlRow {
  readonly groundTruth: string;
  readonly style: "rule" | "model" | null;
  /** The question before it was dressed up as a prompt; null where extra_info has none. */
  readonly question: string | null;
  readonly answer: string | null;
  /** What else extra_info holds, to be kept in its `extra`: other fields, and what stood in `extra` already. */
  readonly further: ReadonlyMap<string, unknown>;
}

/** Written anew for every stage. */
const REWRITTEN: ReadonlySet<string> = new Set(["split", "index", "question", "answer", "extra"]);

/** What the row says as verl's; null when it is none, or when a column for the ground truth is named. */
export function readVerlRow(value: RecordValue, exchange: Exchange, truthIsNamed: boolean): VerlRow | null | Reject {
  const reward = objectOf(valueOf(value, "reward_model"));
  if (reward === null || truthIsNamed || exchange.prompt.length === 0) return null;
  const groundTruth = valueOf(reward, "ground_truth");
  if (groundTruth == null) return null;
  if (typeof groundTruth !== "string") return new Reject("WRONG_TYPE", `reward_model.ground_truth holds ${shown(groundTruth)} where text is expected.`);
  const style = valueOf(reward, "style");
  const info = objectOf(valueOf(value, "extra_info")) ?? {};
  const [question, answer] = [valueOf(info, "question"), valueOf(info, "answer")];
  return {
    groundTruth,
    style: style === "rule" || style === "model" ? style : null,
    question: typeof question === "string" && !isBlank(question) ? question : null,
    answer: typeof answer === "string" ? answer : null,
    further: furtherOf(info),
  };
}

function furtherOf(info: RecordValue): ReadonlyMap<string, unknown> {
  const further = new Map<string, unknown>(Object.entries(parsedObject(valueOf(info, "extra")) ?? {}));
  for (const [key, held] of Object.entries(info)) if (!REWRITTEN.has(key) && held != null) further.set(key, held);
  return further;
}

function parsedObject(text: unknown): RecordValue | null {
  if (typeof text !== "string") return null;
  try {
    return objectOf(JSON.parse(text));
  } catch {
    return null;
  }
}

function objectOf(value: unknown): RecordValue | null {
  return value !== null && typeof value === "object" && !Array.isArray(value) ? value as RecordValue : null;
}
