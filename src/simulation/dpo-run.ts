// TRL's DPO program: the Hugging Face trainer's lines and folders.
//   D1. One dictionary per step on standard output; checkpoints are checkpoint-N, trainer_state.json among the last files; the model itself lies in output_dir at the end.

import { existsSync, mkdirSync, readdirSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { safetensors, writeModelFolder } from "./checkpoint-writer.js";
import { around } from "./chance.js";
import { EndedEarly, meetIncidents, savedBeforeDeath } from "./incidents.js";
import { createProgressBar } from "./progress-bar.js";
import { Float, reprText, type PythonValue } from "./python-text.js";
import { hasBegun } from "./scenario.js";
import { checkModel } from "./sft-run.js";
import { TrainerFailure } from "./trainer-failure.js";
import type { TrainerHost } from "./trainer-host.js";
import { countRows } from "./training-rows.js";

/** Flag → words after it. Throws TrainerFailure on words that belong to no flag. */
export function readFlags(words: readonly string[]): ReadonlyMap<string, readonly string[]> {
  const flags = new Map<string, string[]>();
  let last: string[] | null = null;
  for (const word of words) {
    const match = /^--([A-Za-z]\w*)(?:=(.*))?$/s.exec(word);
    if (match !== null) flags.set(match[1]!, (last = match[2] === undefined ? [] : [match[2]]));
    else if (last !== null) last.push(word);
    else throw new TrainerFailure("ValueError", `Some specified arguments are not used by the HfArgumentParser: ['${word}']`);
  }
  return flags;
}

/** Throws TrainerFailure. */
export async function runDpo(words: readonly string[], host: TrainerHost): Promise<void> {
  const flags = readFlags(words);
  const text = (name: string): string | null => flags.get(name)?.[0] ?? null;
  const number = (name: string, fallback: number): number => Number(text(name) ?? fallback);
  const needed = (name: string): string => {
    const found = text(name);
    if (found === null) throw new TrainerFailure("ValueError", `the following arguments are required: --${name}`);
    return found;
  };
  const { scenario } = host;
  const model = needed("model_name_or_path");
  const output = needed("output_dir");
  checkModel(model);
  const rows = await countRows(filesOfSplit(needed("dataset_name"), "train"));
  const micro = number("per_device_train_batch_size", 8) * number("num_processes", 1);
  const accumulation = number("gradient_accumulation_steps", 1);
  const perEpoch = Math.max(1, Math.floor(Math.ceil(rows / micro) / accumulation));
  const epochs = number("num_train_epochs", 3);
  const asked = number("max_steps", -1);
  const total = asked > 0 ? asked : perEpoch * epochs;
  const resumed = stepToResume(text("resume_from_checkpoint"), host);
  const saves = (step: number): boolean => when(text("save_strategy") ?? "steps", number("save_steps", 500), step, perEpoch, total);
  const validates = text("eval_strategy") !== null && text("eval_strategy") !== "no";
  const seed = scenario.seed + number("seed", 42);
  const lora = text("use_peft") === "True" || text("use_peft") === "true";
  const weights = lora ? "adapter_model.safetensors" : "model.safetensors";
  const saved: string[] = [];
  const print = (entries: Record<string, PythonValue>): void => host.print(reprText(entries));

  const save = (step: number): void => {
    const folder = join(output, `checkpoint-${step}`);
    writeModelFolder(folder, model, null);
    host.write(join(folder, weights), safetensors(step));
    if (savedBeforeDeath(scenario, step, resumed !== null) !== null) throw new TrainerFailure("OSError", "[Errno 28] No space left on device");
    for (const name of ["optimizer.pt", "scheduler.pt", "rng_state.pth"]) host.write(join(folder, name), `Trainyard simulation: no weights. Step ${step}.\n`);
    host.write(join(folder, "trainer_state.json"), JSON.stringify({ global_step: step, max_steps: total, epoch: step / perEpoch }, null, 2));
    host.write(join(folder, "training_args.bin"), "Trainyard simulation\n");
    saved.push(folder);
    const limit = number("save_total_limit", 0);
    if (limit > 0) for (const old of saved.splice(0, Math.max(0, saved.length - limit))) rmSync(old, { recursive: true, force: true });
  };

  mkdirSync(output, { recursive: true });
  await delay(scenario.startMs);
  const bar = createProgressBar("", total, resumed ?? 0, host.progress);
  let step = resumed ?? 0;
  try {
    while (step < total) {
      step++;
      await meetIncidents(scenario, step, resumed !== null);
      await delay(scenario.stepMs);
      const done = step / total;
      const value = (name: string, mean: number, share = 0.08): Float => new Float(around(mean, share, seed, name, step));
      const broken = hasBegun(scenario, "nan", step, resumed !== null);
      const margin = 1.6 * (1 - Math.exp(-3 * done));
      print({
        loss: broken ? new Float(Number.NaN) : new Float(rounded(value("loss", 0.18 + 0.51 * Math.exp(-2.5 * done)).value, 4)), grad_norm: broken ? new Float(Number.NaN) : value("grad_norm", 3.4, 0.3), learning_rate: new Float(number("learning_rate", 1e-6) * (1 - done)),
        "rewards/chosen": value("chosen", margin * 0.4), "rewards/rejected": value("rejected", -margin * 0.6), "rewards/accuracies": value("accuracies", 0.5 + 0.35 * (1 - Math.exp(-4 * done)), 0.04), "rewards/margins": value("margins", margin),
        "logps/chosen": value("logps", -220), "logps/rejected": value("logps rejected", -240), "logits/chosen": value("logits", -1.2), "logits/rejected": value("logits rejected", -1.25), epoch: new Float(rounded(step / perEpoch, 2)), simulated: 1,
      });
      bar.advance();
      if (validates && when(text("eval_strategy")!, number("eval_steps", 500), step, perEpoch, total)) {
        print({ eval_loss: value("eval_loss", 0.22 + 0.48 * Math.exp(-2.2 * done)), eval_runtime: new Float(1.5), eval_samples_per_second: new Float(60), eval_steps_per_second: new Float(12), "eval_rewards/chosen": value("eval chosen", margin * 0.4), "eval_rewards/rejected": value("eval rejected", -margin * 0.55), "eval_rewards/accuracies": value("eval accuracies", 0.5 + 0.3 * (1 - Math.exp(-4 * done)), 0.04), "eval_rewards/margins": value("eval margins", margin * 0.9), epoch: new Float(rounded(step / perEpoch, 2)), simulated: 1 });
      }
      if (saves(step)) save(step);
    }
  } catch (error) {
    if (error instanceof EndedEarly) return;
    throw error;
  }
  bar.close();
  print({ train_runtime: new Float(scenario.stepMs * total / 1_000), train_samples_per_second: new Float(10), train_steps_per_second: new Float(1), train_loss: new Float(0.4), epoch: new Float(rounded(step / perEpoch, 2)) });
  host.print("✅ Training completed.");
  writeModelFolder(output, model, null); // D1
  host.write(join(output, weights), safetensors(step));
  host.print(`💾 Model saved to ${output}.`);
}

function rounded(value: number, digits: number): number {
  return Math.round(value * 10 ** digits) / 10 ** digits;
}

function when(strategy: string, every: number, step: number, perEpoch: number, total: number): boolean {
  if (strategy === "no") return false;
  return strategy === "epoch" ? step % perEpoch === 0 || step === total : step % every === 0 || step === total;
}

function filesOfSplit(folder: string, split: string): readonly string[] {
  if (!existsSync(folder) || !statSync(folder).isDirectory()) throw new TrainerFailure("datasets.exceptions.DatasetNotFoundError", `Dataset '${folder}' doesn't exist on the Hub or cannot be accessed.`);
  const names = readdirSync(folder).filter((name) => name.startsWith(split) && name.endsWith(".parquet")).sort();
  if (names.length === 0) throw new TrainerFailure("KeyError", `'${split}'`);
  return names.map((name) => join(folder, name));
}

function stepToResume(from: string | null, host: TrainerHost): number | null {
  if (from === null) return null;
  const step = /checkpoint-(\d+)\/?$/.exec(from);
  if (step === null || !existsSync(join(from, "trainer_state.json"))) throw new TrainerFailure("ValueError", `Can't find a valid checkpoint at ${from}`);
  host.progress(`Resuming training from checkpoint with global step ${step[1]!}\n`);
  return Number(step[1]);
}
