// Trainings from submission to their end, with everything real but the trainer: the control plane, the agent, the processes. The stand-in does what the scenario says.
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { pollUntil } from "../../src/server/embedded/server-process.js";
import { programMark } from "../../src/agent/attempt/program-environment.js";
import type { AttemptId } from "../../src/domain/ids.js";
import { simulated, startPipelineWorld, type PipelineWorld } from "./pipeline-world.js";
import { runFolder, writeRows } from "./stand-in.js";

let data: { sft: string; rl: string; pairs: string };
beforeAll(async () => {
  const folder = runFolder();
  data = { sft: await writeRows(join(folder, "sft.parquet"), "sft", 96), rl: await writeRows(join(folder, "rl.parquet"), "rl", 96), pairs: await writeRows(join(folder, "pairs.parquet"), "preference", 96) };
});

const sft = (more: Record<string, unknown> = {}) => ({ algorithm: "sft", trainFiles: data.sft, saveEvery: 2, export: "none", ...more });
const rl = (algorithm: string, more: Record<string, unknown> = {}) => ({ algorithm, trainFiles: data.rl, valFiles: data.rl, maxPromptLength: 64, maxResponseLength: 64, saveEvery: 2, export: "none", ...more });
const stepsOf = (points: readonly (readonly [number, unknown])[]) => points.map(([step]) => step);

async function withAgent(): Promise<PipelineWorld> {
  const world = await startPipelineWorld();
  await world.startAgent();
  return world;
}

/** Living processes that carry the mark of one of the stage's attempts. */
async function livingOf(world: PipelineWorld, stageId: string): Promise<number[]> {
  const attempts = await world.database.db.selectFrom("attempts").select("id").where("stage_id", "=", stageId as never).execute();
  const marks = attempts.map(({ id }) => programMark({ attemptId: id as AttemptId, rank: 0, members: [] }));
  return readdirSync("/proc").filter((name) => /^\d+$/.test(name)).map(Number).filter((pid) => {
    try {
      return readFileSync(`/proc/${pid}/environ`, "latin1").split("\0").some((entry) => marks.includes(entry)) && !/^\d+ \(.*\) [ZX]/s.test(readFileSync(`/proc/${pid}/stat`, "latin1"));
    } catch {
      return false;
    }
  });
}

describe("runs that go well", { timeout: 120_000 }, () => {
  test.each([
    ["sft", () => sft({ export: "last" }), "train/loss"], ["grpo", () => rl("grpo"), "actor/kl_loss"], ["ppo", () => rl("ppo", { export: "last" }), "critic/vf_loss"], ["dpo", () => ({ algorithm: "dpo", trainFiles: data.pairs, saveEvery: 2, export: "last", microBatchSize: 8 }), "train/rewards/margins"],
  ] as const)("%s completes with its metrics, checkpoints and outputs, and every view says that it is simulated", async (algorithm, params, metric) => {
    const world = await withAgent();
    const id = await world.submit([simulated(params())]);
    const stage = await world.ended(id);
    expect(stage).toMatchObject({ status: "COMPLETED", error: null, outputs: { steps: 6, checkpoint: expect.stringMatching(/(?:global_step_|checkpoint-)6$/) as unknown } });
    expect(stepsOf(await world.points(id, metric))).toEqual([1, 2, 3, 4, 5, 6]);
    expect((await world.points(id, algorithm === "dpo" ? "train/simulated" : "simulated")).every(([, value]) => value === 1)).toBe(true);
    const job = await world.job(id);
    expect(job).toMatchObject({ simulated: true, checkpoints: [{ step: 2 }, { step: 4 }, { step: 6 }] });
    expect(await world.log(id)).toContain("SIMULATED RUN: nothing is trained");
    if (stage.outputs!["model"] !== undefined) expect(readFileSync(join(stage.outputs!["model"] as string, "config.json"), "utf8")).toContain("simulated");
    expect(await livingOf(world, stage.id)).toEqual([]);
  });
});

describe("other engines", { timeout: 120_000 }, () => {
  test.each([
    ["megatron", "0.8.0", () => rl("grpo"), "actor/dist_ckpt/metadata.json"], ["megatron", "0.9.0", () => rl("grpo"), "actor/ckpt_contents.json"], ["mindspeed", "0.9.0", () => rl("grpo"), "actor/ckpt_contents.json"],
    ["megatron", "0.7.1", () => sft(), "dist_ckpt/metadata.json"], ["veomni", "0.7.1", () => rl("grpo"), "actor/fsdp_config.json"], ["veomni", "0.8.0", () => rl("ppo"), "critic/fsdp_config.json"], ["automodel", "0.9.1", () => sft(), "optim/.metadata"],
  ] as const)("checkpoints of %s in verl %s are registered by their own layout, gone on from, and exported", async (strategy, verl, params, file) => {
    const world = await withAgent();
    const id = await world.submit([simulated({ ...params(), strategy, verl, export: "last" }, { incidents: [{ step: 6, kind: "out-of-memory" }] }, { retry: { maxAttempts: 2, backoffSeconds: 0 } })]);
    const stage = await world.ended(id);
    expect(stage).toMatchObject({ status: "COMPLETED", error: null, outputs: { steps: 6 } });
    expect(await world.job(id)).toMatchObject({ checkpoints: [{ step: 2 }, { step: 4 }, { step: 6 }] });
    const { checkpoint, model } = stage.outputs as { checkpoint: string; model: string };
    expect(existsSync(join(checkpoint, file))).toBe(true);
    expect(existsSync(join(model, "model.safetensors"))).toBe(true);
    expect(await world.log(id)).toContain("goes on from the checkpoint of step 4 of attempt 1");
  });
});

