// The configuration that verl would have after these overrides, composed from the key table of the release as Hydra composes it from verl's own files.
//   K1. A key that the table lacks is refused unless it is added (+) or forced (++).

import type { OverrideValue } from "../domain/training/train-params.js";
import { configReader, type EffectiveConfig } from "../verl/effective-config.js";
import { keyTable, type ConfigName, type KeyTable, type KnownRelease } from "../verl/releases.js";
import { OverrideParseError, readOverride, type GivenOverride } from "./hydra-grammar.js";
import { Float, type PythonValue } from "./python-text.js";
import { CompositionError } from "./trainer-failure.js";

export interface ComposedConfig extends EffectiveConfig {
  /** Group of the training engine: fsdp, megatron, … Megatron's settings do not say it themselves. */
  readonly engine: string;
  /** Every key with its value, as a nested dictionary. `resolved`: interpolations followed. */
  dump(resolved: boolean): PythonValue;
  /** As `value`, but a missing mandatory value ("???") is refused as OmegaConf does. Throws CompositionError. */
  needed(key: string): OverrideValue;
  /** File names of a key that takes one or several. */
  files(key: string): readonly string[];
}

/** `arguments_`: what stands after the module. Hydra's own settings (hydra.…) are taken and dropped. Throws CompositionError. */
export function composeConfig(release: KnownRelease, base: "ppo_trainer" | "sft_trainer_engine", arguments_: readonly string[]): ComposedConfig {
  const words = arguments_.filter((word) => !word.startsWith("--"));
  const named = arguments_.find((word) => word.startsWith("--config-name="))?.slice("--config-name=".length) ?? base;
  const overrides = words.map(parse).filter(({ key }) => !key.startsWith("hydra."));
  const groups = overrides.filter(({ key }) => key === "engine" || key === "optim" || key === "model_engine");
  const group = base === "ppo_trainer" ? "model_engine" : "engine";
  const engine = groups.find(({ key }) => key === group)?.value ?? null;
  const name = (engine === null || engine === "fsdp" || engine === "dp" ? named : `${named}+${String(engine)}`) as ConfigName;
  const table = keyTable(release, name);
  if (table.size === 0) throw new CompositionError("MissingConfigException", engine === null ? `Cannot find primary config '${named}'. Check that it's in your config search path.` : `In '${named}': Could not find '${group}/${String(engine)}'`);
  const given = new Map<string, OverrideValue>();
  for (const override of overrides) if (!groups.includes(override)) apply(override, table, given);
  return configOf(table, given, engine === null || engine === "dp" ? "fsdp" : String(engine));
}

function parse(argument: string): GivenOverride {
  try {
    return readOverride(argument);
  } catch (error) {
    throw error instanceof OverrideParseError ? new CompositionError("OverrideParseException", error.message) : error;
  }
}

/** K1. */
function apply({ mode, key, value, text }: GivenOverride, table: KeyTable, given: Map<string, OverrideValue>): void {
  const known = table.has(key) || given.has(key) || isGroup(key, table);
  if (mode === "set" && !known) throw new CompositionError("ConfigCompositionException", `Could not override '${key}'.\nTo append to your config use +${key}=${text}\nKey '${key.slice(key.lastIndexOf(".") + 1)}' is not in struct\n    full_key: ${key}\n    object_type=dict`);
  if (mode === "add" && known && (given.get(key) ?? table.get(key)?.[1]) != null) {
    throw new CompositionError("ConfigCompositionException", `Could not append to config. An item is already at '${key}'.\nEither remove + prefix: '${key}=${text}'\nOr add a second + to add or override '${key}': '++${key}=${text}'\n`);
  }
  for (const path of [...given.keys()]) if (path.startsWith(`${key}.`)) given.delete(path); // a group given whole
  given.set(key, value);
}

function isGroup(key: string, table: KeyTable): boolean {
  for (const known of table.keys()) if (known.startsWith(`${key}.`)) return true;
  return false;
}

function configOf(table: KeyTable, given: ReadonlyMap<string, OverrideValue>, engine: string): ComposedConfig {
  const config = configReader(table, given);
  return {
    ...config, engine,
    needed(key) {
      const value = config.value(key);
      if (value === "???") throw new CompositionError("MissingMandatoryValue", `Missing mandatory value: ${key}\n    full_key: ${key}\n    object_type=dict`);
      return value ?? null;
    },
    files(key) {
      const value = config.value(key);
      return typeof value === "string" ? [value] : Array.isArray(value) ? value.map(String) : [];
    },
    dump(resolved) {
      const root: Record<string, unknown> = {};
      for (const key of new Set([...table.keys(), ...given.keys()])) {
        const parts = key.split(".");
        let at = root;
        for (const part of parts.slice(0, -1)) at = (typeof at[part] === "object" && at[part] !== null && !Array.isArray(at[part]) ? at[part] : (at[part] = {})) as Record<string, unknown>;
        const value = resolved ? config.value(key) : given.has(key) ? given.get(key) : (table.get(key)?.[1] as OverrideValue);
        at[parts.at(-1)!] = typeof value === "number" && table.get(key)?.[0].startsWith("float") === true ? new Float(value) : (value ?? null);
      }
      return root as PythonValue;
    },
  };
}
