// Train stages with the stand-in for verl and TRL in the trainer's place: what it writes follows their contract, so that whole runs of every kind can be followed.
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { onTestFinished, expect, test } from "vitest";
import { temporaryFolderPath } from "../../../src/agent/training/temporary-folder.js";
import { agentDirectory, startAgentProcess } from "../../support/agents.js";
import { assign, startPeer, stop, type Peer } from "../../support/control-plane-peer.js";
import { leftOf } from "../../support/processes.js";
import { startTrainingWorld, trainAssignment, trainingFolder, trainingInputs } from "./training-world.js";

const PATIENCE = 40_000;
const scenario = (of: Record<string, unknown>) => ({ TRAINYARD_SIMULATION: JSON.stringify({ stepMs: 10, emptyTrackerMs: 1, ...of }) });
const simulated = (params: Record<string, unknown>, of: Record<string, unknown> = {}) => ({ ...params, simulate: true, env: scenario(of) });
const PREFERENCE = { algorithm: "dpo", batchSize: 8, microBatchSize: 4, saveEvery: 2, steps: 4 };

/** How often each (name, step) was reported. */
const repeated = (peer: Peer, attemptId: string): string[] => {
  const seen = new Map<string, number>();
  for (const [name, step] of peer.pointsOf(attemptId as never)) seen.set(`${name}@${step}`, (seen.get(`${name}@${step}`) ?? 0) + 1);
  return [...seen].filter(([, count]) => count > 1).map(([key]) => key);
};

test.each(["sft", "ppo", "grpo", "dpo"] as const)("%s runs to its end: steps, checkpoints, progress and a model", { timeout: 60_000 }, async (algorithm) => {
  const { peer, sft, grpo, preferenceFile } = await startTrainingWorld({ gpus: true });
  const of = algorithm === "sft" ? sft({}, { steps: 4, saveEvery: 2 }) : algorithm === "dpo" ? { ...sft(), ...PREFERENCE, trainFiles: preferenceFile } : { ...grpo(), algorithm, answers: algorithm === "ppo" ? 1 : 4, epochs: 1 };
  const assignment = trainAssignment(simulated(of), { gpus: [0, 1] });
  peer.order(assign(assignment));
  const { outcome } = await peer.report("ended", assignment.attemptId, PATIENCE);
  expect(outcome, peer.logOf(assignment.attemptId).slice(-2_000)).toMatchObject({ kind: "COMPLETED", outputs: { steps: 4, checkpoint: expect.stringMatching(/(?:global_step_|checkpoint-)4$/), model: expect.any(String), metrics: expect.any(Object) } });
  expect(peer.reports.filter(({ type }) => type === "checkpoint").map((report) => (report as { step: number }).step)).toEqual([2, 4]);
  expect(peer.reports.findLast(({ type }) => type === "progress")).toMatchObject({ step: 4, totalSteps: 4 });
  expect(repeated(peer, assignment.attemptId)).toEqual([]);
});

test("drawn answers of RL are reported with prompt, truth and score, and their dumps do not stay on the disk", { timeout: 60_000 }, async () => {
  const { peer, grpo, directory } = await startTrainingWorld({ gpus: true });
  const assignment = trainAssignment(simulated(grpo({}, { export: "none" })), { gpus: [0] });
  peer.order(assign(assignment));
  await peer.report("ended", assignment.attemptId, PATIENCE);
  const samples = peer.reports.flatMap((report) => (report.type === "samples" ? report.samples : []));
  const of = (source: string) => samples.filter((sample) => sample.source === source);
  expect(new Set(of("train").map(({ step }) => step))).toEqual(new Set([1, 2, 3, 4]));
  expect(of("train")[0]).toMatchObject({ prompt: expect.any(String), output: expect.any(String), error: null });
  const steps = [...new Set(of("validation").map(({ step }) => step))];
  const keysAt = (step: number | null) => of("validation").filter((sample) => sample.step === step).map(({ key }) => key).sort();
  expect(steps.length).toBeGreaterThan(1);
  for (const step of steps) expect(keysAt(step)).toEqual(keysAt(steps[0]!)); // row by row, from step to step
  const root = join(directory, "attempts", assignment.pipelineId, "train", "1");
  expect(existsSync(join(root, "samples", "train", "4.jsonl"))).toBe(false);
});

