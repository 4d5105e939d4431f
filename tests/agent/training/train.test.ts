// A train stage on an agent, from order to end: real processes, a script in the place of Python.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { assign, stop } from "../../support/control-plane-peer.js";
import { startTrainingWorld, trainAssignment } from "./training-world.js";

interface Seen { readonly args: readonly string[]; readonly env: Record<string, string> }
const seenIn = (folder: string): Seen[] => readFileSync(join(folder, "seen"), "utf8").trim().split("\n").map((line) => JSON.parse(line) as Seen);

test("an SFT run ends with its last checkpoint, the exported model, its steps and its last metrics", async () => {
  const { peer, folder, sft, directory, model } = await startTrainingWorld();
  const assignment = trainAssignment(sft());
  peer.order(assign(assignment));
  const { outcome } = await peer.report("ended", assignment.attemptId);
  const output = join(directory, "attempts", assignment.pipelineId, "train", "1", "output");
  expect(outcome).toEqual({ kind: "COMPLETED", outputs: { checkpoint: join(output, "checkpoints", "global_step_4"), steps: 4, metrics: { "train/loss": 0.25, "train/lr": 1e-5, "perf/only_in_file": 4 }, model: join(output, "model") } });
  expect(peer.reports.filter(({ type }) => type === "checkpoint")).toMatchObject([{ step: 2, path: join(output, "checkpoints", "global_step_2"), sizeBytes: expect.any(Number) }, { step: 4 }]);
  expect(peer.reports.findLast(({ type }) => type === "progress")).toMatchObject({ step: 4, totalSteps: 4 });
  const [{ args, env }] = seenIn(folder) as [Seen];
  expect(args.slice(0, 6)).toEqual(["-m", "torch.distributed.run", "--standalone", "--nnodes=1", "--nproc_per_node=1", "-m"]);
  expect(args).toEqual(expect.arrayContaining([`model.path='${model}'`, "trainer.resume_mode='disable'", "trainer.logger=['console','file']"]));
  expect(env).toMatchObject({ VERL_FILE_LOGGER_PATH: join(output, "..", "logger.jsonl"), HYDRA_FULL_ERROR: "1" });
  expect(JSON.parse(readFileSync(join(output, "model", "config.json"), "utf8")).args).toEqual(expect.arrayContaining(["--trainer", "verl", "--lora", "fold"]));
});

test("the points of the console come once, and what only the file logger has is added", async () => {
  const { peer, sft } = await startTrainingWorld();
  const assignment = trainAssignment(sft({ loss: { 3: "nan" } }, { export: "none" }));
  peer.order(assign(assignment));
  await peer.report("ended", assignment.attemptId);
  const points = peer.pointsOf(assignment.attemptId).sort(([a, x], [b, y]) => x - y || (a < b ? -1 : 1));
  expect(points).toEqual([1, 2, 3, 4].flatMap((step) => [["perf/only_in_file", step, step], ["train/loss", step, step === 3 ? "NaN" : 1 / step], ["train/lr", step, 1e-5]]));
});

test("RL lines are read through Ray's prefix and colours, and Ray gets a short folder that is gone afterwards", async () => {
  const { peer, folder, grpo } = await startTrainingWorld({ gpus: true });
  const assignment = trainAssignment(grpo({}, { export: "none", overrides: { "actor_rollout_ref.rollout.agent.num_workers": 8 } }), { gpus: [0] });
  peer.order(assign(assignment));
  const { outcome } = await peer.report("ended", assignment.attemptId);
  expect(outcome).toMatchObject({ kind: "COMPLETED", outputs: { steps: 4, metrics: { "actor/pg_loss": 0.25, "critic/score/mean": 0.5 } } });
  const [{ env }] = seenIn(folder) as [Seen];
  expect(env["RAY_TMPDIR"]!.length).toBeLessThan(31);
  expect(existsSync(env["RAY_TMPDIR"]!)).toBe(false);
  expect(env).toMatchObject({ RAY_COLOR_PREFIX: "0", RAY_DEDUP_LOGS: "0", CUDA_VISIBLE_DEVICES: "0" });
});

