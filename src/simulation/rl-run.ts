// The TaskRunner of verl's RL trainer: builds the workers, resumes, validates, steps, saves, logs.
//   L1. The checkpoint of a step is written before the step is logged, and only when save_freq says so: the last step too needs it above 0.
//   L2. Retention empties actor/ and critic/ of an old step; its folder with data.pt stays.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { isAbsolute, join, resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { createRetention, layoutOf, loadShards, writeModelDescription, writeTracker, type ShardOrder } from "./checkpoint-writer.js";
import { noise } from "./chance.js";
import type { ComposedConfig } from "./composed-config.js";
import { EndedEarly, meetIncidents, savedBeforeDeath } from "./incidents.js";
import { learningRateOf } from "./learning-rate.js";
import { createMetricLog, type Metrics } from "./metric-log.js";
import { createProgressBar } from "./progress-bar.js";
import { pprintLines, reprText } from "./python-text.js";
import { hostGroup } from "./rank-group.js";
import { relayOutput, startIdle, startWorker } from "./ray-cluster.js";
import { checkFirstBatch, checkReward, rlShape } from "./rl-config.js";
import { scoreAt, stepMetrics, validationMetrics, type RlRun } from "./rl-curves.js";
import { checkModel, latestCheckpoint, limited, loraOf } from "./sft-run.js";
import { SOCKET_VARIABLE } from "./torchrun.js";
import { TrainerFailure } from "./trainer-failure.js";
import type { TrainerHost } from "./trainer-host.js";
import { countRows, readPrompts, type Prompt } from "./training-rows.js";

/** Rows that a dump shows at most; verl dumps all. */
const MOST_DUMPED = 256;

