// Unmodified verl on an SSH host: a real sshd, the agent here, verl's SFT trainer in a session of its own there, cut off from us in between, stopped and gone on with; and verl's main_eval.
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { newId } from "../../src/domain/ids.js";
import type { Assignment } from "../../src/protocol/messages.js";
import { evaluating, sumAsked, sums } from "../agent/evaluation/evaluation-world.js";
import { trainAssignment, trainingFolder, trainingInputs } from "../agent/training/training-world.js";
import { startChatServer } from "../support/chat-server.js";
import { assign, commandAssignment, stop } from "../support/control-plane-peer.js";
import { startSshAgentWorld } from "../support/ssh-agents.js";
import { sshdIsHere } from "../support/sshd.js";
import { EXAMPLE, ON_CPU, PIPELINE_MS, pythonFor } from "./verl-world.js";

const python = sshdIsHere ? pythonFor("verl", "verl's SFT trainer on an SSH host") : null;

test.skipIf(python === null)("SFT trains on a host over cuts, is stopped, goes on from its checkpoint there, and leaves a model there", { timeout: PIPELINE_MS }, async () => {
  const folder = trainingFolder();
  await trainingInputs(folder);
  const world = await startSshAgentWorld({ settings: { TRAINYARD_AGENT_PYTHON: python!, TRAINYARD_DATA_DIRS: folder } });
  const { peer, sshd } = world;
  const ended = async ({ attemptId }: Assignment) => {
    const { outcome } = await peer.report("ended", attemptId, PIPELINE_MS);
    return outcome;
  };
  const steps = ({ attemptId }: Assignment) => peer.pointsOf(attemptId).filter(([name]) => name === "train/loss").map(([, step]) => step);

  const made = commandAssignment([python!, join(EXAMPLE, "tiny_model.py")], { stage: "model" });
  peer.order(assign(made));
  const model = ((await ended(made)) as unknown as { outputs: { model: string } }).outputs.model;
  expect(model.startsWith(world.attemptThere(made))).toBe(true);

  const params = { algorithm: "sft", model, trainFiles: "sft.parquet", batchSize: 8, maxLength: 128, learningRate: 0.01, epochs: 2, saveEvery: 4, graceSeconds: 30, ...ON_CPU };
  const first = trainAssignment(params);
  peer.order(assign(first));
  await peer.until(() => steps(first).includes(2), "step 2", PIPELINE_MS);
  expect(sshd.cutSessions()).toBeGreaterThan(0);
  await peer.until(() => peer.reports.some((report) => report.type === "checkpoint" && report.attemptId === first.attemptId && report.step === 4), "the checkpoint of step 4", PIPELINE_MS);
  sshd.cutSessions();
  peer.order(stop(first));
  const outcome = await ended(first);
  expect(["STOPPED", "COMPLETED"]).toContain(outcome.kind);
  const told = steps(first);
  expect(told).toEqual(Array.from({ length: told.length }, (_, index) => index + 1)); // each once, none missing

  const second: Assignment = { ...first, attemptId: newId("att"), fence: 2 };
  peer.order(assign(second));
  const after = await ended(second);
  expect(after, `${JSON.stringify(after)}\n${peer.logOf(second.attemptId).slice(-3_000)}`).toMatchObject({ kind: "COMPLETED", outputs: { steps: 16 } });
  const { outputs } = after as unknown as { outputs: { checkpoint: string; model: string } };
  expect(peer.logOf(second.attemptId)).toMatch(/goes on from the checkpoint of step (?:4|8|12|16) of attempt 1/);
  expect(steps(second).at(-1) ?? told.at(-1)).toBe(16);
  for (const name of ["config.json", "model.safetensors", "tokenizer_config.json"]) expect(existsSync(join(outputs.model, name))).toBe(true);
  expect(outputs.checkpoint.startsWith(join(world.there, "attempts"))).toBe(true);
});

test.skipIf(python === null)("the answers of an endpoint, asked from here, are scored by verl's main_eval and a reward function on the host", { timeout: PIPELINE_MS }, async () => {
  const folder = trainingFolder();
  writeFileSync(join(folder, "sums.jsonl"), sums(20));
  writeFileSync(join(folder, "reward.py"), "def judge(data_source, solution_str, ground_truth, extra_info=None):\n    return float(solution_str == ground_truth)\n");
  const { peer } = await startSshAgentWorld({ settings: { TRAINYARD_AGENT_PYTHON: python!, TRAINYARD_DATA_DIRS: folder } });
  const chat = await startChatServer(({ prompt }) => ({ say: String(sumAsked(prompt) + (sumAsked(prompt) < 10 ? 1 : 0)) }));
  const assignment = evaluating({ input: "sums.jsonl", answerPattern: "#### (.+)", endpoint: { url: chat.url, model: "tiny" }, scorer: { verl: { file: "reward.py", function: "judge" } }, dataSource: "sums" });
  peer.order(assign(assignment));
  const { outcome } = await peer.report("ended", assignment.attemptId, PIPELINE_MS);
  expect(outcome, peer.logOf(assignment.attemptId).slice(-3_000)).toMatchObject({ kind: "COMPLETED", outputs: { scores: { score: 0.75, sums: 0.75 }, sampleCount: 20 } });
});