test.each([
  ["trains nothing", { steps: 0 }, "logged no step"],
  ["leaves no checkpoint", { saveAt: [] }, "left no checkpoint"],
  ["ends before its last step is saved", { saveAt: [2] }, "newest checkpoint is of step 2, not 4"],
  ["loses a shard", { loses: "optim@4" }, "is not whole: optim_world_size_1_rank_0.pt"],
])("a run that ends with exit code 0 and %s has failed", async (_what, script, message) => {
  const { peer, sft } = await startTrainingWorld();
  const assignment = trainAssignment(sft(script));
  peer.order(assign(assignment));
  expect((await peer.report("ended", assignment.attemptId)).outcome).toMatchObject({ kind: "FAILED", failure: { code: "MISSING_OUTPUT", message: expect.stringContaining(message) } });
});

test("weights that became NaN are no success", async () => {
  const { peer, sft } = await startTrainingWorld();
  const assignment = trainAssignment(sft({ loss: { 4: "nan" } }));
  peer.order(assign(assignment));
  expect((await peer.report("ended", assignment.attemptId)).outcome).toMatchObject({ kind: "FAILED", failure: { code: "HEALTH_POLICY", message: expect.stringContaining("NaN") } });
});

test("what Ray cannot place is given up with a clear failure instead of waiting for ever", async () => {
  const { peer, sft } = await startTrainingWorld();
  const assignment = trainAssignment(sft({ unplaceable: true }));
  peer.order(assign(assignment));
  expect((await peer.report("ended", assignment.attemptId)).outcome).toMatchObject({ kind: "FAILED", failure: { code: "INVALID_INPUT", message: expect.stringContaining("No available node types") } });
});

test("a retry goes on from the last complete checkpoint, given by its path", async () => {
  const { peer, folder, sft, directory } = await startTrainingWorld();
  const first = trainAssignment(sft({ dieAt: 3, lastWords: "torch.OutOfMemoryError: CUDA out of memory.", died: join(folder, "died") }));
  peer.order(assign(first));
  expect((await peer.report("ended", first.attemptId)).outcome).toMatchObject({ kind: "FAILED", failure: { code: "GPU_OUT_OF_MEMORY", exitCode: 1 } });
  const second = trainAssignment(first.params, { pipelineId: first.pipelineId, fence: 2 });
  peer.order(assign(second));
  expect((await peer.report("ended", second.attemptId)).outcome).toMatchObject({ kind: "COMPLETED", outputs: { steps: 4 } });
  const checkpoint = join(directory, "attempts", first.pipelineId, "train", "1", "output", "checkpoints", "global_step_2");
  expect(seenIn(folder)[1]!.args).toEqual(expect.arrayContaining(["trainer.resume_mode='resume_path'", `trainer.resume_from_path='${checkpoint}'`]));
  expect(peer.pointsOf(second.attemptId).filter(([name]) => name === "train/loss").map(([, step]) => step)).toEqual([3, 4]);
  expect(peer.logOf(second.attemptId)).toContain("goes on from the checkpoint of step 2 of attempt 1");
});

test("a checkpoint of another world size is refused before anything starts", async () => {
  const { peer, folder, sft } = await startTrainingWorld();
  const first = trainAssignment(sft({ dieAt: 3, ranks: 4 }));
  peer.order(assign(first));
  await peer.report("ended", first.attemptId);
  const second = trainAssignment(first.params, { pipelineId: first.pipelineId, fence: 2 });
  peer.order(assign(second));
  expect((await peer.report("ended", second.attemptId)).outcome).toMatchObject({ kind: "FAILED", failure: { code: "INVALID_INPUT", message: expect.stringMatching(/saved by 4 ranks and this attempt has 1/) } });
  expect(seenIn(folder)).toHaveLength(1);
});

