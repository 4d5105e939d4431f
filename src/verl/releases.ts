// The verl releases we know, as a table: which module starts what, and which keys were renamed. A release we do not know is treated as the nearest one below it.
// Facts were composed and run against the releases themselves (src/verl/keys is generated from them).

import { readFileSync } from "node:fs";
import { packagePath } from "../package-root.js";

export const KNOWN_RELEASES = ["0.7.0", "0.7.1", "0.8.0", "0.9.0", "0.9.1"] as const;
export type KnownRelease = (typeof KNOWN_RELEASES)[number];

export interface Release {
  /** The table that is used. */
  readonly release: KnownRelease;
  readonly sftModule: string;
  readonly sftConfig: string;
  /** 0.9 has two RL trainers; main_ppo is the new one and imports TransferQueue, which its wheel does not require. The older one is what all other releases have. */
  readonly rlModule: string;
  /** Where reward settings stand. From 0.9 the old keys still compose but are silently ignored. */
  readonly rewardKeys: "reward_model" | "reward";
  /** Whether its RL trainer moves reward settings under the old keys to the new ones. */
  readonly movesRewardKeys: boolean;
  /** Prefix of the critic's FSDP settings. */
  readonly criticFsdp: "critic.model.fsdp_config" | "critic.fsdp";
  /** Whether the JSON-lines logger can be used: in 0.7.0 it loses everything and aborts RL. */
  readonly fileLogger: boolean;
  /** Whether the trainer must be told to use the older RL loop. */
  readonly useV1Key: boolean;
  /** Programs that it can draw answers with. */
  readonly rollouts: readonly string[];
  /** Whether all its workers are engines: they take sequence parallelism from the FSDP settings too. */
  readonly engineWorkers: boolean;
}

const RELEASES: Readonly<Record<KnownRelease, Release>> = {
  "0.7.0": release("0.7.0", { rewardKeys: "reward_model", fileLogger: false, rollouts: ["vllm", "sglang"] }),
  "0.7.1": release("0.7.1", { movesRewardKeys: true }),
  "0.8.0": release("0.8.0", { movesRewardKeys: true, criticFsdp: "critic.fsdp", engineWorkers: true }),
  "0.9.0": release("0.9.0", { criticFsdp: "critic.fsdp", rlModule: "verl.trainer.main_ppo_v0", useV1Key: true, engineWorkers: true }),
  "0.9.1": release("0.9.1", { criticFsdp: "critic.fsdp", rlModule: "verl.trainer.main_ppo_v0", useV1Key: true, engineWorkers: true }),
};

function release(name: KnownRelease, differences: Partial<Release>): Release {
  return {
    release: name, sftModule: "verl.trainer.sft_trainer", sftConfig: "sft_trainer_engine", rlModule: "verl.trainer.main_ppo", rewardKeys: "reward", movesRewardKeys: false, rollouts: ["vllm", "sglang", "trtllm"], engineWorkers: false, criticFsdp: "critic.model.fsdp_config", fileLogger: true, useV1Key: false,
    ...differences,
  };
}

/** Major, minor and patch of what verl says of itself: a tag may call itself 0.7.0.dev. Null when it is no version. */
export function plainVersion(version: string): readonly [number, number, number] | null {
  const match = /^(\d+)\.(\d+)(?:\.(\d+))?/.exec(version);
  return match === null ? null : [Number(match[1]), Number(match[2]), Number(match[3] ?? 0)];
}

export interface ReleaseChoice {
  readonly release: Release;
  /** False: this version was never tried; the table of the nearest release below is used. */
  readonly tried: boolean;
}

/** The table for an installed version; null below 0.7.0, which cannot be used. */
export function releaseFor(version: string): ReleaseChoice | null {
  const wanted = plainVersion(version);
  if (wanted === null) return null;
  const below = KNOWN_RELEASES.filter((name) => compare(plainVersion(name)!, wanted) <= 0).at(-1);
  return below === undefined ? null : { release: RELEASES[below], tried: compare(plainVersion(below)!, wanted) === 0 };
}

function compare(a: readonly number[], b: readonly number[]): number {
  return a[0]! - b[0]! || a[1]! - b[1]! || a[2]! - b[2]!;
}

/** Names of the configurations whose keys are known. What follows a `+` is the training engine (engines.ts). */
export type ConfigName = "ppo_trainer" | "ppo_trainer+veomni" | "ppo_trainer+mindspeed" | "ppo_megatron_trainer" | "sft_trainer_engine" | "sft_trainer_engine+megatron" | "sft_trainer_engine+veomni" | "sft_trainer_engine+automodel" | "evaluation";

/** [type, default]. Types: bool int float str list dict any, with "?" when null is allowed; "any" also where verl does not say. */
export type KeyEntry = readonly [type: string, fallback: unknown];
export type KeyTable = ReadonlyMap<string, KeyEntry>;

interface Tables { readonly keys: ReadonlyMap<string, KeyTable>; readonly addable: ReadonlyMap<string, AddableKeys>; readonly registered: Registered }

/** What verl's decorators enter by name. */
export interface Registered {
  /** Values of algorithm.adv_estimator. */
  readonly estimators: readonly string[];
  /** Values of policy_loss.loss_mode. */
  readonly losses: readonly string[];
  /** Values of loss_agg_mode. */
  readonly aggregations: readonly string[];
  /** Training engines per kind of model (value_model is the critic), each with the devices it runs on. */
  readonly engines: Readonly<Record<"language_model" | "value_model", Readonly<Record<string, readonly string[]>>>>;
}

/** Keys that verl's files lack and its dataclasses have, with their types: verl takes them from who adds them. */
export type AddableKeys = ReadonlyMap<string, string>;

const read = new Map<KnownRelease, Tables>();

/** Read from disk once; the files are generated (npm run generate:verl-keys). */
function tablesOf(release: KnownRelease): Tables {
  const kept = read.get(release);
  if (kept !== undefined) return kept;
  const { configs, addable, registered } = JSON.parse(readFileSync(packagePath("src", "verl", "keys", `${release}.json`), "utf8")) as { configs: Record<string, Record<string, KeyEntry>>; addable: Record<string, Record<string, string>>; registered: Registered };
  const tables = { registered, keys: new Map(Object.entries(configs).map(([name, keys]) => [name, new Map(Object.entries(keys))])), addable: new Map(Object.entries(addable).map(([name, keys]) => [name, new Map(Object.entries(keys))])) };
  read.set(release, tables);
  return tables;
}

/** Every key of a configuration. */
export function keyTable(release: KnownRelease, config: ConfigName): KeyTable {
  return tablesOf(release).keys.get(config) ?? new Map();
}

export function addableKeys(release: KnownRelease, config: ConfigName): AddableKeys {
  return tablesOf(release).addable.get(config) ?? new Map();
}

export function registeredIn(release: KnownRelease): Registered {
  return tablesOf(release).registered;
}
