// The model that a run starts from, on this host: whether it is there, and what its config.json tells.

import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { isAbsolute, join } from "node:path";
import { parametersInName, sizeByConfig, sizeByParameters, type ModelSize } from "../../verl/memory-estimate.js";
import type { ModelFacts } from "../../verl/preflight.js";
import { failed, NeverStarted } from "../attempt/program-role.js";

export interface RunModel { readonly facts: ModelFacts | null; readonly size: ModelSize | null }

const HUB_ID = /^[A-Za-z0-9][\w.-]*(?:\/[A-Za-z0-9][\w.-]*)?$/;

/** `field`: where the name stands. Throws NeverStarted when it cannot be there: no such folder, or a hub id that is not in the cache although the hub is not asked. */
export function findModel(model: string, field: string, environment: Readonly<Record<string, string>>): RunModel {
  if (isAbsolute(model)) {
    if (statSync(model, { throwIfNoEntry: false })?.isDirectory() !== true) {
      throw new NeverStarted(failed("FILE_NOT_FOUND", `${field}: there is no folder ${model} on this host.`, "Models of an earlier stage are only on the host that made them: run both on one host (resources.labels) or on a shared file system."));
    }
    const config = readConfig(model);
    if (config === null) throw new NeverStarted(failed("INVALID_INPUT", `${field}: ${model} is no Hugging Face folder: it has no config.json that can be read.`, "A training checkpoint is made into one by params.export or a merge stage."));
    return describe(config, model);
  }
  if (!HUB_ID.test(model)) throw new NeverStarted(failed("INVALID_INPUT", `${field}: ${JSON.stringify(model)} is neither an absolute path nor a hub id such as Qwen/Qwen2.5-0.5B.`));
  const snapshot = cachedSnapshot(model, environment);
  if (snapshot === null && isOffline(environment)) {
    throw new NeverStarted(failed("FILE_NOT_FOUND", `${field}: ${model} is not in the Hugging Face cache of this host (${hubCache(environment)}), and HF_HUB_OFFLINE says that the hub is not asked.`, "Fetch it there beforehand (hf download), or give the path of a folder."));
  }
  const config = snapshot === null ? null : readConfig(snapshot);
  return config === null ? { facts: null, size: sizeByName(model) } : describe(config, model);
}

function describe(config: Readonly<Record<string, unknown>>, name: string): RunModel {
  const number = (key: string) => (typeof config[key] === "number" ? (config[key] as number) : null);
  const [attentionHeads, maxPositions] = [number("num_attention_heads"), number("max_position_embeddings")];
  return {
    facts: attentionHeads === null || maxPositions === null ? null : { attentionHeads, keyValueHeads: number("num_key_value_heads") ?? attentionHeads, maxPositions },
    size: sizeByConfig(config) ?? sizeByName(name),
  };
}

function sizeByName(name: string): ModelSize | null {
  const parameters = parametersInName(name);
  return parameters === null ? null : sizeByParameters(parameters);
}

function readConfig(folder: string): Record<string, unknown> | null {
  try {
    const config: unknown = JSON.parse(readFileSync(join(folder, "config.json"), "utf8"));
    return typeof config === "object" && config !== null && !Array.isArray(config) ? (config as Record<string, unknown>) : null;
  } catch {
    return null;
  }
}

function isOffline(environment: Readonly<Record<string, string>>): boolean {
  return /^(?:1|true|yes|on)$/i.test(environment["HF_HUB_OFFLINE"] ?? environment["TRANSFORMERS_OFFLINE"] ?? "");
}

function hubCache(environment: Readonly<Record<string, string>>): string {
  return environment["HF_HUB_CACHE"] ?? join(environment["HF_HOME"] ?? join(environment["XDG_CACHE_HOME"] ?? join(environment["HOME"] ?? "/", ".cache"), "huggingface"), "hub");
}

function cachedSnapshot(model: string, environment: Readonly<Record<string, string>>): string | null {
  const snapshots = join(hubCache(environment), `models--${model.replaceAll("/", "--")}`, "snapshots");
  try {
    return readdirSync(snapshots).map((revision) => join(snapshots, revision)).find((snapshot) => existsSync(join(snapshot, "config.json"))) ?? null;
  } catch {
    return null;
  }
}
