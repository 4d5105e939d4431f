// The stand-in as the agent starts it: what it prints, writes and dies of.
import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { createConsoleReader, type ConsoleFinding } from "../../src/verl/output/console-lines.js";
import { readTracker, TRACKER_FILE } from "../../src/verl/output/checkpoint-layout.js";
import { simulatedPython } from "../../src/simulation/stand-in.js";
import { read, runFolder, start, train, writeRows } from "./stand-in.js";

let data: { sft: string; rl: string };

beforeAll(async () => {
  const folder = runFolder();
  data = { sft: await writeRows(join(folder, "sft.parquet"), "sft", 64), rl: await writeRows(join(folder, "rl.parquet"), "rl", 64) };
});

const sft = (more: Record<string, unknown> = {}) => ({ algorithm: "sft", trainFiles: data.sft, batchSize: 16, ...more });
const rl = (algorithm: string, more: Record<string, unknown> = {}) => ({ algorithm, trainFiles: data.rl, valFiles: data.rl, batchSize: 16, maxPromptLength: 64, maxResponseLength: 64, saveEvery: 2, ...more });

function findings(stdout: string): readonly ConsoleFinding[] {
  const reader = createConsoleReader();
  return [...reader.push(stdout), ...reader.end()];
}
const stepsOf = (stdout: string, name: string): readonly number[] => findings(stdout).flatMap((one) => (one.kind === "points" && one.points.some((point) => point.name === name) ? [one.step] : []));
const valueAt = (stdout: string, step: number, name: string): number | undefined => findings(stdout).flatMap((one) => (one.kind === "points" && one.step === step ? one.points : [])).find((point) => point.name === name)?.value;

