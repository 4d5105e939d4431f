// What a user gives by verl's own key paths, judged against the tables of one release before anything is queued: unknown key (with the nearest one), wrong type,
// renamed key, and keys that Trainyard must decide itself.
//   O1. A key is known when verl's files have it, when the dataclass that reads the group has it, or when it lies in a group that verl reads key by key.

import { nearestName } from "../domain/pipeline/dag.js";
import { excerpt, type Problem } from "../domain/errors.js";
import type { OverrideValue, TrainParams } from "../domain/training/train-params.js";
import { OURS_IN_GENERATION } from "./generation.js";
import { hydraValue, isKeyPath } from "./hydra.js";
import { addableKeys, keyTable, type AddableKeys, type ConfigName, type KeyTable, type Release } from "./releases.js";
import { renamedKey } from "./renamed-keys.js";
import { configOf } from "./train-command.js";

/** Judges every override of the params. `path` is where `overrides` stands, e.g. stages[1].params.overrides. */
export function overrideProblems(params: TrainParams, release: Release, path: string): Problem[] {
  const tables = tablesFor(release, configOf(params));
  return Object.entries(params.overrides).flatMap(([key, value]) => {
    const found = judge(key, value, params, release, tables);
    return found === null ? [] : [{ ...found, path: `${path}.${excerpt(key)}`, severity: found.severity ?? "ERROR" } as Problem];
  });
}

/** Judges the overrides of an evaluation's generation server, whose configuration is the RL trainer's. */
export function generationOverrideProblems(overrides: TrainParams["overrides"], release: Release, path: string): Problem[] {
  const tables = tablesFor(release, "ppo_trainer");
  return Object.entries(overrides).flatMap(([key, value]) => {
    const found = judge(key, value, { algorithm: "generation", overrides }, release, tables, OURS_IN_GENERATION);
    return found === null ? [] : [{ ...found, path: `${path}.${excerpt(key)}`, severity: found.severity ?? "ERROR" } as Problem];
  });
}

type Found = Pick<Problem, "code" | "message" | "hint"> & { readonly severity?: Problem["severity"] };

/** What is judged: a training, by its algorithm, or the drawing of answers. */
interface Subject { readonly algorithm: TrainParams["algorithm"] | "generation"; readonly overrides: TrainParams["overrides"] }

interface Tables { readonly keys: KeyTable; readonly addable: AddableKeys }
const tablesFor = ({ release }: Release, config: ConfigName): Tables => ({ keys: keyTable(release, config), addable: addableKeys(release, config) });

function judge(key: string, value: OverrideValue, subject: Subject, release: Release, tables: Tables, ours: Readonly<Record<string, string>> = OURS): Found | null {
  const shown = excerpt(key);
  if (!isKeyPath(key)) return { code: "INVALID_OVERRIDE", message: `"${shown}" is no key path of verl.`, hint: "Write the key alone, e.g. actor_rollout_ref.actor.optim.lr, without + or ++ and without a value." };
  if (Object.hasOwn(ours, key)) return { code: "RESERVED_OVERRIDE", message: `"${key}" is set by Trainyard: ${ours[key]!}.`, hint: "Leave it out." };
  try {
    hydraValue(value);
  } catch (error) {
    return { code: "INVALID_OVERRIDE", message: `"${key}": ${(error as Error).message}.`, hint: null };
  }
  const renamed = renamedKey(key, release);
  if (renamed === null) return judgeKnown(key, value, subject, release, tables);
  const message = `verl ${release.release} reads "${renamed.to}" instead of "${key}"`;
  if (Object.hasOwn(subject.overrides, renamed.to)) return { code: "RENAMED_OVERRIDE", message: `${message}, and both are given.`, hint: `Leave "${key}" out.` };
  if (!renamed.moved) return { code: "RENAMED_OVERRIDE", message: `${message}, ${renamed.consequence}.`, hint: `Write "${renamed.to}".` };
  return judgeKnown(renamed.to, value, subject, release, tables) ?? { code: "RENAMED_OVERRIDE", message: `${message}; it is given under that name.`, hint: `Write "${renamed.to}".`, severity: "WARNING" };
}

/** A key by the name that the release has for it. */
function judgeKnown(key: string, value: OverrideValue, subject: Subject, release: Release, { keys, addable }: Tables): Found | null {
  const type = keys.get(key)?.[0] ?? addable.get(key) ?? keys.get(likeOthers(key, release))?.[0]; // O1
  if (type !== undefined) return mistyped(key, value, type, subject);
  if (openEnded(key, keys) || openEnded(key, addable)) return null; // O1
  const settled = SETTLED[key];
  if (settled !== undefined && release.engineWorkers && settled.includes(value as string)) return { code: "REMOVED_OVERRIDE", message: `verl ${release.release} no longer reads "${key}": it always does what this value asked for.`, hint: "Leave it out.", severity: "WARNING" };
  if (isGroup(key, keys)) {
    return isPlainObject(value)
      ? { code: "OVERRIDE_REPLACES_GROUP", message: `"${key}" is a group of keys; giving it whole replaces all of them.`, hint: "Give each key by its own path." }
      : { code: "WRONG_OVERRIDE_TYPE", message: `"${key}" is a group of keys, not a value.`, hint: "Give one of its keys, by its whole path." };
  }
  const near = nearestKey(key, keys);
  return { code: "UNKNOWN_OVERRIDE", message: `verl ${release.release} knows no key "${excerpt(key)}" for ${subject.algorithm}.`, hint: near === null ? "Keys are those of verl's own configuration for this trainer." : `Did you mean "${near}"?` };
}

