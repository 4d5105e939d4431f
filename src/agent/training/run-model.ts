// The model that a run starts from, where it runs: whether it is there, and what its config.json tells.

import { isAbsolute, join } from "node:path";
import { parametersInName, sizeByConfig, sizeByParameters, type ModelSize } from "../../verl/memory-estimate.js";
import type { ModelFacts } from "../../verl/preflight.js";
import { failed, NeverStarted } from "../attempt/program-role.js";
import type { Place } from "../place/place.js";

/** How long the interpreter may take for a word, in milliseconds. */
const ASK_MS = 60_000;
/** Longest config.json that is read, in bytes. */
const CONFIG_BYTES = 4 * 1024 * 1024;

export interface RunModel { readonly facts: ModelFacts | null; readonly size: ModelSize | null }

const HUB_ID = /^[A-Za-z0-9][\w.-]*(?:\/[A-Za-z0-9][\w.-]*)?$/;

export interface ModelHost {
  readonly place: Place;
  /** Words that start the interpreter. */
  readonly python: readonly string[];
  /** Of the trainer. */
  readonly environment: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
}

/** `field`: where the name stands. Throws NeverStarted when it cannot be there: no such folder, or a hub id that is not in the cache although the hub is not asked. */
export async function findModel(model: string, field: string, host: ModelHost): Promise<RunModel> {
  const { place } = host;
  if (isAbsolute(model)) {
    const kind = (await place.stat([model]))[0]?.kind;
    if (kind !== "folder" && kind !== "link") {
      throw new NeverStarted(failed("FILE_NOT_FOUND", `${field}: there is no folder ${model} on ${place.name}.`, "Models of an earlier stage are only on the host that made them: run both on one host (resources.labels) or on a shared file system."));
    }
    const config = await readConfig(host, model);
    if (config === null) throw new NeverStarted(failed("INVALID_INPUT", `${field}: ${model} is no Hugging Face folder: it has no config.json that can be read.`, "A training checkpoint is made into one by params.export or a merge stage."));
    return describe(config, model);
  }
  if (!HUB_ID.test(model)) throw new NeverStarted(failed("INVALID_INPUT", `${field}: ${JSON.stringify(model)} is neither an absolute path nor a hub id such as Qwen/Qwen2.5-0.5B.`));
  const cache = await hubCache(host);
  const config = await cachedConfig(host, cache, model);
  if (config === null && isOffline(host.environment)) {
    throw new NeverStarted(failed("FILE_NOT_FOUND", `${field}: ${model} is not in the Hugging Face cache of ${place.name} (${cache}), and HF_HUB_OFFLINE says that the hub is not asked.`, "Fetch it there beforehand (hf download), or give the path of a folder."));
  }
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

async function readConfig(host: ModelHost, folder: string): Promise<Record<string, unknown> | null> {
  try {
    const config: unknown = JSON.parse((await readThrough(host, join(folder, "config.json"))) ?? "");
    return typeof config === "object" && config !== null && !Array.isArray(config) ? (config as Record<string, unknown>) : null;
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}

/** A small file's text. In the hub's cache it is a link, which a place does not follow: the interpreter does. */
async function readThrough({ place, python, environment, signal }: ModelHost, path: string): Promise<string | null> {
  const [found] = await place.stat([path]);
  if (found?.kind !== "link") return place.readText(path, CONFIG_BYTES);
  const answer = await place.ask({ argv: [...python, "-c", READ, path, String(CONFIG_BYTES)], environment, timeoutMs: ASK_MS, signal });
  signal.throwIfAborted();
  return answer.kind === "answered" && answer.status === 0 ? answer.stdout : null;
}
const READ = "import sys\nwith open(sys.argv[1], encoding='utf-8') as file: sys.stdout.write(file.read(int(sys.argv[2])))";

function isOffline(environment: Readonly<Record<string, string>>): boolean {
  return /^(?:1|true|yes|on)$/i.test(environment["HF_HUB_OFFLINE"] ?? environment["TRANSFORMERS_OFFLINE"] ?? "");
}

async function hubCache(host: ModelHost): Promise<string> {
  const { environment } = host;
  return environment["HF_HUB_CACHE"] ?? join(environment["HF_HOME"] ?? join(environment["XDG_CACHE_HOME"] ?? join(environment["HOME"] ?? (await homeThere(host)), ".cache"), "huggingface"), "hub");
}

/** Where its user's files lie on a host whose own variables are known only there. */
async function homeThere({ place, python, environment, signal }: ModelHost): Promise<string> {
  const answer = await place.ask({ argv: [...python, "-c", "import os; print(os.path.expanduser('~'))"], environment, timeoutMs: ASK_MS, signal });
  signal.throwIfAborted();
  const home = answer.kind === "answered" ? answer.stdout.trim() : "";
  return isAbsolute(home) ? home : "/";
}

/** The config.json of the model in the cache; null when it is not there. */
async function cachedConfig(host: ModelHost, cache: string, model: string): Promise<Record<string, unknown> | null> {
  const snapshots = join(cache, `models--${model.replaceAll("/", "--")}`, "snapshots");
  for (const { name } of await host.place.list(snapshots)) {
    const config = await readConfig(host, join(snapshots, name));
    if (config !== null) return config;
  }
  return null;
}
