// Small words for writing lists of overrides.

import type { OverrideValue } from "../domain/training/train-params.js";
import type { Override } from "./hydra.js";

/** For a key that the configuration has. */
export function set(key: string, value: OverrideValue): Override {
  return { key, value, mode: "set" };
}

/** For a key that the configuration may lack. */
export function force(key: string, value: OverrideValue): Override {
  return { key, value, mode: "force" };
}

/** The overrides if the condition holds. */
export function when(condition: boolean, ...overrides: readonly Override[]): readonly Override[] {
  return condition ? overrides : [];
}
