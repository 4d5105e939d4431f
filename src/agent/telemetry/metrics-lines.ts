// What a line of the metrics file says: {"step": n, "data": {name: number}, "totalSteps"?: n, "checkpoint"?: path}.
//   M1. NaN and infinities are data: bare (as Python's json writes them), as text in any case, or null (as JavaScript writes them).
//   M2. A line that cannot be used is counted and described, never guessed at.

import { LIMITS, type WirePoint } from "../../protocol/messages.js";

/** Longest line, in bytes. */
export const METRICS_LINE_LIMIT = 1024 * 1024;
const NAME_LIMIT = 300;
const NAMES_PER_REPORT = 2_000;
const UNSTORABLE = /\0|\p{Surrogate}/u;

export interface MetricsLine {
  readonly step: number;
  readonly values: readonly (readonly [name: string, value: WirePoint[3]])[];
  readonly totalSteps: number | null;
  readonly checkpoint: string | null;
  /** What of the line had to be left out, in words. */
  readonly leftOut: string | null;
}

/** The line, or what is wrong with it. */
export function parseMetricsLine(text: string): MetricsLine | { readonly problem: string } {
  let value: unknown;
  try {
    value = parseLenient(text);
  } catch {
    return { problem: "it is not JSON" };
  }
  if (value === null || typeof value !== "object" || Array.isArray(value)) return { problem: "it is not a JSON object" };
  const { step, data, totalSteps, checkpoint } = value as Record<string, unknown>;
  if (typeof step !== "number" || !Number.isSafeInteger(step)) return { problem: `"step" must be a whole number` };
  if (data !== undefined && (data === null || typeof data !== "object" || Array.isArray(data))) return { problem: `"data" must be an object of name → number` };
  if (checkpoint !== undefined && (typeof checkpoint !== "string" || checkpoint === "")) return { problem: `"checkpoint" must be a path` };
  if (totalSteps !== undefined && !(typeof totalSteps === "number" && Number.isSafeInteger(totalSteps) && totalSteps > 0)) return { problem: `"totalSteps" must be a whole number above 0` };

  const values: [string, WirePoint[3]][] = [];
  let leftOut: string | null = null;
  for (const [name, given] of Object.entries(data ?? {})) {
    const point = wireValue(given);
    if (point === null) leftOut ??= `${JSON.stringify(name.slice(0, 100))} is no number`;
    else if (name === "" || name.length > NAME_LIMIT || UNSTORABLE.test(name)) leftOut ??= `metric names have 1 to ${NAME_LIMIT} printable characters`;
    else values.push([name, point]);
  }
  return { step, values, totalSteps: (totalSteps as number | undefined) ?? null, checkpoint: (checkpoint as string | undefined) ?? null, leftOut };
}

function wireValue(given: unknown): WirePoint[3] | null {
  if (given === null) return "NaN"; // M1
  if (typeof given === "string") {
    switch (given.trim().toLowerCase()) {
      case "nan": return "NaN";
      case "inf": case "infinity": case "+inf": case "+infinity": return "Infinity";
      case "-inf": case "-infinity": return "-Infinity";
      default: return null;
    }
  }
  if (typeof given !== "number") return null;
  if (Number.isFinite(given)) return given;
  return given > 0 ? "Infinity" : "-Infinity"; // 1e999
}

/** JSON in which bare NaN, Infinity and -Infinity may stand. */
function parseLenient(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (!/NaN|Infinity/.test(text)) throw error;
    return JSON.parse(text.replace(/"(?:[^"\\]|\\.)*"|-?\bInfinity\b|\bNaN\b/g, (token) => (token.startsWith('"') ? token : `"${token}"`)));
  }
}

/** Points of several lines in the shape of reports: each within the limits of the protocol. */
export function packPoints(lines: readonly MetricsLine[], at: number): { names: string[]; points: WirePoint[] }[] {
  const packs: { names: string[]; points: WirePoint[] }[] = [];
  let indexOf = new Map<string, number>();
  let pack: { names: string[]; points: WirePoint[] } | null = null;
  for (const { step, values } of lines) {
    for (const [name, value] of values) {
      if (pack === null || pack.points.length >= LIMITS.pointsPerReport || (!indexOf.has(name) && pack.names.length >= NAMES_PER_REPORT)) {
        pack = { names: [], points: [] };
        indexOf = new Map();
        packs.push(pack);
      }
      let index = indexOf.get(name);
      if (index === undefined) {
        index = pack.names.push(name) - 1;
        indexOf.set(name, index);
      }
      pack.points.push([index, step, at, value]);
    }
  }
  return packs;
}
