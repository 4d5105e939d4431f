// Trainings over several agents: verl's SFT by torchrun, and a real Ray cluster under a stand-in for verl's RL trainer, which needs GPUs.

import { mkdirSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { expect, test } from "vitest";
import { packagePath } from "../../src/package-root.js";
import "../support/built-cli.js"; // has the command line built before the workers start
import { MODEL, PIPELINE_MS, pythonFor, REPORTS, SFT, startVerlWorld, writeRows, type VerlWorld } from "./verl-world.js";

const python = pythonFor("verl", "trainings over two agents: SFT by torchrun, RL over a Ray cluster");
const TIMEOUT = { timeout: PIPELINE_MS + 120_000 };
const TWO_GPUS = packagePath("tests", "chaos", "programs", "two-gpus.sh");
const STAND_IN = packagePath("tests", "real-verl", "rl-stand-in");

/** Two agents that share a folder and reach each other at this machine's own address. */
function startTwoAgents(world: VerlWorld, settings: Record<string, string> = {}): void {
  const shared = join(world.folder, "shared");
  mkdirSync(shared);
  for (const name of ["one", "two"]) world.startVerlAgent(name, { TRAINYARD_AGENT_ADDRESS: "127.0.0.1", TRAINYARD_AGENT_SHARED_DIR: shared, ...settings });
}
const programsOf = (world: VerlWorld, text: string): number[] => ["one", "two"].flatMap((name) => [...world.programs(name, text)]);
const stepsOf = (points: readonly (readonly [number, number])[] | undefined): number[] => (points ?? []).map(([step]) => step);

test.skipIf(python === null)("SFT over two agents: a rank that is killed takes the whole run down, and both members go on from the last checkpoint together", TIMEOUT, async () => {
  const world = await startVerlWorld(python!);
  startTwoAgents(world);
  const id = await world.submit({
    name: "two-nodes",
    stages: [MODEL(python!), REPORTS, { name: "train", kind: "train", dependsOn: ["model", "prepare"], resources: { nodes: 2 }, retry: { maxAttempts: 2, backoffSeconds: 0 }, params: { ...SFT, epochs: 2, saveEvery: 5 } }],
  });
  await world.reached(id, "train", 1, 7);
  expect(programsOf(world, "torch.distributed.run")).toHaveLength(2);
  process.kill(world.programs("two", "sft_trainer").find((pid) => !world.programs("two", "torch.distributed.run").includes(pid))!, "SIGKILL");
  const stages = await world.completed(id);
  expect(stages.get("train")!.attempts.map(({ status }) => status)).toEqual(["FAILED", "COMPLETED"]);
  const losses = await world.points(id, "train", "train/loss");
  expect(stepsOf(losses.get(2))[0]! % 5).toBe(1);
  expect(stepsOf(losses.get(2))[0]).toBeGreaterThan(5);
  expect(stepsOf(losses.get(2)).at(-1)).toBe(26);
  expect(programsOf(world, "python")).toEqual([]);
});

test.skipIf(python === null)("RL over two agents: one Ray cluster has every GPU of both, falls with its trainer, is brought up anew, and leaves nothing", TIMEOUT, async () => {
  const world = await startVerlWorld(python!);
  const interpreter = join(world.folder, "python-with-stand-in");
  writeFileSync(interpreter, `#!/bin/sh\nPYTHONPATH='${STAND_IN}'"\${PYTHONPATH:+${delimiter}$PYTHONPATH}" VERL_USE_EXTERNAL_MODULES=rl_stand_in exec '${python!}' "$@"\n`, { mode: 0o700 });
  const tasks = writeRows(world.folder, "tasks.jsonl", Array.from({ length: 64 }, (_, n) => ({ question: `How much is ${n} + 1?`, answer: `#### ${n + 1}` })));
  startTwoAgents(world, { TRAINYARD_NVIDIA_SMI: TWO_GPUS, TRAINYARD_DATA_DIRS: world.folder, TRAINYARD_AGENT_PYTHON: interpreter, TRAINYARD_AGENT_CPUS: "16" });
  const prepare = { name: "prepare", kind: "preprocess", params: { input: tasks, task: "rl", dataSource: "openai/gsm8k", answerPattern: "#### (.+)$", split: { validation: 0.2 } } };
  const grpo = {
    algorithm: "grpo", model: "${stages.model.outputs.model}", trainFiles: "${stages.prepare.outputs.trainFile}", valFiles: "${stages.prepare.outputs.validationFile}",
    batchSize: 16, miniBatchSize: 16, answers: 2, maxPromptLength: 256, maxResponseLength: 256, epochs: 4, steps: 10, saveEvery: 4, testEvery: "never", export: "none",
  };
  const id = await world.submit({ name: "cluster", stages: [MODEL(python!), prepare, { name: "train", kind: "train", dependsOn: ["model", "prepare"], resources: { nodes: 2, gpus: 2 }, retry: { maxAttempts: 2, backoffSeconds: 0 }, params: grpo }] });

  await world.reached(id, "train", 1, 5, "actor/pg_loss");
  expect(await world.log(id, "train")).toMatch(/\(TaskRunner pid=\d+\).* ranks by node: \[2, 2\]/);
  expect(programsOf(world, "raylet/raylet")).toHaveLength(2);
  const first = programsOf(world, "ray");
  for (const pid of programsOf(world, "verl.trainer.main_ppo")) process.kill(pid, "SIGKILL");
  await world.reached(id, "train", 2, 5, "actor/pg_loss");
  expect(programsOf(world, "ray").filter((pid) => first.includes(pid))).toEqual([]);
  const stages = await world.completed(id);

  expect(stages.get("train")!.attempts.map(({ status }) => status)).toEqual(["FAILED", "COMPLETED"]);
  expect(stepsOf((await world.points(id, "train", "actor/pg_loss")).get(2))).toEqual([5, 6, 7, 8, 9, 10]);
  expect(stages.get("train")!.outputs).toMatchObject({ steps: 10, checkpoint: expect.stringMatching(/global_step_10$/) as string });
  expect(programsOf(world, "ray")).toEqual([]);
});