test("an agent that is killed in the middle of a run is followed by one that loses no point and tells none twice", { timeout: 90_000 }, async () => {
  const [peer, directory, folder] = [await startPeer(), agentDirectory(), trainingFolder()];
  onTestFinished(() => peer.stop());
  const { sft } = await trainingInputs(folder);
  const first = startAgentProcess(peer.url, directory);
  const gate = join(folder, "go");
  const assignment = trainAssignment(simulated(sft({}, { batchSize: 4, saveEvery: 2, epochs: 1 }), { incidents: [{ step: 9, kind: "wait", until: gate, runs: "every" }] }));
  peer.order(assign(assignment));
  await peer.until(() => peer.reports.some((report) => report.type === "checkpoint" && report.step === 6), "the checkpoint of step 6", PATIENCE);
  await first.kill();
  writeFileSync(gate, "");
  startAgentProcess(peer.url, directory);
  const { outcome } = await peer.report("ended", assignment.attemptId, PATIENCE);
  expect(outcome).toMatchObject({ kind: "COMPLETED", outputs: { steps: 16 } });
  const losses = peer.pointsOf(assignment.attemptId).filter(([name]) => name === "train/loss").map(([, step]) => step);
  expect([...losses].sort((a, b) => a - b)).toEqual(Array.from({ length: 16 }, (_, index) => index + 1));
  expect(repeated(peer, assignment.attemptId)).toEqual([]);
  expect(peer.reports.filter(({ type }) => type === "checkpoint").map((report) => (report as { step: number }).step)).toEqual([2, 4, 6, 8, 10, 12, 14, 16]);
});

test("checkpoints that the trainer itself removes are told with the next one", { timeout: 60_000 }, async () => {
  const { peer, sft, folder } = await startTrainingWorld();
  const gate = join(folder, "go");
  const assignment = trainAssignment(simulated(sft({}, { batchSize: 8, saveEvery: 2, keepCheckpoints: 2, export: "none" }), { incidents: [{ step: 5, kind: "wait", until: gate }] }));
  peer.order(assign(assignment));
  await peer.until(() => peer.reports.some((report) => report.type === "checkpoint" && report.step === 4), "the checkpoint of step 4", PATIENCE);
  writeFileSync(gate, "");
  await peer.report("ended", assignment.attemptId, PATIENCE);
  const told = peer.reports.flatMap((report) => (report.type === "checkpoint" ? [{ step: report.step, gone: (report.gone ?? []).map((path) => path.split("/").at(-1)) }] : []));
  expect(told.at(-1)!.step).toBe(8);
  expect(told.flatMap(({ gone }) => gone)).toEqual(["global_step_2", "global_step_4"]);
});

test("a checkpoint that was being written when the run died is not gone on from", { timeout: 60_000 }, async () => {
  const { peer, sft } = await startTrainingWorld({ gpus: true });
  const first = trainAssignment(simulated(sft({}, { batchSize: 16, epochs: 2, saveEvery: 2 }), { incidents: [{ step: 6, kind: "partial-save" }] }), { gpus: [0, 1] });
  peer.order(assign(first));
  expect((await peer.report("ended", first.attemptId, PATIENCE)).outcome).toMatchObject({ kind: "FAILED" });
  const second = trainAssignment(first.params, { pipelineId: first.pipelineId, fence: 2, gpus: [0, 1] });
  peer.order(assign(second));
  expect((await peer.report("ended", second.attemptId, PATIENCE)).outcome).toMatchObject({ kind: "COMPLETED", outputs: { steps: 8 } });
  expect(peer.logOf(second.attemptId)).toContain("goes on from the checkpoint of step 4 of attempt 1");
});

test.each([
  ["SFT", "sft", {}], ["RL", "grpo", {}], ["a deaf RL run", "grpo", { deaf: true }], ["RL with an engine in a session of its own", "grpo", { leftover: true }],
])("stopping %s leaves none of its processes", { timeout: 60_000 }, async (_what, kind, of) => {
  const { peer, ...world } = await startTrainingWorld({ gpus: true });
  const params = kind === "sft" ? world.sft({}, { batchSize: 4, graceSeconds: 2 }) : world.grpo({}, { graceSeconds: 2 });
  const assignment = trainAssignment(simulated(params, { stepMs: 300, ...of }), { gpus: [0, 1] });
  peer.order(assign(assignment));
  await peer.report("metrics", assignment.attemptId, PATIENCE);
  expect(leftOf(assignment.attemptId).length).toBeGreaterThan(0);
  const rayFolder = temporaryFolderPath(assignment.attemptId);
  expect(existsSync(rayFolder)).toBe(kind !== "sft");
  peer.order(stop(assignment));
  expect((await peer.report("ended", assignment.attemptId, PATIENCE)).outcome).toEqual({ kind: "STOPPED" });
  expect(leftOf(assignment.attemptId)).toEqual([]);
  expect(existsSync(rayFolder)).toBe(false);
});

test("a simulated run says so in its log", async () => {
  const { peer, sft } = await startTrainingWorld();
  const assignment = trainAssignment(simulated(sft({}, { export: "none" })));
  peer.order(assign(assignment));
  await peer.report("ended", assignment.attemptId, PATIENCE);
  expect(peer.logOf(assignment.attemptId)).toContain("simulated: a stand-in");
});
