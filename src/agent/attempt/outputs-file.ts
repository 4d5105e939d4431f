// What a program leaves behind for later stages: one JSON object in TRAINYARD_OUTPUTS_FILE. No file means no outputs.
//   O1. Nothing of it is believed unchecked: size, form, depth and names are limited, and what is wrong is said.

import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs";
import type { Json, Outputs } from "../../domain/pipeline/state.js";
import { LIMITS } from "../../protocol/messages.js";

/** Deepest nesting, the object itself being 1. */
const MAX_DEPTH = 32;
const NAME_LIMIT = 200;

export type OutputsRead =
  | { readonly kind: "outputs"; readonly outputs: Outputs }
  | { readonly kind: "refused"; readonly code: "INVALID_OUTPUTS" | "MISSING_OUTPUT"; readonly problem: string };

/** Reads and checks the file. */
export function readOutputs(file: string): OutputsRead {
  let text: string;
  try {
    const handle = openSync(file, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    try {
      const stat = fstatSync(handle);
      if (!stat.isFile()) return refused("it is not a regular file");
      if (stat.size > LIMITS.outputsBytes) return refused(`it holds ${stat.size} bytes, and ${LIMITS.outputsBytes} are the limit; write large results to files in TRAINYARD_OUTPUT_DIR and put their paths in the outputs`);
      const bytes = Buffer.alloc(LIMITS.outputsBytes + 1);
      const length = readSync(handle, bytes, 0, bytes.length, 0);
      if (length > LIMITS.outputsBytes) return refused(`it holds more than ${LIMITS.outputsBytes} bytes`);
      text = new TextDecoder("utf-8", { fatal: true }).decode(bytes.subarray(0, length));
    } finally {
      closeSync(handle);
    }
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT") return { kind: "outputs", outputs: {} };
    if (code === "ELOOP") return refused("it is a symbolic link");
    return refused(error instanceof TypeError ? "it is not valid UTF-8" : (error as Error).message);
  }
  return parseOutputs(text);
}

/** The outputs in a text (O1). */
export function parseOutputs(text: string): OutputsRead {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return refused(`it is not valid JSON (${(error as Error).message})`);
  }
  if (value === null || typeof value !== "object" || Array.isArray(value)) return refused(`it holds ${value === null ? "null" : Array.isArray(value) ? "an array" : `a ${typeof value}`}, and must hold one object`);
  const problem = findProblem(value, "", 1);
  return problem === null ? { kind: "outputs", outputs: value as Outputs } : refused(problem);
}

/** What an evaluation's outputs must hold: `scores`, name → finite number, and `sampleCount` if given. */
export function checkScores(outputs: Outputs): OutputsRead {
  const { scores, sampleCount } = outputs;
  if (scores === undefined) return { kind: "refused", code: "MISSING_OUTPUT", problem: `The program of an evaluate stage must leave "scores", an object of name → number, in TRAINYARD_OUTPUTS_FILE; it left ${Object.keys(outputs).join(", ") || "nothing"}.` };
  if (scores === null || typeof scores !== "object" || Array.isArray(scores)) return refused(`"scores" must be an object of name → number`);
  const wrong = Object.entries(scores as { [name: string]: Json }).find(([, value]) => typeof value !== "number");
  if (wrong !== undefined) return refused(`scores[${JSON.stringify(wrong[0])}] is ${JSON.stringify(wrong[1])?.slice(0, 100)}, and must be a number`);
  if (sampleCount !== undefined && (typeof sampleCount !== "number" || !Number.isInteger(sampleCount) || sampleCount < 0)) return refused(`"sampleCount" must be a whole number, 0 or more`);
  return { kind: "outputs", outputs };
}

function refused(problem: string): OutputsRead {
  return { kind: "refused", code: "INVALID_OUTPUTS", problem: `The outputs file cannot be used: ${problem}.` };
}

/** What the database cannot keep: NUL, and halves of surrogate pairs. */
const UNSTORABLE = /\0|\p{Surrogate}/u;

function findProblem(value: unknown, path: string, depth: number): string | null {
  if (typeof value === "string" && UNSTORABLE.test(value)) return `${path} holds a NUL or half a surrogate pair`;
  if (typeof value === "number" && !Number.isFinite(value)) return `${path} is a number too large to be kept`;
  if (value === null || typeof value !== "object") return null;
  if (depth > MAX_DEPTH) return `it is nested deeper than ${MAX_DEPTH} levels at ${path.slice(0, 200)}`;
  const entries: [string, unknown][] = Array.isArray(value) ? value.map((item, i) => [String(i), item]) : Object.entries(value);
  for (const [key, item] of entries) {
    if (key === "__proto__") return `the name "__proto__" is not allowed (at ${path === "" ? "the top" : path})`;
    if (UNSTORABLE.test(key)) return `a name ${path === "" ? "at the top" : `in ${path}`} holds a NUL or half a surrogate pair`;
    if (depth === 1 && (key === "" || key.length > NAME_LIMIT)) return `output names have 1 to ${NAME_LIMIT} characters`;
    const problem = findProblem(item, path === "" ? key : `${path}.${key}`, depth + 1);
    if (problem !== null) return problem;
  }
  return null;
}