/** Throws TrainerFailure or CompositionError. */
export async function runTaskRunner(config: ComposedConfig, host: TrainerHost): Promise<void> {
  const { release, scenario, print } = host;
  print(`TaskRunner hostname: localhost, PID: ${process.pid}`);
  for (const line of pprintLines(config.dump(true))) print(line);
  const shape = rlShape(config, release);
  const path = config.text("actor_rollout_ref.model.path") ?? "";
  checkModel(path);
  const keys = { prompt: config.text("data.prompt_key") ?? "prompt", source: config.text("data.reward_fn_key") ?? "data_source" };
  const rows = limited(await countRows(config.files("data.train_files")), config.number("data.train_max_samples"));
  const prompts = await readPrompts(config.files("data.train_files"), 64, keys);
  const valRows = limited(await countRows(config.files("data.val_files")), config.number("data.val_max_samples"));
  const valPrompts = await readPrompts(config.files("data.val_files"), 64, keys);
  const perEpoch = Math.floor(rows / (config.number("data.gen_batch_size") ?? shape.batchSize));
  print(`dataset len: ${rows}`);
  print(`filter dataset len: ${rows}`);
  if (perEpoch < 1) throw new TrainerFailure("AssertionError", "Train dataloader is empty!");
  if (valRows < 1) throw new TrainerFailure("AssertionError", "Validation dataloader is empty!");
  print(`Size of train dataloader: ${perEpoch}, Size of val dataloader: 1`);
  const epochs = config.number("trainer.total_epochs") ?? 30;
  const total = config.number("trainer.total_training_steps") ?? perEpoch * epochs;
  print(`Total training steps: ${total}`);

  const seed = scenario.seed + (config.number("data.seed") ?? 42);
  const answers = shape.batchSize * shape.answers;
  const log = createMetricLog({ release, loggers: config.files("trainer.logger"), project: config.text("trainer.project_name") ?? "", experiment: config.text("trainer.experiment_name") ?? "", environment: host.environment, print });
  const directory = absolute(config.text("trainer.default_local_dir") ?? "checkpoints");
  const contents = config.files("actor_rollout_ref.actor.checkpoint.save_contents");
  const order: ShardOrder = { folders: [], step: 0, worldSize: shape.gpus, contents, layout: layoutOf(shape.strategy, release), saveMs: scenario.saveMs };
  const resumed = resumeFolder(config, directory, print);
  const roles = ["actor", ...(shape.critic ? ["critic"] : [])];
  if (resumed !== null) {
    print(`Load from checkpoint folder: ${resumed.folder}`);
    print(`Setting global step to ${resumed.step}`);
    print(`Resuming from ${resumed.folder}`);
    for (let rank = 0; rank < shape.gpus; rank++) loadShards({ ...order, folders: roles.map((role) => join(resumed.folder, role)) }, rank);
  }
  const run: RlRun = {
    release, scenario, resumed: resumed !== null, seed, total, gpus: shape.gpus, answers, critic: shape.critic, remax: config.text("algorithm.adv_estimator") === "remax", reference: shape.reference,
    maxPromptLength: config.number("data.max_prompt_length") ?? 512, maxResponseLength: config.number("data.max_response_length") ?? 512,
    klLoss: config.flag("actor_rollout_ref.actor.use_kl_loss") ? (config.number("actor_rollout_ref.actor.kl_loss_coef") ?? 0.001) : null, klReward: config.flag("algorithm.use_kl_in_reward") ? (config.number("algorithm.kl_ctrl.kl_coef") ?? 0.001) : null,
  };
  const rates = { actor: learningRateOf(config, "actor_rollout_ref.actor.optim", total), critic: learningRateOf(config, "critic.optim", total) };
  const workers = await startWorkers(shape.gpus, host);
  if (scenario.leftover) startIdle("VLLM::EngineCore", host.environment);
  const retention = createRetention(release, config.number("trainer.max_actor_ckpt_to_keep"));
  const criticRetention = createRetention(release, config.number("trainer.max_critic_ckpt_to_keep"));

  const validate = (step: number): Metrics => {
    checkReward(config, release, valPrompts.map(({ source }) => source));
    const folder = config.text("trainer.validation_data_dir");
    if (folder !== null) dump(folder, step, valPrompts, Math.min(valRows, MOST_DUMPED), run, print);
    return validationMetrics(run, step, valPrompts.map(({ source }) => source), config.number("actor_rollout_ref.rollout.val_kwargs.n") ?? 1);
  };

  const save = async (step: number): Promise<void> => {
    const folder = join(directory, `global_step_${step}`);
    print(`local_global_step_folder: ${folder}`);
    const kept = [retention, criticRetention];
    for (const one of kept.slice(0, roles.length)) for (const old of one.before()) print(`Checkpoint manager remove previous save local path: ${old}`);
    const dying = savedBeforeDeath(scenario, step, resumed !== null);
    if (dying !== null) {
      await workers.group.save({ ...order, folders: [join(folder, "actor")], step, contents: contents.slice(0, 1) });
      throw new TrainerFailure("OSError", "[Errno 28] No space left on device");
    }
    for (const [index, role] of roles.entries()) {
      await workers.group.save({ ...order, folders: [join(folder, role)], step });
      writeModelDescription(join(folder, role), { worldSize: shape.gpus, model: path, layout: order.layout, lora: role === "actor" ? loraOf(config, "actor_rollout_ref.model") : null, weights: contents.includes("hf_model"), step });
      for (const old of kept[index]!.after(join(folder, role))) print(`Checkpoint manager remove previous save local path: ${old}`); // L2
    }
    host.write(join(folder, "data.pt"), `step ${step}\n`);
    if (config.flag("actor_rollout_ref.actor.checkpoint.async_save")) print("skip write latest_checkpointed_iteration.txt when async_save is True");
    else await writeTracker(directory, step, scenario.emptyTrackerMs);
  };

  let step = resumed?.step ?? 0;
  await delay(scenario.startMs);
  if (config.value("trainer.val_before_train") !== false) {
    const metrics = validate(step);
    print(`Initial validation metrics: ${reprText(metrics)}`);
    log.log(step, metrics);
    if (config.flag("trainer.val_only")) return workers.end();
  }
  const saveEvery = config.number("trainer.save_freq") ?? -1;
  const testEvery = config.number("trainer.test_freq") ?? -1;
  const bar = createProgressBar("Training Progress", total, step, (text) => host.progress(text.replace("\r", "").replace(/\n?$/, "\n")));
  try {
    while (step < perEpoch * epochs) {
      step++;
      const last = step >= total;
      if (step === (resumed?.step ?? 0) + 1) checkFirstBatch(config, shape);
      await Promise.race([meetIncidents(scenario, step, resumed !== null).then(() => delay(scenario.stepMs)), workers.group.lost]);
      checkReward(config, release, prompts.map(({ source }) => source));
      const saved = saveEvery > 0 && (last || step % saveEvery === 0); // L1
      if (saved) await save(step);
      const rollouts = config.text("trainer.rollout_data_dir");
      if (rollouts !== null) dump(rollouts, step, prompts, Math.min(answers, MOST_DUMPED), run, print);
      const validation = testEvery > 0 && (last || step % testEvery === 0) ? validate(step) : null;
      const metrics = stepMetrics(run, { step, epoch: Math.floor((step - 1) / perEpoch), actorRate: rates.actor.at(step), criticRate: rates.critic.at(step), saved, validation });
      log.log(step, metrics);
      bar.advance();
      if (last) {
        print(`Final validation metrics: ${validation === null ? "None" : reprText(validation)}`);
        break;
      }
    }
  } catch (error) {
    if (!(error instanceof EndedEarly)) throw error;
  }
  bar.close();
  workers.end();
  log.finish();
}

