// verl's JSON-lines logger (0.7.1 and later): {"step": n, "data": {key: value}} per line. The second source, reconciled by step with the console.
//   F1. The file has NaN and infinities as null (bare NaN in 0.7.0): a null says only that the value was not finite; the console says which.
//   F2. The console is believed where both speak of a finite value and agree to the digits printed; what only the file has is added.

import type { ConsolePoint } from "./console-lines.js";

/** Points of one line; a null value is given as NaN (F1). Null when the line is not one of verl's. */
export function readFileLine(line: string): { readonly step: number; readonly points: readonly ConsolePoint[] } | null {
  let parsed: unknown;
  try {
    parsed = JSON.parse(line.replace(/(?<=[:,[\s])(?:NaN|-?Infinity)(?=\s*[,}\]])/g, "null"));
  } catch {
    return null;
  }
  const { step, data } = (parsed ?? {}) as { step?: unknown; data?: unknown };
  if (typeof step !== "number" || !Number.isSafeInteger(step) || typeof data !== "object" || data === null || Array.isArray(data)) return null;
  const points = Object.entries(data).flatMap(([name, value]): ConsolePoint[] =>
    (typeof value === "number" ? [{ name, step, value }] : typeof value === "boolean" ? [{ name, step, value: value ? 1 : 0 }] : value === null ? [{ name, step, value: Number.NaN }] : []));
  return { step, points };
}

/** What the file knows and the console did not say: points of the file whose (step, name) was not seen. `seen` is asked and told. */
export function missingFromConsole(points: readonly ConsolePoint[], seen: (step: number, name: string) => boolean): readonly ConsolePoint[] {
  return points.filter(({ step, name }) => !seen(step, name)); // F2
}
