// What verl would read at a key: the last override of it, else verl's default, with plain interpolations followed. Rules judge this and not the params, so
// that they see what a user set by key path too.

import type { OverrideValue, TrainParams } from "../domain/training/train-params.js";
import type { LaunchContext } from "./launch-context.js";
import { keyTable, type KeyTable, type Release } from "./releases.js";
import { configOf, overridesOf } from "./train-command.js";

export interface EffectiveConfig {
  /** Undefined: no such key, or a value that only verl can compute. */
  value(key: string): OverrideValue | undefined;
  number(key: string): number | null;
  flag(key: string): boolean;
  text(key: string): string | null;
}

/** More hops are a cycle. */
const MOST_HOPS = 8;

export function effectiveConfig(params: TrainParams, release: Release, context: LaunchContext): EffectiveConfig {
  return configReader(keyTable(release.release, configOf(params)), new Map(overridesOf(params, release, context).map(({ key, value }) => [key, value])));
}

/** A configuration by verl's table and what is given over it. */
export function configReader(table: KeyTable, given: ReadonlyMap<string, OverrideValue>): EffectiveConfig {
  const value = (key: string, hops = 0): OverrideValue | undefined => {
    const found = given.has(key) ? given.get(key)! : (table.get(key)?.[1] as OverrideValue | undefined);
    return typeof found === "string" && found.includes("${") && !given.has(key) && hops < MOST_HOPS ? followed(found, key, (other) => value(other, hops + 1)) : found;
  };
  return {
    value: (key) => value(key),
    number: (key) => (typeof value(key) === "number" ? (value(key) as number) : null),
    flag: (key) => value(key) === true,
    text: (key) => (typeof value(key) === "string" ? (value(key) as string) : null),
  };
}

/** `${key}`, `${.sibling}`, `${oc.select:key,fallback}`; anything else is verl's own business. */
function followed(text: string, key: string, read: (key: string) => OverrideValue | undefined): OverrideValue | undefined {
  const plain = /^\$\{(\.*)([\w.]+)\}$/.exec(text);
  if (plain !== null) return read(absolute(key, plain[1]!.length, plain[2]!));
  const select = /^\$\{oc\.select:(\.*)([\w.]+)(?:,([^}]*))?\}$/.exec(text);
  if (select === null) return undefined;
  const found = read(absolute(key, select[1]!.length, select[2]!));
  if (found !== undefined) return found;
  const fallback = (select[3] ?? "null").trim();
  if (fallback === "null" || fallback === "") return null;
  if (fallback === "true" || fallback === "True") return true;
  if (fallback === "false" || fallback === "False") return false;
  return Number.isNaN(Number(fallback)) ? fallback : Number(fallback);
}

/** One leading dot means the key's own group, each further one the group around it. */
function absolute(key: string, dots: number, path: string): string {
  return dots === 0 ? path : [...key.split(".").slice(0, -dots), path].join(".");
}
