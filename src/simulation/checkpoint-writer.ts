// Checkpoints as verl leaves them: the names, the order of writing, and what is deleted when. The shards hold a line of text.
//   W1. A shard is written in place, without another name first: a folder newer than the tracker may be partial.
//   W2. SFT renames its tracker into place; RL opens the old one for writing, so that it is empty for a moment.
//   W3. What was saved is remembered in memory only: a resumed run deletes no checkpoint of the run before. 0.7.0 deletes before it writes.

import { closeSync, existsSync, mkdirSync, openSync, readFileSync, renameSync, rmSync, statSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fsdpShape, TRACKER_FILE } from "../verl/output/checkpoint-layout.js";
import type { KnownRelease } from "../verl/releases.js";
import { marked, markedText, SIMULATED } from "./simulated-mark.js";
import { TrainerFailure } from "./trainer-failure.js";

export interface ShardOrder {
  /** Folders that get shards of each rank. */
  readonly folders: readonly string[];
  readonly step: number;
  readonly worldSize: number;
  /** checkpoint.save_contents. */
  readonly contents: readonly string[];
  readonly layout: ShardLayout;
  /** Between two files, in milliseconds. */
  readonly saveMs: number;
}

/** How a release's engine cuts its checkpoints: Megatron's came apart in 0.9. */
export type ShardLayout = "fsdp" | "megatron" | "megatron in parts" | "automodel";

/** `strategy`: of the actor, or of SFT's engine. */
export function layoutOf(strategy: string, release: KnownRelease): ShardLayout {
  if (strategy === "automodel") return "automodel";
  if (!["megatron", "mindspeed"].includes(strategy)) return "fsdp";
  return release.startsWith("0.9.") ? "megatron in parts" : "megatron";
}

/** Bytes of a shard, so that one that was cut off is shorter. */
const SHARD_BYTES = 4_096;

/** The files of one rank (W1). `only`: dies, so to say, after so many files. */
export async function writeShards(order: ShardOrder, rank: number, only = Number.POSITIVE_INFINITY): Promise<void> {
  let written = 0;
  for (const folder of order.folders) {
    mkdirSync(folder, { recursive: true });
    for (const name of shardNames(order, rank)) {
      mkdirSync(join(folder, name, ".."), { recursive: true });
      const whole = written++ < only;
      writeFileSync(join(folder, name), shardText(order.step, rank).slice(0, whole ? SHARD_BYTES : SHARD_BYTES / 2));
      if (!whole) return;
      if (order.saveMs > 0) await delay(order.saveMs);
    }
  }
}

function shardNames({ worldSize, contents, layout }: ShardOrder, rank: number): readonly string[] {
  const distributed = (folder: string) => [...(rank === 0 ? [`${folder}/.metadata`, `${folder}/common.pt`, `${folder}/metadata.json`] : []), `${folder}/__${rank}_0.distcp`, `${folder}/__${rank}_1.distcp`];
  if (layout === "megatron") return distributed("dist_ckpt");
  if (layout === "megatron in parts") return ["optimizer", "extra"].flatMap((part) => (contents.includes(part) ? distributed(`${part}/dist_ckpt`) : []));
  if (layout === "automodel") return [`model/shard-${String(rank + 1).padStart(5, "0")}-model-00001-of-00001.safetensors`, `optim/__${rank}_0.distcp`];
  return fsdpShape(worldSize, [""], contents).files.filter((name) => name.endsWith(`_rank_${rank}.pt`));
}

function shardText(step: number, rank: number): string {
  return `Trainyard simulation: no weights. Step ${step}, rank ${rank}.\n`.padEnd(SHARD_BYTES, ".");
}

/** What rank 0 adds to a folder of shards. */
export function writeModelDescription(folder: string, { worldSize, model, layout, lora, weights, step }: { worldSize: number; model: string; layout: ShardLayout; lora: LoraFacts | null; weights: boolean; step: number }): void {
  const described = join(folder, modelFolderOf(layout));
  mkdirSync(described, { recursive: true });
  writeModelFolder(described, model, weights || layout !== "fsdp" ? step : null); // by mbridge, Megatron's default, or consolidated by Automodel
  if (layout === "automodel") writeFileSync(join(folder, "optim", ".metadata"), "");
  if (layout === "megatron in parts") writeFileSync(join(folder, "ckpt_contents.json"), JSON.stringify({ schema_version: 2, framework: "megatron", global_step: step, world_size: worldSize }, null, 2));
  if (layout === "fsdp") writeFileSync(join(folder, "fsdp_config.json"), JSON.stringify({ FSDP_version: 1, world_size: worldSize }, null, 4));
  if (lora !== null) writeAdapter(join(folder, "lora_adapter"), model, lora, step);
}

