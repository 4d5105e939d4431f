// Values as Hydra's override grammar wants them, for an argv without any shell.
//   H1. Every string is quoted: unquoted ones break on , = ( ) { } # ; a leading ~ and letters beyond ASCII, and 1e5, null or true would change their type.
//   H2. Inside single quotes only a quote, and a run of backslashes before one (or at the end), needs backslashes; likewise `${`, or OmegaConf would resolve it.

import type { OverrideValue } from "../domain/training/train-params.js";

/** One override. `mode`: "set" for keys that the configuration has (a typo is an error), "force" for those it may lack (`++`). */
export interface Override { readonly key: string; readonly value: OverrideValue; readonly mode: "set" | "force" }

/** `key=value` as one argument. */
export function overrideArgument({ key, value, mode }: Override): string {
  return `${mode === "force" ? "++" : ""}${key}=${hydraValue(value)}`;
}

/** A value in Hydra's grammar. Throws RangeError on numbers that are not finite. */
export function hydraValue(value: OverrideValue): string {
  if (value === null) return "null";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (typeof value === "number") return hydraNumber(value);
  if (typeof value === "string") return quoted(value);
  if (Array.isArray(value)) return `[${(value as readonly OverrideValue[]).map(hydraValue).join(",")}]`;
  return `{${Object.entries(value as Record<string, OverrideValue>).map(([key, inner]) => `${dictionaryKey(key)}:${hydraValue(inner)}`).join(",")}}`;
}

function hydraNumber(value: number): string {
  if (!Number.isFinite(value)) throw new RangeError(`${value} cannot be given to Hydra`);
  return Object.is(value, -0) ? "0" : String(value); // 1e-7 and 1e+21 are floats there too
}

/** H1, H2. */
function quoted(text: string): string {
  const uninterpolated = text.replace(/(\\*)\$\{/g, (_all, slashes: string) => `${slashes}${slashes}\\\${`);
  const inner = uninterpolated.replace(/(\\*)'/g, (_all, slashes: string) => `${slashes}${slashes}\\'`).replace(/\\+$/, (slashes) => slashes + slashes);
  return `'${inner}'`;
}

/** Keys of a dictionary cannot be quoted. Throws RangeError on one that Hydra cannot read. */
function dictionaryKey(key: string): string {
  if (!/^[A-Za-z_][\w.-]*$/.test(key)) throw new RangeError(`${JSON.stringify(key)} cannot be a key in an override: use letters, digits, '_', '-' and '.'`);
  return key;
}

/** Whether a key path can stand before `=`: names joined by dots, list positions among them. */
export function isKeyPath(key: string): boolean {
  return /^[A-Za-z_][\w-]*(?:\.[A-Za-z0-9_][\w-]*)*$/.test(key) && key.length <= 300;
}