/** One process per GPU; they write the shards. */
async function startWorkers(gpus: number, host: TrainerHost): Promise<{ readonly group: Awaited<ReturnType<typeof hostGroup>>; end(): void }> {
  const folder = mkdtempSync(join(tmpdir(), "ty-sim-"));
  const path = join(folder, "s");
  const met = hostGroup({ path }, gpus);
  for (let rank = 0; rank < gpus; rank++) {
    const worker = startWorker("WorkerDict", [], host, { RANK: String(rank), WORLD_SIZE: String(gpus), [SOCKET_VARIABLE]: path });
    void relayOutput("WorkerDict", worker, host);
  }
  const group = await met;
  rmSync(folder, { recursive: true, force: true });
  return { group, end: () => group.end() };
}

/** What was asked and answered, as verl's _dump_generations writes it. */
function dump(folder: string, step: number, prompts: readonly Prompt[], count: number, run: RlRun, print: (line: string) => void): void {
  if (prompts.length === 0) return;
  mkdirSync(folder, { recursive: true });
  const score = scoreAt(run, step);
  const lines = Array.from({ length: count }, (_, index) => {
    const { prompt, truth } = prompts[index % prompts.length]!;
    const right = noise(run.seed, `${folder} ${index}`, step) < score;
    return JSON.stringify({ input: prompt, output: `Simulated answer: no model wrote this. #### ${right ? truth : "?"}`, gts: truth, score: right ? 1 : 0, step });
  });
  const file = join(folder, `${step}.jsonl`);
  writeFileSync(file, `${lines.join("\n")}\n`);
  print(`Dumped generations to ${file}`);
}

/** Throws TrainerFailure. `auto` honours resume_from_path in SFT only. */
function resumeFolder(config: ComposedConfig, directory: string, print: (line: string) => void): { readonly folder: string; readonly step: number } | null {
  const mode = config.text("trainer.resume_mode") ?? "auto";
  if (mode === "disable") return null;
  if (config.text("trainer.default_hdfs_dir") !== null) throw new TrainerFailure("NotImplementedError", "load from hdfs is not implemented yet");
  const latest = latestCheckpoint(directory, print);
  if (mode === "auto") {
    if (latest === null) print("Training from scratch");
    return latest;
  }
  const from = config.text("trainer.resume_from_path");
  if (from === null) throw new TrainerFailure("AssertionError", "resume ckpt must be str type");
  if (!from.includes("global_step_")) throw new TrainerFailure("AssertionError", "resume ckpt must specify the global_steps");
  return { folder: absolute(from), step: Number(from.split("global_step_").at(-1)) };
}

function absolute(path: string): string {
  return isAbsolute(path) ? path : resolve(path);
}
