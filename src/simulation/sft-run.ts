// verl's SFT trainer as one rank of torchrun's sees it.
//   S1. Rank 0 prints, logs and decides; the others write their shards when it saves.
//   S2. The last step is always saved. Steps end where the epochs end: when more were asked for, no last checkpoint is left, and the exit code is 0.
//   S3. A step that was asked for by number is taken even if it was taken already: a finished run goes on by one.

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { readTracker, TRACKER_FILE } from "../verl/output/checkpoint-layout.js";
import { createRetention, layoutOf, loadShards, writeModelDescription, writeShards, writeTracker, type LoraFacts, type ShardOrder } from "./checkpoint-writer.js";
import { around } from "./chance.js";
import type { ComposedConfig } from "./composed-config.js";
import { EndedEarly, meetIncidents, savedBeforeDeath } from "./incidents.js";
import { learningRateOf } from "./learning-rate.js";
import { createMetricLog, type Metrics } from "./metric-log.js";
import { createProgressBar } from "./progress-bar.js";
import { Float, reprText } from "./python-text.js";
import { hostGroup, joinGroup } from "./rank-group.js";
import { hasBegun } from "./scenario.js";
import type { RankHost } from "./trainer-host.js";
import { TrainerFailure } from "./trainer-failure.js";
import { countRows } from "./training-rows.js";