/** Where a checkpoint has what Hugging Face's programs read, under its folder. */
export function modelFolderOf(layout: ShardLayout): string {
  return { fsdp: "huggingface", megatron: "huggingface", "megatron in parts": "model/huggingface", automodel: "model/consolidated" }[layout];
}

export interface LoraFacts { readonly rank: number; readonly alpha: number; readonly targets: unknown }

/** config.json and its like, from the model's own folder where it is one; with weights when `step` is given. */
export function writeModelFolder(folder: string, model: string, step: number | null): void {
  mkdirSync(folder, { recursive: true });
  for (const name of ["config.json", "generation_config.json", "tokenizer_config.json", "tokenizer.json", "special_tokens_map.json", "chat_template.jinja"]) {
    const source = join(model, name);
    if (!existsSync(source)) continue;
    writeFileSync(join(folder, name), name === "config.json" ? markedText(readFileSync(source, "utf8")) : readFileSync(source));
  }
  if (!existsSync(join(folder, "config.json"))) writeFileSync(join(folder, "config.json"), `${JSON.stringify(marked({ _name_or_path: model, architectures: ["SimulatedForCausalLM"], model_type: "simulated" }), null, 2)}\n`);
  if (!existsSync(join(folder, "tokenizer_config.json"))) writeFileSync(join(folder, "tokenizer_config.json"), `${JSON.stringify(marked({ tokenizer_class: "SimulatedTokenizer" }), null, 2)}\n`);
  if (step !== null) writeFileSync(join(folder, "model.safetensors"), safetensors(step));
}

function writeAdapter(folder: string, model: string, { rank, alpha, targets }: LoraFacts, step: number): void {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "adapter_config.json"), `${JSON.stringify(marked({ peft_type: "LORA", task_type: "CAUSAL_LM", base_model_name_or_path: model, r: rank, lora_alpha: alpha, target_modules: targets }), null, 4)}\n`);
  writeFileSync(join(folder, "adapter_model.safetensors"), safetensors(step));
}

/** A file of that format with one tensor of one number. */
export function safetensors(step: number): Buffer {
  const header = Buffer.from(JSON.stringify({ __metadata__: { format: "pt", trainyard: SIMULATED }, "simulated.step": { dtype: "F32", shape: [1], data_offsets: [0, 4] } }));
  const bytes = Buffer.alloc(8 + header.length + 4);
  bytes.writeBigUInt64LE(BigInt(header.length), 0);
  header.copy(bytes, 8);
  bytes.writeFloatLE(step, 8 + header.length);
  return bytes;
}

/** W2. `emptyMs`: how long RL's stands empty; null: SFT's way. */
export async function writeTracker(directory: string, step: number, emptyMs: number | null): Promise<void> {
  const path = join(directory, TRACKER_FILE);
  if (emptyMs === null) {
    writeFileSync(`${path}.tmp`, String(step));
    renameSync(`${path}.tmp`, path);
    return;
  }
  const file = openSync(path, "w");
  try {
    if (emptyMs > 0) await delay(emptyMs);
    writeSync(file, String(step));
  } finally {
    closeSync(file);
  }
}

export interface Retention {
  /** Before a checkpoint is written: what goes. */
  before(): readonly string[];
  /** After: what goes. */
  after(folder: string): readonly string[];
}

/** W3. `keep`: verl's max_ckpt_to_keep; null: everything. */
export function createRetention(release: KnownRelease, keep: number | null): Retention {
  const saved: string[] = [];
  const drop = (most: number): readonly string[] => (keep === null || keep <= 0 || saved.length <= most ? [] : saved.splice(0, saved.length - most));
  const remove = (folders: readonly string[]): readonly string[] => {
    for (const folder of folders) rmSync(folder, { recursive: true, force: true });
    return folders;
  };
  return {
    before: () => remove(keep !== null && (release === "0.7.0" || keep > 1) ? drop(keep - 1) : []),
    after(folder) {
      saved.push(folder);
      return release === "0.7.0" ? [] : remove(drop(keep ?? 0));
    },
  };
}

/** Reads the shards that a rank goes on from. Throws TrainerFailure as torch does for one that is missing or cut off. */
export function loadShards(order: Pick<ShardOrder, "folders" | "worldSize" | "contents" | "layout">, rank: number): void {
  for (const folder of order.folders) {
    for (const name of shardNames({ ...order, step: 0, saveMs: 0 }, rank)) {
      const path = join(folder, name);
      const size = statSync(path, { throwIfNoEntry: false })?.size;
      if (size === undefined) throw new TrainerFailure("FileNotFoundError", `[Errno 2] No such file or directory: '${path}'`);
      if (size < SHARD_BYTES) throw new TrainerFailure("RuntimeError", "PytorchStreamReader failed reading zip archive: failed finding central directory");
    }
  }
}
