// `trainyard job …`, `recipe …`, `export` and what `show` and `watch` say of trainings, against a real server with an agent that reports what a trainer would.
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { jobIdOf, type PipelineId } from "../../src/domain/ids.js";
import type { Assignment } from "../../src/protocol/messages.js";
import { RECIPES } from "../../src/verl/recipes.js";
import { startApi, type Api } from "../schema/api-world.js";
import type { ScriptedAgent } from "../support/world.js";
import { cli, newFolder, startCli } from "./support.js";

let api: Api;
let agent: ScriptedAgent;
let env: Record<string, string>;
beforeAll(async () => {
  api = await startApi();
  agent = await api.world.agent({ name: "gpu-1", pools: [{ queues: ["training"], concurrency: 100 }], capabilities: ["train:verl", "train:verl:vllm", "train:simulate"], run: () => "hold" });
  env = { TRAINYARD_URL: new URL(api.url).origin, TRAINYARD_TOKEN: api.tokens.operator };
}, 60_000);
afterAll(() => api.stop());

const trainyard = (...args: string[]) => cli(args, { env });
const json = async <T = any>(...args: string[]): Promise<T> => {
  const { code, stdout, stderr } = await trainyard(...args, "--json");
  if (code !== 0) throw new Error(stderr);
  return JSON.parse(stdout) as T;
};
async function running(name: string, params: Record<string, unknown> = {}): Promise<{ pipelineId: PipelineId; assignment: Assignment; jobId: string }> {
  const pipelineId = await api.world.submit({ name, stages: [{ name: "train", kind: "train", params: { algorithm: "grpo", model: "Qwen/Qwen2.5-0.5B", trainFiles: "/d/t.parquet", valFiles: "/d/v.parquet", batchSize: 64, simulate: true, ...params } }] });
  await api.world.until(pipelineId, (state) => state.stages.at(0).status === "RUNNING");
  const assignment = agent.started.find((each) => each.pipelineId === pipelineId)!;
  return { pipelineId, assignment, jobId: jobIdOf(assignment.stageId) };
}
const metric = ({ attemptId, fence }: Assignment, name: string, step: number, value: number | "NaN") => agent.report({ type: "metrics", attemptId, fence, names: [name], points: [[0, step, Date.now(), value]] });
const shadow = { health: { shadow: true } };

