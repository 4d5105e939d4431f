// TRL's console: one Python dictionary per logged step, without the step's number.
//   T1. With logging_steps 1 the n-th line with a loss is step `from + n`; lines with eval_loss belong to the step before them; train_runtime closes the run.

import { readNumber, type ConsoleFinding, type ConsolePoint } from "./console-lines.js";

export interface TrlReader {
  /** Findings of one whole line. */
  line(text: string): readonly ConsoleFinding[];
}

/** `from`: the step that the run was resumed at, 0 for a fresh one. Metrics are named train/… and val/… as verl's are. */
export function createTrlReader(from: number): TrlReader {
  let step = from;
  return {
    line(text) {
      const entries = readDictionary(text);
      if (entries === null || entries.has("train_runtime")) return [];
      const evaluation = [...entries.keys()].some((key) => key.startsWith("eval_"));
      if (!evaluation && !entries.has("loss")) return [];
      if (!evaluation) step++;
      const points = [...entries].flatMap(([key, raw]): ConsolePoint[] => {
        const value = readNumber(raw);
        return value === null ? [] : [{ name: evaluation ? `val/${key.replace(/^eval_/, "")}` : `train/${key}`, step, value }];
      });
      return points.length === 0 ? [] : [{ kind: "points", step, points }];
    },
  };
}

/** Key → value as Python prints it, of a dictionary of numbers; null when the line holds none. */
function readDictionary(text: string): Map<string, string> | null {
  const match = /\{('[\w/@.-]+': .*)\}\s*$/.exec(text);
  if (match === null) return null;
  const entries = new Map<string, string>();
  for (const item of match[1]!.split(/, (?=')/)) {
    const pair = /^'([\w/@.-]+)': '?([^']*)'?$/.exec(item);
    if (pair !== null) entries.set(pair[1]!, pair[2]!);
  }
  return entries.size === 0 ? null : entries;
}