describe("SFT", () => {
  test("trains to its end: totals, metrics, validation, a checkpoint of both ranks with its tracker, and it says first that nothing is trained", async () => {
    const folder = runFolder();
    const { code, stdout, stderr } = await train(folder, sft({ valFiles: data.sft, saveEvery: 2, testEvery: 2 }), { context: { gpusPerNode: 2 } }).ended;
    expect(stderr.replaceAll("\r", "\n")).toContain("Epoch 1/1:  75%|");
    expect(code).toBe(0);
    expect(stdout.split("\n")[0]).toMatch(/^SIMULATED RUN: nothing is trained/);
    expect(findings(stdout)).toContainEqual({ kind: "total", steps: 4 });
    expect(stepsOf(stdout, "train/loss")).toEqual([1, 2, 3, 4]);
    expect(stepsOf(stdout, "val/loss")).toEqual([2, 4]);
    expect(stepsOf(stdout, "simulated")).toHaveLength(6);
    expect(valueAt(stdout, 4, "train/loss")).toBeLessThan(valueAt(stdout, 1, "train/loss")!);
    expect(readTracker(read(folder, "checkpoints", TRACKER_FILE))).toBe(4);
    expect(readdirSync(join(folder, "checkpoints", "global_step_2")).sort()).toEqual([
      "data_0.pt", ...["extra_state", "model", "optim"].flatMap((kind) => [`${kind}_world_size_2_rank_0.pt`, `${kind}_world_size_2_rank_1.pt`]), "fsdp_config.json", "huggingface",
    ].sort());
    expect(read(folder, "metrics.jsonl").trim().split("\n").map((line) => (JSON.parse(line) as { step: number }).step)).toEqual([1, 2, 2, 3, 4, 4]);
  });

  test("goes on from a checkpoint with the same curve, and refuses another world size", async () => {
    const folder = runFolder();
    const whole = await train(folder, sft({ saveEvery: 2 })).ended;
    const resumeFrom = join(folder, "checkpoints", "global_step_2");
    const [resumed, wider] = await Promise.all([train(runFolder(), sft(), { context: { resumeFrom } }).ended, train(runFolder(), sft(), { context: { resumeFrom, gpusPerNode: 2 } }).ended]);
    expect(stepsOf(resumed.stdout, "train/loss")).toEqual([3, 4]);
    expect(valueAt(resumed.stdout, 4, "train/loss")).toBe(valueAt(whole.stdout, 4, "train/loss"));
    expect(wider.code).toBe(1);
    expect(wider.stderr).toMatch(/FileNotFoundError: .*global_step_2\/model_world_size_2_rank_[01]\.pt/);
    expect(wider.stderr).toContain("ChildFailedError");
  });

  test("a finished run takes one more step when its steps were given by number, and none when its epochs are over", async () => {
    const folder = runFolder();
    await train(folder, sft({ saveEvery: 2 })).ended;
    const from = (step: number) => ({ resumeFrom: join(folder, "checkpoints", `global_step_${step}`) });
    const [finished, exhausted] = await Promise.all([train(runFolder(), sft({ steps: 2 }), { context: from(2) }).ended, train(runFolder(), sft(), { context: from(4) }).ended]);
    expect([finished.code, stepsOf(finished.stdout, "train/loss")]).toEqual([0, [3]]);
    expect([exhausted.code, stepsOf(exhausted.stdout, "train/loss")]).toEqual([0, []]);
  });

  test("ends well and without a last checkpoint when more steps were asked for than the data hold", async () => {
    const folder = runFolder();
    const { code, stdout } = await train(folder, sft({ steps: 100, saveEvery: 3 })).ended;
    expect([code, stepsOf(stdout, "train/loss")]).toEqual([0, [1, 2, 3, 4]]);
    expect(readTracker(read(folder, "checkpoints", TRACKER_FILE))).toBe(3);
  });

  test("ends well after NaN, and says so", async () => {
    const { code, stdout } = await train(runFolder(), sft(), { scenario: { incidents: [{ step: 3, kind: "nan" }] } }).ended;
    expect(code).toBe(0);
    expect(valueAt(stdout, 4, "train/loss")).toBeNaN();
    expect(findings(stdout)).toContainEqual({ kind: "non-finite-gradient", text: "WARN: grad_norm is not finite: nan" });
  });

  test("leaves a folder newer than the tracker when it dies between two shards", async () => {
    const folder = runFolder();
    const { code, stderr } = await train(folder, sft({ saveEvery: 2 }), { scenario: { incidents: [{ step: 4, kind: "partial-save" }] } }).ended;
    expect(code).toBe(1);
    expect(stderr).toContain("No space left on device");
    expect(readTracker(read(folder, "checkpoints", TRACKER_FILE))).toBe(2);
    expect(readdirSync(join(folder, "checkpoints", "global_step_4"))).toEqual(["model_world_size_1_rank_0.pt", "optim_world_size_1_rank_0.pt"]);
  });

  test.each([["0.7.0", ["global_step_3", "global_step_4"]], ["0.7.1", ["global_step_3", "global_step_4"]]] as const)("%s keeps the newest checkpoints", async (version, kept) => {
    const folder = runFolder();
    await train(folder, sft({ saveEvery: 1, keepCheckpoints: 2 }), { version }).ended;
    expect(readdirSync(join(folder, "checkpoints")).filter((name) => name.startsWith("global")).sort()).toEqual(kept);
  });

  test("SIGTERM to torchrun ends it with 1; after SIGKILL the ranks live on and write checkpoints", async () => {
    const folder = runFolder();
    const gate = join(folder, "gate");
    const terminated = train(runFolder(), sft(), { scenario: { incidents: [{ step: 2, kind: "hang" }] } });
    await terminated.said(/step:1 - /);
    terminated.child.kill("SIGTERM");
    expect(await terminated.ended).toMatchObject({ code: 1, stderr: expect.stringContaining("SignalException") as unknown });

    const killed = train(folder, sft({ saveEvery: 2 }), { scenario: { incidents: [{ step: 3, kind: "wait", until: gate }] } });
    await killed.said(/step:2 - /);
    killed.child.kill("SIGKILL");
    writeFileSync(gate, "");
    expect((await killed.ended).signal).toBe("SIGKILL"); // `close` waits for the ranks, which have the same output
    expect(readTracker(read(folder, "checkpoints", TRACKER_FILE))).toBe(4);
  });
});