describe("job", { timeout: 60_000 }, () => {
  test("ls, show and anomalies tell what was found, what to do, and that the run is simulated", async () => {
    const { jobId, assignment, pipelineId } = await running("ill", shadow);
    await metric(assignment, "actor/pg_loss", 7, "NaN");
    const { attemptId, fence } = assignment;
    await agent.report({ type: "checkpoint", attemptId, fence, step: 5, path: "/c/global_step_5", sizeBytes: 2048 });
    const list = await trainyard("job", "ls");
    expect(list.stdout).toMatch(new RegExp(`${jobId} +ill / train +grpo \\(simulated\\) +Qwen/Qwen2.5-0.5B +RUNNING .*⚠ CRITICAL NON_FINITE at step 7`));
    const shown = await trainyard("job", "show", "ill");
    for (const text of ["ill / train", "grpo of Qwen/Qwen2.5-0.5B", "simulated: a stand-in runs that trains nothing", "CRITICAL NON_FINITE: actor/pg_loss is NaN at step 7.  would have been stopped", "step 5"]) expect(shown.stdout).toContain(text);
    for (const command of [`watch ${pipelineId}`, `export ${jobId}`]) expect(shown.stderr).toContain(command);
    const anomalies = await trainyard("job", "anomalies", jobId);
    expect(anomalies.stdout).toMatch(/try 1 {2}CRITICAL NON_FINITE: .*\n {2}Go on from a checkpoint .*\n {2}Only told, as health\.shadow is set\./);
    expect(anomalies.stderr).toContain("simulated");
  });

  test("as data, and by the id of the job, of its stage, of its pipeline", async () => {
    const { jobId, assignment, pipelineId } = await running("ill data", shadow);
    await metric(assignment, "actor/pg_loss", 7, "NaN");
    const { attemptId, fence } = assignment;
    await agent.report({ type: "checkpoint", attemptId, fence, step: 5, path: "/c/global_step_5", sizeBytes: 2048 });
    expect(await json("job", "anomalies", pipelineId)).toMatchObject([{ kind: "NON_FINITE", step: 7, action: "NOTIFIED", would: "STOPPED" }]);
    expect(await json("job", "show", assignment.stageId)).toMatchObject({ id: jobId, simulated: true, checkpoints: [{ step: 5 }] });
    expect((await json("job", "ls", "--algorithm", "grpo", "--status", "running")).map(({ id }: any) => id)).toContain(jobId);
  });

  test("lists of pipelines and of checkpoints say simulated too", async () => {
    const { jobId, assignment: { attemptId, fence }, pipelineId } = await running("listed");
    await agent.report({ type: "checkpoint", attemptId, fence, step: 5, path: "/c/global_step_5", sizeBytes: 2048 });
    expect((await trainyard("ls")).stdout).toMatch(/listed \(simulated\)/);
    expect((await trainyard("checkpoint", "ls", pipelineId)).stdout).toMatch(/train .* simulated .*\/c\/global_step_5/);
    expect((await trainyard("job", "ls", "-q")).stdout).toContain(`${jobId}\n`);
  });

  test("samples prints prompt, answer, truth and score, newest step first, and more than a page with --limit", async () => {
    const { jobId, assignment: { attemptId, fence } } = await running("sampled");
    for (const step of [1, 2]) {
      await agent.report({ type: "samples", attemptId, fence, samples: Array.from({ length: 60 }, (_, index) => ({ source: "train" as const, step, key: `k${index}`, prompt: `2+${index}?`, output: "x".repeat(700), truth: String(index + 2), score: index % 2, error: null })) });
    }
    const { stdout, stderr } = await trainyard("job", "samples", "sampled", "--limit", "2");
    expect(stdout).toMatch(/^train step 2 {2}k0 {2}wrong, score 0\nprompt\n {2}2\+0\?\nanswer\n {2}x{600}… \(100 more characters; --full\)\ntruth\n {2}2\n\ntrain step 2 {2}k1 {2}correct, score 1\n/);
    expect(stderr).toContain("made up");
    expect(await json("job", "samples", jobId, "--limit", "105", "--verdict", "correct")).toHaveLength(60);
    expect((await json("job", "samples", jobId, "--step", "1", "--limit", "1"))[0]).toMatchObject({ step: 1, key: "k0", score: 0 });
    expect(await trainyard("job", "samples", jobId, "--source", "nowhere")).toMatchObject({ code: 2, stdout: "", stderr: expect.stringContaining("train, validation") });
  });

  test("what is no job says which there are, with its exit code", async () => {
    const pipelineId = await api.world.submit({ name: "two", stages: ["one", "other"].map((name) => ({ name, kind: "train", params: { algorithm: "sft", model: "m", trainFiles: "/d/t.parquet", simulate: true } })) });
    expect(await trainyard("job", "show", "two")).toMatchObject({ code: 2, stderr: expect.stringContaining("one, other") });
    expect(await json("job", "show", "two", "other")).toMatchObject({ stage: { name: "other" }, pipeline: { id: pipelineId } });
    expect(await trainyard("job", "show", "two", "third")).toMatchObject({ code: 5, stderr: expect.stringContaining("one, other") });
    expect(await trainyard("job", "show", "job_00000000000000000000000000")).toMatchObject({ code: 5, stderr: expect.stringContaining("job ls") });
    expect(await trainyard("job", "ls", "--algorithm", "magic")).toMatchObject({ code: 2, stderr: expect.stringContaining("grpo") });
  });
});

describe("show and watch", { timeout: 60_000 }, () => {
  test("say of a pipeline that it is simulated and what was found, before and while it is watched", async () => {
    const { pipelineId, assignment } = await running("watched", { health: { onNonFinite: "notify" } });
    await metric(assignment, "actor/pg_loss", 1, "NaN");
    const shown = await trainyard("show", pipelineId);
    expect(shown.stdout).toMatch(/train +train +RUNNING .*simulated/);
    expect(shown.stdout).toContain("train: an anomaly\n  CRITICAL NON_FINITE: actor/pg_loss is NaN at step 1.");
    const stage = await trainyard("show", pipelineId, "train");
    for (const text of ["simulated: a stand-in runs that trains nothing", "CRITICAL NON_FINITE"]) expect(stage.stdout).toContain(text);
    const watching = await startCli(["watch", pipelineId], { env });
    await expect.poll(() => watching.stdout(), { timeout: 20_000 }).toContain("⚠ CRITICAL NON_FINITE at step 1");
    expect(watching.stdout()).toContain("simulated: nothing is trained");
    const { attemptId, fence } = assignment;
    await agent.report({ type: "log", attemptId, fence, fromByte: 0, skippedBytes: 0, text: "torch.OutOfMemoryError: CUDA out of memory\n" });
    await expect.poll(() => watching.stdout(), { timeout: 20_000 }).toContain("⚠ HIGH OUT_OF_MEMORY");
    await agent.end(assignment, { kind: "COMPLETED", outputs: {} });
    const { code, stderr } = await watching.ended;
    expect(code).toBe(0);
    expect(stderr).toContain("train: simulated, nothing was trained; ⚠ 2 anomalies, worst CRITICAL NON_FINITE at step 1");
  });

  test("with --json give anomalies as records of their own", async () => {
    const { pipelineId, assignment } = await running("recorded", shadow);
    const watching = await startCli(["watch", pipelineId, "--json"], { env });
    await expect.poll(() => watching.stdout(), { timeout: 20_000 }).toContain('"simulated":["train"]');
    await metric(assignment, "actor/pg_loss", 3, "NaN");
    await expect.poll(() => watching.stdout(), { timeout: 20_000 }).toContain('"type":"Anomaly"');
    const record = watching.stdout().split("\n").filter((line) => line.includes('"Anomaly"')).map((line) => JSON.parse(line) as unknown);
    expect(record).toMatchObject([{ type: "Anomaly", stage: "train", kind: "NON_FINITE", step: 3, would: "STOPPED" }]);
    await agent.end(assignment, { kind: "COMPLETED", outputs: {} });
    await watching.ended;
  });
});