/** Of several teachers of a distillation each has a name of its own and the keys of the one that verl's files show. */
function likeOthers(key: string, { engineWorkers }: Release): string {
  return engineWorkers ? key.replace(/^distillation\.teacher_models\.[\w-]+\./, "distillation.teacher_models.teacher_model.") : key;
}

/** Keys that are gone since all workers are engines, with the values that ask for what is the case now. Upstream's own launches still give them. */
const SETTLED: Readonly<Record<string, readonly string[]>> = { "trainer.use_legacy_worker_impl": ["disable", "auto"] };

/** Keys whose value decides what the attempt leaves where; a user's value would break resume, metrics or the end of the stage. */
const OURS: Readonly<Record<string, string>> = {
  "trainer.default_local_dir": "every attempt keeps its checkpoints in its own directory",
  "trainer.default_hdfs_dir": "checkpoints stay where they can be seen complete",
  "trainer.resume_mode": "a retry goes on from the last complete checkpoint, see params.resume",
  "trainer.resume_from_path": "use params.resume",
  "trainer.nnodes": "use resources.nodes",
  "trainer.n_gpus_per_node": "use resources.gpus",
};

/** What verl takes at keys whose default shows less than that. */
const ALSO_TEXT: Readonly<Record<string, readonly string[]>> = { "trainer.save_freq": ["after_each_epoch"], "trainer.test_freq": ["after_each_epoch"] };
const ALSO_LIST: ReadonlySet<string> = new Set(["trainer.logger", "data.train_files", "data.val_files", "model.target_modules", "actor_rollout_ref.model.target_modules", "critic.model.target_modules"]);
const ALSO_ANYTHING: ReadonlySet<string> = new Set(["data.train_max_samples", "data.val_max_samples"]);

function mistyped(key: string, value: OverrideValue, type: string, subject: Subject): Found | null {
  const nullable = type.endsWith("?");
  const kind = nullable ? type.slice(0, -1) : type;
  if (kind === "any" || ALSO_ANYTHING.has(key)) return null;
  if (value === null) return nullable ? null : wrong(key, value, kind);
  if (typeof value === "string" && subject.algorithm === "sft" && ALSO_TEXT[key]?.includes(value) === true) return null;
  if (ALSO_LIST.has(key) && (Array.isArray(value) || typeof value === "string")) return null;
  return FITS[kind]?.(value) === false ? wrong(key, value, kind) : null;
}

const FITS: Readonly<Record<string, (value: OverrideValue) => boolean>> = {
  bool: (value) => typeof value === "boolean",
  int: (value) => Number.isInteger(value),
  float: (value) => typeof value === "number",
  str: (value) => typeof value === "string",
  list: (value) => Array.isArray(value),
  dict: isPlainObject,
};
const IN_WORDS: Readonly<Record<string, string>> = { bool: "true or false", int: "a whole number", float: "a number", str: "text", list: "a list", dict: "an object" };

function wrong(key: string, value: OverrideValue, kind: string): Found {
  return { code: "WRONG_OVERRIDE_TYPE", message: `"${key}" takes ${IN_WORDS[kind] ?? kind}, not ${excerpt(JSON.stringify(value))}.`, hint: typeof value === "string" && kind !== "str" ? "Write it without quotes." : null };
}

/** Groups into which verl lets any key be added. */
const OPEN_GROUPS: readonly RegExp[] = [
  /^(?:reward\.)?custom_reward_function\.reward_kwargs\./, /^(?:reward\.reward_kwargs|reward_model\.reward_kwargs)\./, /^ray_kwargs\.ray_init\./, /(?:^|\.)override_config\./, /\.engine_kwargs\.(?:vllm|sglang|trtllm)\./,
  /^data\.(?:output_path|cache_dir|gen_batch_size)$/, /\.override_(?:transformer|optimizer|ddp|mcore_model)_config\./, /(?:^|\.)apply_chat_template_kwargs\./, /\.mindspeed\.(?:mcore|fsdp)_kwargs\./, /^trainer\.wandb_proxy$/,
];

/** Whether verl takes keys of this name although the table lacks them: open groups, and whatever lies under an empty dictionary. */
function openEnded(key: string, table: KeyTable | AddableKeys): boolean {
  if (OPEN_GROUPS.some((pattern) => pattern.test(key))) return true;
  for (let dot = key.lastIndexOf("."); dot > 0; dot = key.lastIndexOf(".", dot - 1)) {
    const entry = table.get(key.slice(0, dot));
    const type = typeof entry === "string" ? entry : entry?.[0];
    if (type !== undefined) return type.startsWith("dict") || type === "any";
  }
  return false;
}

function isGroup(key: string, table: KeyTable): boolean {
  for (const known of table.keys()) if (known.startsWith(`${key}.`)) return true;
  return false;
}

/** By spelling of the whole path, else a key with the same last name: people often forget the front. */
function nearestKey(key: string, table: KeyTable): string | null {
  const near = nearestName(key, table.keys());
  if (near !== null) return near;
  const tail = `.${key.split(".").slice(-2).join(".")}`;
  const last = `.${key.split(".").at(-1)!}`;
  const keys = [...table.keys()];
  return keys.find((known) => `.${known}`.endsWith(tail)) ?? keys.find((known) => `.${known}`.endsWith(last)) ?? null;
}

function isPlainObject(value: OverrideValue): boolean {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