describe("RL", () => {
  test.each(["ppo", "grpo"] as const)("%s trains to its end with the metrics of its kind, checkpoints and dumps", async (algorithm) => {
    const folder = runFolder();
    const { code, stdout } = await train(folder, rl(algorithm), { context: { gpusPerNode: 2 } }).ended;
    expect(code).toBe(0);
    expect(findings(stdout)).toContainEqual({ kind: "total", steps: 4 });
    expect(stdout).toMatch(/\(TaskRunner pid=\d+\) step:1 - /);
    expect(stepsOf(stdout, "actor/pg_loss")).toEqual([1, 2, 3, 4]);
    expect(stepsOf(stdout, "val-core/openai/gsm8k/reward/mean@1")).toEqual([0, 2, 4]);
    expect(stepsOf(stdout, "critic/vf_loss").length > 0).toBe(algorithm === "ppo");
    expect(stepsOf(stdout, "actor/kl_loss").length > 0).toBe(algorithm === "grpo");
    expect(valueAt(stdout, 4, "critic/score/mean")).toBeGreaterThan(valueAt(stdout, 1, "critic/score/mean")!);
    expect(existsSync(join(folder, "checkpoints", "global_step_4", "critic"))).toBe(algorithm === "ppo");
    expect(existsSync(join(folder, "checkpoints", "global_step_4", "actor", "model_world_size_2_rank_1.pt"))).toBe(true);
    expect(JSON.parse(read(folder, "samples", "train", "3.jsonl").split("\n")[0]!)).toMatchObject({ step: 3, input: expect.stringContaining("What is 0 + 0?") as unknown, gts: "0" });
    expect(existsSync(join(folder, "samples", "validation", "0.jsonl"))).toBe(true);
  });

  test("0.9 shows NumPy's types, and Ray colours its prefix unless it is told not to", async () => {
    const { stdout } = await train(runFolder(), rl("grpo"), { version: "0.9.1", environment: { RAY_COLOR_PREFIX: "1" } }).ended;
    expect(stdout).toMatch(/\u001b\[36m\(TaskRunner pid=\d+\)\u001b\[0m step:1 - .*actor\/pg_loss:np\.float64\(.*num_turns\/min:np\.int32\(2\)/);
    expect(stepsOf(stdout, "num_turns/min")).toContain(1);
  });

  test("waits for ever when Ray finds no processors; SIGINT ends it with 1, SIGTERM with 134", async () => {
    const waiting = train(runFolder(), rl("grpo"), { scenario: { unplaceable: true } });
    await waiting.said(/No available node types can fulfill resource request/);
    waiting.child.kill("SIGINT");
    expect(await waiting.ended).toMatchObject({ code: 1, stderr: expect.stringContaining("KeyboardInterrupt") as unknown });
    const hanging = train(runFolder(), rl("grpo"), { scenario: { incidents: [{ step: 2, kind: "hang" }] } });
    await hanging.said(/step:1 - /);
    hanging.child.kill("SIGTERM");
    expect((await hanging.ended).code).toBe(134);
  });

  test.each([
    ["out-of-memory", "torch.OutOfMemoryError: CUDA out of memory"], ["crash", "ray.exceptions.RayTaskError(RuntimeError)"], ["killed", "ray.exceptions.ActorDiedError"],
  ])("%s ends it with 1", async (kind, words) => {
    const { code, stderr } = await train(runFolder(), rl("grpo"), { scenario: { incidents: [{ step: 2, kind }] } }).ended;
    expect(code).toBe(1);
    expect(stderr).toContain(words);
  });

  test("0.7.0 cannot write its file logger in RL, and a data source without a scorer ends the run at its first answers", async () => {
    const logged = await train(runFolder(), rl("grpo", { overrides: { "trainer.logger": ["console", "file"], "trainer.val_before_train": false } }), { version: "0.7.0" }).ended;
    expect(logged.stderr).toContain("Object of type int32 is not JSON serializable");
    const folder = runFolder();
    const odd = await writeRows(join(folder, "odd.parquet"), "rl", 32, (row) => ({ ...row, data_source: "my/own" }));
    const unscored = await train(folder, rl("grpo", { trainFiles: odd, valFiles: odd })).ended;
    expect(unscored.stderr).toContain("NotImplementedError: Reward function is not implemented for data_source='my/own'");
  });
});

test("the merger makes a Hugging Face folder of whole shards, and nothing of others", async () => {
  const folder = runFolder();
  await train(folder, sft()).ended;
  const merge = (from: string) => start([...simulatedPython("0.7.1"), "-m", "verl.model_merger", "merge", "--backend", "fsdp", "--local_dir", from, "--target_dir", join(folder, "model")], {}).ended;
  expect((await merge(join(folder, "checkpoints", "global_step_4"))).code).toBe(0);
  expect(readdirSync(join(folder, "model")).sort()).toEqual(["config.json", "model.safetensors", "tokenizer_config.json"]);
  const missing = await merge(join(folder, "checkpoints", "global_step_9"));
  expect([missing.code, missing.stderr.includes("fsdp_config.json does not exist")]).toEqual([1, true]);
});

test("words that Python would not understand are refused with its exit codes", async () => {
  const run = (...words: string[]) => start([...simulatedPython("0.8.0"), ...words], {}).ended;
  expect(await run("-m", "verl.trainer.main_ppo_v0")).toMatchObject({ code: 1, stderr: expect.stringContaining("No module named 'verl.trainer.main_ppo_v0'") as unknown });
  expect(await run("-m", "verl.trainer.main_ppo", "no.such.key=1")).toMatchObject({ code: 1, stderr: expect.stringContaining("Could not override 'no.such.key'.\nTo append to your config use +no.such.key=1") as unknown });
  expect(await run("-m", "verl.trainer.sft_trainer")).toMatchObject({ code: 1, stderr: expect.stringContaining("environment variable RANK expected") as unknown });
  expect((await run("-c", "import verl")).code).toBe(2);
});