describe("export", { timeout: 60_000 }, () => {
  test("prints a script that a shell takes, and says that a simulated run was one", async () => {
    const { jobId } = await running("exported");
    const { code, stdout, stderr } = await trainyard("export", jobId);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^#!\/bin\/sh\n# Training job job_\w+: stage train of pipeline exported \(pip_\w+\)\.\n# The run was SIMULATED/);
    const file = join(newFolder(), "run.sh");
    writeFileSync(file, stdout);
    execFileSync("/bin/sh", ["-n", file]);
    expect(stderr).toContain("simulated");
    expect(await json("export", jobId)).toMatchObject({ id: jobId, script: stdout });
  });
});

describe("recipe", { timeout: 120_000 }, () => {
  test("ls and show need no server", async () => {
    const list = await cli(["recipe", "ls", "--json"]);
    expect((JSON.parse(list.stdout) as { name: string }[]).map(({ name }) => name)).toEqual(RECIPES.map(({ name }) => name));
    expect((await cli(["recipe", "ls"])).stdout).toContain("grpo-qwen3-8b");
    const shown = await cli(["recipe", "show", "grpo-qwen3-8b"]);
    expect(shown).toMatchObject({ code: 0, stdout: expect.stringContaining("batchSize: 1024"), stderr: expect.stringContaining("recipe use grpo-qwen3-8b --data <file> --data-source <name>") });
    expect(await cli(["recipe", "show", "grpo-qwen3-8"])).toMatchObject({ code: 5, stderr: expect.stringContaining("Did you mean grpo-qwen3-8b?") });
  });

  test("use writes a pipeline that validate accepts, to stdout or to a new file", async () => {
    const folder = newFolder();
    const used = await cli(["recipe", "use", "sft-qwen2.5-0.5b", "--data", "raw.jsonl", "--model", "/models/q", "--set", "stages.train.params.epochs=3"], { cwd: folder });
    expect(used).toMatchObject({ code: 0, stdout: expect.stringContaining("epochs: 3") });
    expect(await cli(["validate", "-"], { env, input: used.stdout })).toMatchObject({ code: 0 });
    const args = ["recipe", "use", "grpo-qwen3-8b", "--train", "/d/t.parquet", "--val", "/d/v.parquet", "--out", "grpo.yaml"];
    expect(await cli(args, { cwd: folder })).toMatchObject({ code: 0, stdout: "", stderr: expect.stringContaining("validate grpo.yaml") });
    expect(readFileSync(join(folder, "grpo.yaml"), "utf8")).toMatch(/^# GRPO of Qwen3 8B: verl's examples\/grpo_trainer\/run_qwen3-8b\.sh, published for 8 GPUs/);
    expect(await cli(["validate", "grpo.yaml"], { cwd: folder, env })).toMatchObject({ code: 0 });
    expect(await cli(args, { cwd: folder })).toMatchObject({ code: 1, stderr: expect.stringContaining("it is there already") });
  });

  test("use refuses what leaves it without data, and what its rules refuse", async () => {
    expect(await cli(["recipe", "use", "grpo-qwen3-8b"])).toMatchObject({ code: 2, stdout: "", stderr: expect.stringContaining("--data") });
    expect(await cli(["recipe", "use", "grpo-qwen3-8b", "--data", "raw.jsonl"])).toMatchObject({ code: 2, stderr: expect.stringContaining("dataSource") });
    expect(await cli(["recipe", "use", "grpo-qwen3-8b", "--train", "t", "--val", "v", "--verl", "0.6.1"])).toMatchObject({ code: 2, stderr: expect.stringContaining("0.7.0") });
  });

  test("use --submit --simulate submits, says so everywhere, and names the next commands", async () => {
    const submitted = await trainyard("recipe", "use", "ppo-gemma-2-2b", "--train", "/d/t.parquet", "--val", "/d/v.parquet", "--simulate", "--submit");
    expect(submitted).toMatchObject({ code: 0, stdout: expect.stringMatching(/^pip_\w{26}\n$/), stderr: expect.stringContaining("simulated: a stand-in runs that trains nothing") });
    expect(submitted.stderr).toContain(`job show ${submitted.stdout.trim()}`);
    expect(await json("job", "show", submitted.stdout.trim())).toMatchObject({ simulated: true, algorithm: "PPO" });
  });
});