describe("runs that do not", { timeout: 120_000 }, () => {
  test("a crash is retried from the last complete checkpoint; what the retry did again is shown once, in its version", async () => {
    const world = await withAgent();
    const id = await world.submit([simulated(sft(), { incidents: [{ step: 6, kind: "out-of-memory" }] }, { retry: { maxAttempts: 2, backoffSeconds: 0 } })]);
    const stage = await world.ended(id);
    expect(stage).toMatchObject({ status: "COMPLETED", attempts: [{ number: 1, status: "FAILED", error: { code: "GPU_OUT_OF_MEMORY" } }, { number: 2, status: "COMPLETED" }] });
    expect(stepsOf(await world.points(id, "train/loss"))).toEqual([1, 2, 3, 4, 5, 6]);
    expect(await world.log(id)).toContain("goes on from the checkpoint of step 4 of attempt 1");
  });

  test("a checkpoint that was cut off is not gone on from", async () => {
    const world = await withAgent();
    const id = await world.submit([simulated(rl("grpo"), { incidents: [{ step: 4, kind: "partial-save" }] }, { retry: { maxAttempts: 2, backoffSeconds: 0 } })]);
    expect(await world.ended(id)).toMatchObject({ status: "COMPLETED", attempts: [{ status: "FAILED", error: { code: "DISK_FULL" } }, { status: "COMPLETED" }] });
    expect(await world.log(id)).toContain("goes on from the checkpoint of step 2 of attempt 1");
    expect(stepsOf(await world.points(id, "critic/score/mean"))).toEqual([1, 2, 3, 4, 5, 6]);
  });

  test("weights that are NaN are no success although the trainer says so", async () => {
    const world = await withAgent();
    const id = await world.submit([simulated(sft({ health: { onNonFinite: "notify" } }), { incidents: [{ step: 5, kind: "nan", runs: "every" }] })]);
    expect(await world.ended(id)).toMatchObject({ status: "FAILED", error: { code: "HEALTH_POLICY" } });
    expect((await world.job(id)).anomalies).toContainEqual({ kind: "NON_FINITE", attempt: 1, action: "NOTIFIED" });
  });

  test("an end with exit code 0 before the last checkpoint is a missing output", async () => {
    const world = await withAgent();
    const id = await world.submit([simulated(rl("grpo"), { incidents: [{ step: 6, kind: "end" }] })]);
    expect(await world.ended(id)).toMatchObject({ status: "FAILED", error: { code: "MISSING_OUTPUT", message: expect.stringContaining("step 4, not 6") as unknown } });
  });

  test("a run that hangs is ended by its limit on silence, with all that belongs to it", async () => {
    const world = await withAgent();
    const id = await world.submit([simulated(rl("grpo"), { incidents: [{ step: 3, kind: "hang" }] }, { noProgressTimeoutSeconds: 3 })]);
    const stage = await world.ended(id);
    expect(stage).toMatchObject({ status: "FAILED", error: { code: "NO_PROGRESS" } });
    expect(await livingOf(world, stage.id)).toEqual([]);
  });

  test("a rollback goes on before the trouble, within its budget", async () => {
    const world = await withAgent();
    const gate = join(runFolder(), "gate");
    const id = await world.submit([simulated(sft({ health: { onNonFinite: "rollback" } }), { incidents: [{ step: 5, kind: "wait", until: gate }, { step: 5, kind: "nan" }, { step: 6, kind: "hang" }] }, { retry: { maxAttempts: 1 } })]);
    await world.until(id, "the checkpoint of step 4 is known", async () => (await world.job(id)).checkpoints.some(({ step }) => step === 4));
    writeFileSync(gate, "");
    const stage = await world.ended(id);
    expect(stage).toMatchObject({ status: "COMPLETED" });
    expect(stage.attempts).toHaveLength(2);
    expect((await world.job(id)).anomalies).toContainEqual({ kind: "NON_FINITE", attempt: 1, action: "ROLLED_BACK" });
    expect((await world.points(id, "train/loss")).every(([, value]) => value !== null)).toBe(true);
    expect(stepsOf(await world.points(id, "train/loss"))).toEqual([1, 2, 3, 4, 5, 6]);
  });

  test("a rollback finds the checkpoint before the trouble though the steps take no time at all", async () => {
    const world = await withAgent();
    const id = await world.submit([simulated(sft({ health: { onNonFinite: "rollback" } }), { stepMs: 0, incidents: [{ step: 5, kind: "nan" }, { step: 6, kind: "hang" }] }, { retry: { maxAttempts: 1 } })]);
    const stage = await world.ended(id);
    expect(stage).toMatchObject({ status: "COMPLETED", attempts: [{ number: 1 }, { number: 2, status: "COMPLETED" }] });
    expect(await world.log(id)).toContain("goes on from the checkpoint of step 4 of attempt 1");
  });

  test("a checkpoint of another number of ranks is refused before anything starts", async () => {
    const world = await withAgent();
    const first = await world.ended(await world.submit([simulated(sft())]));
    const from = first.outputs!["checkpoint"] as string;
    // What two ranks would have left.
    for (const name of readdirSync(from).filter((file) => file.includes("_rank_0"))) for (const rank of [0, 1]) writeFileSync(join(from, name.replace("size_1_rank_0", `size_2_rank_${rank}`)), readFileSync(join(from, name)));
    writeFileSync(join(from, "fsdp_config.json"), JSON.stringify({ FSDP_version: 1, world_size: 2 }));
    for (const name of readdirSync(from).filter((file) => file.includes("size_1_"))) rmSync(join(from, name));
    const second = await world.submit([simulated(sft({ resume: { from } }))]);
    expect(await world.ended(second)).toMatchObject({ status: "FAILED", error: { code: "INVALID_INPUT", message: expect.stringMatching(/2 ranks/) as unknown } });
    expect(await world.points(second, "train/loss")).toEqual([]);
  });
});

