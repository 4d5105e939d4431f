// verl.model_merger: a folder of shards becomes a folder of Hugging Face's form. The model in it is as little a model as the shards were.

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { modelFolderOf, safetensors, writeModelFolder, type ShardLayout } from "./checkpoint-writer.js";
import { readFlags } from "./dpo-run.js";
import { TrainerFailure } from "./trainer-failure.js";
import type { TrainerHost } from "./trainer-host.js";

/** `words`: what stands after the module. Throws TrainerFailure. */
export function runMerger([operation, ...words]: readonly string[], host: TrainerHost): void {
  if (operation !== "merge") throw new TrainerFailure("SystemExit", `argument operation: invalid choice: '${operation ?? ""}' (choose from 'merge', 'test')`);
  const flags = readFlags(words.map((word) => (word.startsWith("--") ? word.replace(/^--[\w-]+/, (flag) => `--${flag.slice(2).replaceAll("-", "_")}`) : word)));
  const backend = flags.get("backend")?.[0];
  const source = flags.get("local_dir")?.[0];
  const target = flags.get("target_dir")?.[0] ?? "tmp";
  if (source === undefined) throw new TrainerFailure("SystemExit", "the following arguments are required: --local_dir");
  if (backend !== "fsdp" && backend !== "megatron" && backend !== "automodel") throw new TrainerFailure("SystemExit", `argument --backend: invalid choice: '${backend ?? ""}' (choose from fsdp, megatron)`);
  host.print(`config: ModelMergerConfig(operation='merge', backend='${backend}', target_dir='${target}', local_dir='${source}')`);
  if (existsSync(join(source, "trainer_state.json"))) { // TRL's checkpoints have that form already; with our own export in place of the merger this never comes here
    writeModelFolder(target, source, Number(/checkpoint-(\d+)/.exec(source)?.[1] ?? 0));
    return;
  }
  if (backend === "fsdp") checkShards(source, host);
  const described = join(source, LAYOUTS[backend].map(modelFolderOf).find((folder) => existsSync(join(source, folder))) ?? "huggingface");
  if (!existsSync(join(described, "config.json"))) throw new TrainerFailure("OSError", `Can't load the configuration of '${described}'.`);
  const step = Number(/global_step_(\d+)/.exec(source)?.[1] ?? 0);
  writeModelFolder(target, described, null);
  host.write(join(target, "model.safetensors"), safetensors(step));
  host.print(`Saving model to ${target}`);
  host.print(`Saving tokenizer to ${target}`);
}

/** verl's merger itself has no automodel: there our own program (export_model.py) takes what the engine has put together, and this plays that too. */
const LAYOUTS: Readonly<Record<"fsdp" | "megatron" | "automodel", readonly ShardLayout[]>> = { fsdp: ["fsdp"], megatron: ["megatron in parts", "megatron"], automodel: ["automodel"] };

function checkShards(source: string, host: TrainerHost): void {
  const file = join(source, "fsdp_config.json");
  if (!existsSync(file)) throw new TrainerFailure("FileNotFoundError", `Config file ${file} does not exist`);
  const { world_size: worldSize } = JSON.parse(readFileSync(file, "utf8")) as { world_size: number };
  host.print(`world_size: ${worldSize}`);
  const names = new Set(readdirSync(source));
  for (let rank = 0; rank < worldSize; rank++) {
    const name = `model_world_size_${worldSize}_rank_${rank}.pt`;
    if (!names.has(name)) throw new TrainerFailure("FileNotFoundError", `[Errno 2] No such file or directory: '${join(source, name)}'`);
  }
}
