// Direct preference optimisation by TRL's own program.

import { expect, test } from "vitest";
import "../support/built-cli.js"; // has the command line built before the workers start
import { judgeModel, MODEL, PIPELINE_MS, pythonFor, startVerlWorld, writeRows } from "./verl-world.js";

const python = pythonFor("verl", "DPO by TRL: killed and resumed; LoRA folded in");
const TIMEOUT = { timeout: PIPELINE_MS + 120_000 };

const PAIRS = Array.from({ length: 128 }, (_, n) => ({ prompt: `How much is ${n % 12} + ${Math.floor(n / 12)}?`, chosen: `${(n % 12) + Math.floor(n / 12)}`, rejected: `Nobody knows, said number ${n}.` }));
const DPO = { algorithm: "dpo", model: "${stages.model.outputs.model}", trainFiles: "${stages.prepare.outputs.trainFile}", valFiles: "${stages.prepare.outputs.validationFile}", batchSize: 4, microBatchSize: 4, maxLength: 128, learningRate: 0.005, beta: 0.3 };
const stepsOf = (points: readonly (readonly [number, number])[] | undefined): number[] => (points ?? []).map(([step]) => step);

test.skipIf(python === null)("a training that is killed goes on from its last checkpoint and ends as the better judge of its pairs", TIMEOUT, async () => {
  const world = await startVerlWorld(python!);
  const pairs = writeRows(world.folder, "pairs.jsonl", PAIRS);
  world.startVerlAgent("agent", { TRAINYARD_DATA_DIRS: world.folder });
  const prepare = { name: "prepare", kind: "preprocess", params: { input: pairs, task: "preference", split: { validation: 0.1 } } };
  const id = await world.submit({ name: "dpo", stages: [MODEL(python!), prepare, { name: "train", kind: "train", dependsOn: ["model", "prepare"], retry: { maxAttempts: 2, backoffSeconds: 0 }, params: { ...DPO, saveEvery: 4, testEvery: 8, epochs: 2 } }] });
  await world.reached(id, "train", 1, 6);
  for (const pid of world.programs("agent", "trl")) process.kill(pid, "SIGKILL");
  const stages = await world.completed(id);

  expect(stages.get("train")!.attempts.map(({ status }) => status)).toEqual(["FAILED", "COMPLETED"]);
  const losses = await world.points(id, "train", "train/loss");
  const [first, last] = [losses.get(1)!, losses.get(2)!];
  expect(first[0]![1]).toBeCloseTo(Math.log(2), 3); // policy and reference are still the same
  expect(stepsOf(last)[0]! % 4).toBe(1);
  expect(stepsOf(last)[0]).toBeGreaterThan(4);
  expect(last[0]![1]).toBeLessThan(0.6); // it did not begin anew
  expect(stepsOf(last).at(-1)).toBe((stages.get("train")!.outputs as { steps: number }).steps);
  expect((await world.points(id, "train", "train/rewards/accuracies")).get(2)!.at(-1)![1]).toBe(1);
  const judged = await judgeModel<{ finite: boolean; fromBase: number }>(python!, { base: (stages.get("model")!.outputs as { model: string }).model, model: (stages.get("train")!.outputs as { model: string }).model });
  expect(judged.finite).toBe(true);
  expect(judged.fromBase).toBeGreaterThan(0.1);
});

test.skipIf(python === null)("a low-rank adapter is folded into the model of its outputs", TIMEOUT, async () => {
  const world = await startVerlWorld(python!);
  const pairs = writeRows(world.folder, "pairs.jsonl", PAIRS.slice(0, 48));
  world.startVerlAgent("agent", { TRAINYARD_DATA_DIRS: world.folder });
  const prepare = { name: "prepare", kind: "preprocess", params: { input: pairs, task: "preference", split: { validation: 0.1 } } };
  const id = await world.submit({ name: "dpo-lora", stages: [MODEL(python!), prepare, { name: "train", kind: "train", dependsOn: ["model", "prepare"], params: { ...DPO, learningRate: 0.05, lora: { rank: 4 } } }] });
  const stages = await world.completed(id);
  const { checkpoint, model } = stages.get("train")!.outputs as { checkpoint: string; model: string };
  const judged = await judgeModel<{ finite: boolean; fromBase: number; fromAdapter: number }>(python!, { base: (stages.get("model")!.outputs as { model: string }).model, model, adapter: checkpoint });
  expect(judged.finite).toBe(true);
  expect(judged.fromBase).toBeGreaterThan(0.05);
  expect(judged.fromAdapter).toBeLessThan(judged.fromBase / 10);
});