describe("runs that are interrupted", { timeout: 120_000 }, () => {
  test("an agent that is killed takes its run over when it comes back: nothing is lost and nothing comes twice", async () => {
    const world = await startPipelineWorld();
    const gate = join(runFolder(), "gate");
    const agent = await world.startAgentProcess();
    const id = await world.submit([simulated(sft(), { stepMs: 50, incidents: [{ step: 4, kind: "wait", until: gate }] })]);
    await world.until(id, "step 3 is known", async () => (await world.points(id, "train/loss")).length === 3);
    await agent.kill();
    writeFileSync(gate, "");
    await world.startAgentProcess();
    expect(await world.ended(id)).toMatchObject({ status: "COMPLETED", attempts: [{ number: 1, status: "COMPLETED" }], outputs: { steps: 6 } });
    expect(stepsOf(await world.points(id, "train/loss"))).toEqual([1, 2, 3, 4, 5, 6]);
  });

  test.each([["sft", {}], ["grpo", { leftover: true }], ["sft", { deaf: true }]] as const)("a cancelled %s run with %j leaves no process behind, whatever session it sits in", async (algorithm, scenario) => {
    const world = await withAgent();
    const id = await world.submit([simulated(algorithm === "sft" ? sft() : rl(algorithm), { ...scenario, incidents: [{ step: 3, kind: "hang" }] })]);
    const { id: stageId } = await world.until(id, "step 2 is known", async () => (await world.points(id, algorithm === "sft" ? "train/loss" : "actor/pg_loss")).length === 2);
    expect((await livingOf(world, stageId)).length).toBeGreaterThan(1);
    await world.ask("mutation ($input: PipelineActionInput!) { cancelPipeline(input: $input) { __typename } }", { input: { pipelineId: id } });
    expect(await world.ended(id)).toMatchObject({ status: "CANCELLED" });
    expect(await pollUntil(async () => (await livingOf(world, stageId)).length === 0, 10_000)).toBe(true);
  });

  test("ranks that live on after their torchrun was killed are ended before the stage is tried again", async () => {
    const world = await withAgent();
    const id = await world.submit([simulated(sft(), { incidents: [{ step: 3, kind: "hang" }] }, { retry: { maxAttempts: 2, backoffSeconds: 0 } })]);
    const { id: stageId } = await world.until(id, "step 2 is known", async () => (await world.points(id, "train/loss")).length === 2);
    const before = await livingOf(world, stageId);
    const torchrun = before.find((pid) => readFileSync(`/proc/${pid}/cmdline`, "latin1").split("\0").includes("torch.distributed.run") && !readFileSync(`/proc/${pid}/cmdline`, "latin1").startsWith("/bin/sh"))!;
    process.kill(torchrun, "SIGKILL");
    expect(await world.ended(id)).toMatchObject({ status: "COMPLETED", attempts: [{ status: "FAILED" }, { status: "COMPLETED" }] });
    expect(before.filter((pid) => existsSync(`/proc/${pid}`) && !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, "latin1")))).toEqual([]);
    expect(stepsOf(await world.points(id, "train/loss"))).toEqual([1, 2, 3, 4, 5, 6]);
  });
});
