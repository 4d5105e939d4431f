// What a user gives by verl's own key paths, judged against the tables of one release before anything is queued: unknown key (with the nearest one), wrong type,
// renamed key, and keys that Trainyard must decide itself.

import { nearestName } from "../domain/pipeline/dag.js";
import { excerpt, type Problem } from "../domain/errors.js";
import type { OverrideValue, TrainParams } from "../domain/training/train-params.js";
import { OURS_IN_GENERATION } from "./generation.js";
import { hydraValue, isKeyPath } from "./hydra.js";
import { keyTable, type KeyTable, type Release } from "./releases.js";
import { configOf } from "./train-command.js";

/** Judges every override of the params. `path` is where `overrides` stands, e.g. stages[1].params.overrides. */
export function overrideProblems(params: TrainParams, release: Release, path: string): Problem[] {
  const table = keyTable(release.release, configOf(params));
  return Object.entries(params.overrides).flatMap(([key, value]) => {
    const found = judge(key, value, params, release, table);
    return found === null ? [] : [{ ...found, path: `${path}.${excerpt(key)}`, severity: found.severity ?? "ERROR" } as Problem];
  });
}

/** Judges the overrides of an evaluation's generation server, whose configuration is the RL trainer's. */
export function generationOverrideProblems(overrides: TrainParams["overrides"], release: Release, path: string): Problem[] {
  const table = keyTable(release.release, "ppo_trainer");
  return Object.entries(overrides).flatMap(([key, value]) => {
    const found = judge(key, value, { algorithm: "generation" }, release, table, OURS_IN_GENERATION);
    return found === null ? [] : [{ ...found, path: `${path}.${excerpt(key)}`, severity: found.severity ?? "ERROR" } as Problem];
  });
}

type Found = Pick<Problem, "code" | "message" | "hint"> & { readonly severity?: Problem["severity"] };

/** What is judged: a training, by its algorithm, or the drawing of answers. */
interface Subject { readonly algorithm: TrainParams["algorithm"] | "generation" }

function judge(key: string, value: OverrideValue, params: Subject, release: Release, table: KeyTable, ours: Readonly<Record<string, string>> = OURS): Found | null {
  const shown = excerpt(key);
  if (!isKeyPath(key)) return { code: "INVALID_OVERRIDE", message: `"${shown}" is no key path of verl.`, hint: "Write the key alone, e.g. actor_rollout_ref.actor.optim.lr, without + or ++ and without a value." };
  if (Object.hasOwn(ours, key)) return { code: "RESERVED_OVERRIDE", message: `"${key}" is set by Trainyard: ${ours[key]!}.`, hint: "Leave it out." };
  try {
    hydraValue(value);
  } catch (error) {
    return { code: "INVALID_OVERRIDE", message: `"${key}": ${(error as Error).message}.`, hint: null };
  }
  const renamed = renamedKey(key, release);
  if (renamed !== null) return { code: "RENAMED_OVERRIDE", message: `verl ${release.release} reads "${renamed}" instead of "${key}"${release.rewardKeys === "reward" ? ", and ignores the old key without a word" : ""}.`, hint: `Write "${renamed}".` };
  const entry = table.get(key);
  if (entry !== undefined) return mistyped(key, value, entry[0], params);
  if (openEnded(key, table)) return null;
  if (isGroup(key, table)) {
    return isPlainObject(value)
      ? { code: "OVERRIDE_REPLACES_GROUP", message: `"${key}" is a group of keys; giving it whole replaces all of them.`, hint: "Give each key by its own path." }
      : { code: "WRONG_OVERRIDE_TYPE", message: `"${key}" is a group of keys, not a value.`, hint: "Give one of its keys, by its whole path." };
  }
  const near = nearestKey(key, table);
  return { code: "UNKNOWN_OVERRIDE", message: `verl ${release.release} knows no key "${shown}" for ${params.algorithm}.`, hint: near === null ? "Keys are those of verl's own configuration for this trainer." : `Did you mean "${near}"?` };
}

/** Keys whose value decides what the attempt leaves where; a user's value would break resume, metrics or the end of the stage. */
const OURS: Readonly<Record<string, string>> = {
  "trainer.default_local_dir": "every attempt keeps its checkpoints in its own directory",
  "trainer.default_hdfs_dir": "checkpoints stay where they can be seen complete",
  "trainer.resume_mode": "a retry goes on from the last complete checkpoint, see params.resume",
  "trainer.resume_from_path": "use params.resume",
  "trainer.nnodes": "use resources.nodes",
  "trainer.n_gpus_per_node": "use resources.gpus",
};

function renamedKey(key: string, release: Release): string | null {
  if (release.rewardKeys === "reward") {
    for (const [old, now] of REWARD_RENAMED) if (key === old || key.startsWith(`${old}.`)) return now + key.slice(old.length);
  }
  if (release.criticFsdp === "critic.fsdp" && key.startsWith("critic.model.fsdp_config.")) return key.replace("critic.model.fsdp_config.", "critic.fsdp.");
  return null;
}

const REWARD_RENAMED: readonly (readonly [string, string])[] = [
  ["custom_reward_function", "reward.custom_reward_function"], ["reward_model.reward_manager", "reward.reward_manager.name"], ["reward_model.reward_kwargs", "reward.reward_kwargs"],
  ["reward_model.model.path", "reward.reward_model.model_path"], ["reward_model.num_workers", "reward.num_workers"], ["reward_model.sandbox_fusion", "reward.sandbox_fusion"],
  ["reward_model.enable", "reward.reward_model.enable"], ["reward_model.rollout", "reward.reward_model.rollout"],
];

/** What verl takes at keys whose default shows less than that. */
const ALSO_TEXT: Readonly<Record<string, readonly string[]>> = { "trainer.save_freq": ["after_each_epoch"], "trainer.test_freq": ["after_each_epoch"] };
const ALSO_LIST: ReadonlySet<string> = new Set(["trainer.logger", "data.train_files", "data.val_files", "model.target_modules", "actor_rollout_ref.model.target_modules", "critic.model.target_modules"]);
const ALSO_ANYTHING: ReadonlySet<string> = new Set(["data.train_max_samples", "data.val_max_samples"]);

function mistyped(key: string, value: OverrideValue, type: string, params: Subject): Found | null {
  const nullable = type.endsWith("?");
  const kind = nullable ? type.slice(0, -1) : type;
  if (kind === "any" || ALSO_ANYTHING.has(key)) return null;
  if (value === null) return nullable ? null : wrong(key, value, kind);
  if (typeof value === "string" && params.algorithm === "sft" && ALSO_TEXT[key]?.includes(value) === true) return null;
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
  /^data\.(?:output_path|cache_dir|gen_batch_size)$/, /\.override_(?:transformer|optimizer|ddp|mcore_model)_config\./, /(?:^|\.)apply_chat_template_kwargs\./, /^trainer\.wandb_proxy$/,
];

/** Whether verl takes keys of this name although the table lacks them: open groups, and whatever lies under an empty dictionary. */
function openEnded(key: string, table: KeyTable): boolean {
  if (OPEN_GROUPS.some((pattern) => pattern.test(key))) return true;
  for (let dot = key.lastIndexOf("."); dot > 0; dot = key.lastIndexOf(".", dot - 1)) {
    const type = table.get(key.slice(0, dot))?.[0];
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