/** Throws TrainerFailure. */
export async function runSft(config: ComposedConfig, host: RankHost): Promise<void> {
  const { release, scenario, rank, worldSize } = host;
  const parallel = config.number("engine.ulysses_sequence_parallel_size") ?? 1;
  const groups = Math.max(1, Math.floor(worldSize / parallel));
  const perGroup = Math.floor((config.number("data.train_batch_size") ?? 256) / groups);
  checkModel(config.text("model.path") ?? "");
  const rows = limited(await countRows(config.files("data.train_files")), config.number("data.train_max_samples"));
  const valFiles = config.files("data.val_files");
  const valRows = valFiles.length === 0 ? null : limited(await countRows(valFiles), config.number("data.val_max_samples"));
  if (perGroup === 0) throw new TrainerFailure("ValueError", "batch_size should be a positive integer value, but got batch_size=0");
  const stepsPerEpoch = Math.floor(Math.floor(rows / groups) / perGroup);
  const epochs = config.number("trainer.total_epochs") ?? 1;
  const total = config.number("trainer.total_training_steps") ?? stepsPerEpoch * epochs;
  const order = shardOrder(config, host);
  const resumed = resumeFolder(config, host);
  if (resumed !== null) loadShards({ ...order, folders: [resumed.folder] }, rank);
  for (const count of [rows, valRows]) if (count !== null) host.print(`dataset len: ${count}`);
  const told = (): void => { if (/^(?:INFO|DEBUG)$/.test(host.environment["VERL_SFT_LOGGING_LEVEL"] ?? "")) host.print(`[${clock()}][verl/trainer/sft_trainer.py][INFO] - [Rank 0] Total training steps: ${total},`); };
  if (rank !== 0) {
    told();
    await joinGroup(host.place, (wanted) => writeShards(wanted, rank)); // S1
    return;
  }

  const rate = learningRateOf(config, "optim", total);
  host.print(`Total steps: ${total}, num_warmup_steps: ${rate.warmupSteps}`);
  host.print(reprText(config.dump(false)));
  const seed = scenario.seed + (config.number("trainer.seed") ?? 1);
  const metricLog = createMetricLog({ release, loggers: config.files("trainer.logger"), project: config.text("trainer.project_name") ?? "", experiment: config.text("trainer.experiment_name") ?? "", environment: host.environment, print: host.print });
  told();
  if (stepsPerEpoch === 0) throw new TrainerFailure("ZeroDivisionError", "integer division or modulo by zero");
  const saveEvery = frequency(config, "trainer.save_freq", stepsPerEpoch);
  const testEvery = frequency(config, "trainer.test_freq", stepsPerEpoch);
  const group = await hostGroup(host.place, worldSize - 1);
  const retention = createRetention(release, config.number("trainer.max_ckpt_to_keep"));
  let tokens = 0;
  let validation: Metrics | null = null;

  const save = async (step: number): Promise<void> => {
    const folder = join(order.directory, `global_step_${step}`);
    host.print(`Saving checkpoint to: ${folder}`);
    retention.before();
    const dying = savedBeforeDeath(scenario, step, resumed !== null);
    const wanted = { ...order, folders: [folder], step };
    await writeShards(wanted, 0, dying ?? undefined);
    if (dying !== null) throw new TrainerFailure("OSError", "[Errno 28] No space left on device");
    await group.save(wanted);
    writeModelDescription(folder, { worldSize, model: config.text("model.path") ?? "", layout: order.layout, lora: null, weights: order.contents.includes("hf_model"), step });
    retention.after(folder);
    if (loraOf(config) !== null && release !== "0.7.0") host.write(join(folder, "lora_train_meta.json"), JSON.stringify({ r: loraOf(config)!.rank, lora_alpha: loraOf(config)!.alpha, task_type: "CAUSAL_LM" }, null, 4));
    host.write(join(folder, "data_0.pt"), `step ${step}\n`);
    host.print(`Saved dataloader state to: ${join(folder, "data_0.pt")}`);
    await writeTracker(order.directory, step, null);
    host.print(`Updated checkpoint tracker: ${join(order.directory, TRACKER_FILE)}`);
  };

  const validate = (step: number): void => {
    if (valRows === null || Math.floor(Math.floor(valRows / groups) / perGroup) === 0) throw new TrainerFailure("TypeError", "'NoneType' object is not iterable");
    validation = { "val/loss": new Float(lossAt(host, seed, "val/loss", step, total, resumed !== null) + 0.05) };
    metricLog.log(step, validation);
  };

  let step = resumed?.step ?? 0;
  await delay(scenario.startMs);
  try {
    while (step < stepsPerEpoch * epochs) { // S2
      const epoch = Math.floor(step / stepsPerEpoch);
      const bar = createProgressBar(`Epoch ${epoch + 1}/${epochs}`, stepsPerEpoch, step % stepsPerEpoch, host.progress);
      for (const first = step; step < stepsPerEpoch * (epoch + 1);) {
        if (step > first) bar.advance(); // tqdm counts a step when the next is asked for
        step++;
        await Promise.race([meetIncidents(scenario, step, resumed !== null).then(() => delay(scenario.stepMs)), group.lost]);
        const loss = lossAt(host, seed, "train/loss", step, total, resumed !== null);
        const stepTokens = Math.round(around(perGroup * groups * Math.min(512, config.number("data.max_length") ?? 512) * 0.6, 0.1, seed, "tokens", step));
        tokens += stepTokens;
        const gradient = hasBegun(scenario, "nan", step, resumed !== null) ? Number.NaN : around(hasBegun(scenario, "gradient-explosion", step, resumed !== null) ? 4_000 : 0.6 + loss, 0.15, seed, "train/grad_norm", step);
        if (Number.isNaN(gradient)) host.print(`WARN: grad_norm is not finite: ${reprText(new Float(gradient))}`);
        metricLog.log(step, {
          ...(release.startsWith("0.9") ? { "perf/max_memory_allocated_gb": new Float(around(21, 0.02, seed, "memory", step)), "perf/max_memory_reserved_gb": new Float(around(24, 0.02, seed, "reserved", step)), "perf/cpu_memory_used_gb": new Float(around(60, 0.02, seed, "cpu", step)) } : {}),
          "train/loss": new Float(loss), "train/grad_norm": new Float(gradient), "train/lr": new Float(rate.at(step)), "train/mfu": new Float(around(0.32, 0.05, seed, "train/mfu", step)),
          "train/global_tokens": release === "0.7.0" ? new Float(0) : stepTokens, "train/total_tokens(B)": new Float(release === "0.7.0" ? 0 : tokens / 1e9),
        });
        const last = step >= total; // S3
        if ((last && valRows !== null) || (testEvery > 0 && step % testEvery === 0)) validate(step);
        if (last || (saveEvery > 0 && step % saveEvery === 0)) await save(step);
        if (last) {
          bar.close();
          host.print("Total time for train steps: 0.00s");
          host.print(`Final validation metrics: ${validation === null ? "None" : reprText(validation)}`);
          return;
        }
      }
      bar.advance();
      bar.close();
    }
  } catch (error) {
    if (!(error instanceof EndedEarly)) throw error;
  } finally {
    group.end();
    metricLog.finish();
  }
}

