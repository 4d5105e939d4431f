#!/usr/bin/env node
// Stands where a Python interpreter with verl would stand, as far as these tests go: answers our questions, trains by script (SCRIPT, JSON) and leaves what verl leaves.
import { appendFileSync, existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

const args = process.argv.slice(2);
const script = { verl: "0.7.1", steps: 4, saveAt: [2, 4], ranks: 1, pauseMs: 0, loss: {}, ...JSON.parse(process.env.SCRIPT ?? "{}") };
const installed = { python: "3.11.9", cudaRuntime: null, torch: "2.9.0", verl: script.verl, vllm: "0.12.0", sglang: null, trl: null, ray: "2.58.0", peft: "0.17.0", transformers: "4.57.6", ...script.installed };
const valueOf = (key) => args.map((argument) => argument.replace(/^\++/, "")).find((argument) => argument.startsWith(`${key}=`))?.slice(key.length + 1).replace(/^'|'$/g, "") ?? null;

if (args[0] === "-c") console.log(JSON.stringify(installed));
else if (args[0].endsWith("compose_config.py")) console.log(JSON.stringify({ problem: script.refuses ?? null }));
else if (args[0].endsWith("check_reward.py")) console.log(JSON.stringify({ problem: script.rewardProblem ?? null }));
else if (args[0].endsWith("export_model.py")) exportModel(args[args.indexOf("--target") + 1], args[args.indexOf("--source") + 1]);
else await train();

function exportModel(target, source) {
  if (script.exportFails !== undefined && !existsSync(script.exportFails)) {
    writeFileSync(script.exportFails, "");
    console.error("torch.OutOfMemoryError: CUDA out of memory.");
    process.exit(1);
  }
  mkdirSync(target, { recursive: true });
  writeFileSync(join(target, "config.json"), JSON.stringify({ source, args }));
}

async function train() {
  if (args.includes("--node_rank=1")) { // torchrun of another node: its ranks print no metrics
    appendFileSync(script.seen ?? "/dev/null", `${JSON.stringify({ args, env: process.env })}\n`);
    return;
  }
  const folder = valueOf("trainer.default_local_dir");
  const from = Number(/global_step_(\d+)$/.exec(valueOf("trainer.resume_from_path") ?? "")?.[1] ?? 0);
  const rl = args.some((argument) => argument.startsWith("verl.trainer.main_ppo"));
  const say = (line) => process.stdout.write(rl ? `\u001b[36m(TaskRunner pid=7)\u001b[0m ${line}\n` : `${line}\n`);
  appendFileSync(script.seen ?? "/dev/null", `${JSON.stringify({ args, env: process.env })}\n`);
  if (script.unplaceable) {
    say("(autoscaler +29s) Error: No available node types can fulfill resource request {'GPU': 1.0, 'CPU': 3.0}. Add suitable node types to this cluster");
    await delay(60_000);
  }
  say(`Total steps: ${script.steps}, num_warmup_steps: 0`);
  process.stderr.write("Epoch 1/1:  12%|#2 | 1/8 [00:01<00:09]");
  for (let step = from + 1; step <= script.steps; step++) {
    if (script.waitAt?.[step] !== undefined) while (!existsSync(script.waitAt[step])) await delay(20);
    const loss = script.loss[step] ?? String(1 / step);
    if (rl && valueOf("trainer.rollout_data_dir") !== null) dump(valueOf("trainer.rollout_data_dir"), step);
    if (rl && script.saveAt.includes(step)) save(folder, step, rl);
    say(`step:${step} - ${rl ? "actor/pg_loss" : "train/loss"}:${loss} - ${rl ? "critic/score/mean:np.float64(0.5)" : "train/lr:1e-05"}`);
    if (process.env.VERL_FILE_LOGGER_PATH) appendFileSync(process.env.VERL_FILE_LOGGER_PATH, `${JSON.stringify({ step, data: { [rl ? "actor/pg_loss" : "train/loss"]: Number(loss), "perf/only_in_file": step } })}\n`);
    if (!rl && script.saveAt.includes(step)) save(folder, step, rl);
    if (script.dieAt === step && !existsSync(script.died ?? "")) {
      if (script.died) writeFileSync(script.died, "");
      console.error(script.lastWords ?? "RuntimeError: it broke");
      process.exit(1);
    }
    await delay(script.pauseMs);
  }
}

function dump(folder, step) {
  mkdirSync(folder, { recursive: true });
  const rows = Array.from({ length: 40 }, (_, index) => JSON.stringify({ input: `question ${index}`, output: `answer ${index} of step ${step}`, gts: String(index), score: index % 2, step }));
  writeFileSync(join(folder, `${step}.jsonl`), `${rows.join("\n")}\n`);
}

function save(folder, step, rl) {
  const at = join(folder, `global_step_${step}`, rl ? "actor" : "");
  mkdirSync(join(at, "huggingface"), { recursive: true });
  for (let rank = 0; rank < script.ranks; rank++) {
    for (const kind of ["model", "optim", "extra_state"]) if (script.loses !== `${kind}@${step}`) writeFileSync(join(at, `${kind}_world_size_${script.ranks}_rank_${rank}.pt`), "weights");
  }
  writeFileSync(join(at, "fsdp_config.json"), JSON.stringify({ FSDP_version: 1, world_size: script.ranks }));
  writeFileSync(join(folder, "latest_checkpointed_iteration.txt"), String(step));
}