test("what a rollback has ruled out is not gone on from", async () => {
  const { peer, folder, sft } = await startTrainingWorld();
  const first = trainAssignment(sft({ steps: 8, saveAt: [2, 4, 6], dieAt: 7, died: join(folder, "died") }));
  peer.order(assign(first));
  await peer.report("ended", first.attemptId);
  const second = trainAssignment({ ...first.params, env: sft({ steps: 8, saveAt: [8] })["env"] }, { pipelineId: first.pipelineId, fence: 2, rollbacks: [{ fence: 1, step: 4 }] });
  peer.order(assign(second));
  expect((await peer.report("ended", second.attemptId)).outcome).toMatchObject({ kind: "COMPLETED" });
  expect(seenIn(folder)[1]!.args.find((argument) => argument.startsWith("trainer.resume_from_path="))).toMatch(/global_step_4'$/);
});

test("a run that died after its last checkpoint has nothing left to train: what it goes on from is its result", async () => {
  const { peer, folder, sft } = await startTrainingWorld();
  const first = trainAssignment(sft({ dieAt: 4, died: join(folder, "died") }));
  peer.order(assign(first));
  expect((await peer.report("ended", first.attemptId)).outcome).toMatchObject({ kind: "FAILED" });
  const second = trainAssignment(first.params, { pipelineId: first.pipelineId, fence: 2 });
  peer.order(assign(second));
  expect((await peer.report("ended", second.attemptId)).outcome).toMatchObject({ kind: "COMPLETED", outputs: { steps: 4, checkpoint: expect.stringContaining("/1/output/checkpoints/global_step_4"), model: expect.any(String) } });
});

test("a failed export is repeated without training again", async () => {
  const { peer, folder, sft } = await startTrainingWorld();
  const first = trainAssignment(sft({ exportFails: join(folder, "failed-once") }));
  peer.order(assign(first));
  expect((await peer.report("ended", first.attemptId)).outcome).toMatchObject({ kind: "FAILED", failure: { code: "GPU_OUT_OF_MEMORY", hint: expect.stringContaining("only exports it again") } });
  const second = trainAssignment(first.params, { pipelineId: first.pipelineId, fence: 2 });
  peer.order(assign(second));
  expect((await peer.report("ended", second.attemptId)).outcome).toMatchObject({ kind: "COMPLETED", outputs: { steps: 4, checkpoint: expect.stringContaining("/1/output/checkpoints/global_step_4"), model: expect.stringContaining("/2/output/model") } });
  expect(seenIn(folder)).toHaveLength(1);
});

test("a checkpoint that the control plane orders away is deleted while the run goes on", async () => {
  const { peer, folder, sft } = await startTrainingWorld();
  const assignment = trainAssignment(sft({ waitAt: { 4: join(folder, "go") } }, { export: "none" }));
  peer.order(assign(assignment));
  const { path } = await peer.report("checkpoint", assignment.attemptId);
  peer.order({ type: "delete-checkpoint", checkpointId: "ckp_1" as never, attemptId: assignment.attemptId, fence: 1, path });
  expect(await peer.report("checkpoint-deleted", assignment.attemptId)).toMatchObject({ error: null });
  expect(existsSync(path)).toBe(false);
  writeFileSync(join(folder, "go"), "");
  expect((await peer.report("ended", assignment.attemptId)).outcome).toMatchObject({ kind: "COMPLETED" });
});

test("a stopped run is STOPPED, and its retry goes on from where it was", async () => {
  const { peer, folder, sft } = await startTrainingWorld();
  const first = trainAssignment(sft({ waitAt: { 3: join(folder, "go") } }));
  peer.order(assign(first));
  await peer.report("checkpoint", first.attemptId);
  peer.order(stop(first, "PAUSE"));
  expect((await peer.report("ended", first.attemptId)).outcome).toEqual({ kind: "STOPPED" });
  writeFileSync(join(folder, "go"), "");
  const second = trainAssignment(first.params, { pipelineId: first.pipelineId, fence: 2 });
  peer.order(assign(second));
  expect((await peer.report("ended", second.attemptId)).outcome).toMatchObject({ kind: "COMPLETED" });
  expect(peer.pointsOf(second.attemptId)[0]).toEqual(["train/loss", 3, 1 / 3]);
});