function lossAt({ scenario }: RankHost, seed: number, name: string, step: number, total: number, resumed: boolean): number {
  if (hasBegun(scenario, "nan", step, resumed)) return Number.NaN;
  return around((0.55 + 1.9 * Math.exp((-4 * step) / Math.max(1, total))) * (hasBegun(scenario, "loss-spike", step, resumed) ? 12 : 1), 0.02, seed, name, step);
}

/** Now, as Python's logging writes it. */
function clock(): string {
  return new Date().toISOString().replace("T", " ").replace(".", ",").slice(0, 23);
}

export function limited(rows: number, most: number | null): number {
  return most !== null && most > 0 ? Math.min(rows, most) : rows;
}

/** A folder of this host that is not there is no name of a hub either. Throws TrainerFailure. */
export function checkModel(path: string): void {
  if (path.startsWith("/") && !existsSync(path)) throw new TrainerFailure("huggingface_hub.errors.HFValidationError", `Repo id must be in the form 'repo_name' or 'namespace/repo_name': '${path}'. Use \`repo_type\` argument if needed.`);
}

function frequency(config: ComposedConfig, key: string, stepsPerEpoch: number): number {
  const given = config.value(key);
  if (given === 0) throw new TrainerFailure("ZeroDivisionError", "integer modulo by zero");
  return given === "after_each_epoch" ? stepsPerEpoch : typeof given === "number" ? given : -1;
}

export function loraOf(config: ComposedConfig, prefix = "model"): LoraFacts | null {
  const rank = config.number(`${prefix}.lora_rank`) ?? 0;
  return rank > 0 ? { rank, alpha: config.number(`${prefix}.lora_alpha`) ?? 16, targets: config.value(`${prefix}.target_modules`) ?? "all-linear" } : null;
}

function shardOrder(config: ComposedConfig, host: RankHost): ShardOrder & { readonly directory: string } {
  const directory = config.text("trainer.default_local_dir") ?? "checkpoints";
  return { directory, folders: [], step: 0, worldSize: host.worldSize, contents: config.files("checkpoint.save_contents"), layout: layoutOf(config.engine, host.release), saveMs: host.scenario.saveMs };
}

/** Where the run goes on from. `auto` starts over without a word when the tracker is missing or names a folder that is. Throws TrainerFailure. */
function resumeFolder(config: ComposedConfig, { rank, print }: RankHost): { readonly folder: string; readonly step: number } | null {
  const mode = config.text("trainer.resume_mode") ?? "auto";
  const from = config.text("trainer.resume_from_path");
  if (mode === "disable") return null;
  if (mode === "resume_path" || (mode === "auto" && from !== null)) {
    if (from === null || !existsSync(from)) throw new TrainerFailure("AssertionError", `resume_from_path must be an existing path when resume_mode is '${mode}'`);
    const step = /global_step_(\d+)/.exec(from);
    if (step === null) throw new TrainerFailure("AssertionError", "resume_from_path must specify the global_steps");
    return { folder: from, step: Number(step[1]) };
  }
  if (mode !== "auto") throw new TrainerFailure("ValueError", `Invalid resume_mode: ${mode}. Must be 'auto', 'disable', or 'resume_path'`);
  return latestCheckpoint(config.text("trainer.default_local_dir") ?? "checkpoints", rank === 0 ? print : () => undefined);
}

/** Throws TrainerFailure on a tracker that says nothing: verl reads it as a number at once. */
export function latestCheckpoint(directory: string, print: (line: string) => void): { readonly folder: string; readonly step: number } | null {
  const tracker = join(directory, TRACKER_FILE);
  if (!existsSync(directory)) return null;
  if (!existsSync(tracker)) {
    print(`Checkpoint tracker file does not exist: ${tracker}`);
    return null;
  }
  const text = readFileSync(tracker, "utf8");
  const step = readTracker(text);
  if (step === null) throw new TrainerFailure("ValueError", `invalid literal for int() with base 10: ${reprText(text)}`);
  const folder = join(directory, `global_step_${step}`);
  if (!existsSync(folder)) {
    print(`Checkpoint does not exist: %s ${folder}`);
    return null;
  }
  print(`Found checkpoint: %s ${folder}`);
  return { folder, step };
}
