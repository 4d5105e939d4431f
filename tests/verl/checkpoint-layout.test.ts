// verl's checkpoints by their names: complete or not, for every layout.
import fc from "fast-check";
import { expect, test } from "vitest";
import { examineCheckpoint, fsdpShape, type CheckpointExpectation } from "../../src/verl/output/checkpoint-layout.js";
import { savingFacts } from "../../src/verl/checkpoint-expectation.js";
import { checkpointsOf, stepsOf } from "../../src/verl/run-length.js";
import { launchContext, release, trainParams } from "./launch.js";

const CONTENTS = ["model", "optimizer", "extra"];
const SFT: CheckpointExpectation = { backend: "fsdp", folders: [""], contents: CONTENTS };
const PPO: CheckpointExpectation = { backend: "fsdp", folders: ["actor", "critic"], contents: CONTENTS };

test("a checkpoint is complete with all its files, and not without any one of them", () => {
  fc.assert(fc.property(fc.integer({ min: 1, max: 16 }), fc.constantFrom(SFT, PPO), fc.nat(), (ranks, expectation, pick) => {
    const { files } = fsdpShape(ranks, expectation.folders, expectation.contents);
    const names = new Set([...files, "data.pt", "huggingface", "lora_train_meta.json"]);
    expect(examineCheckpoint(names, expectation)).toEqual({ worldSize: ranks, missing: [] });
    names.delete(files[pick % files.length]!);
    expect(examineCheckpoint(names, expectation).missing.length).toBeGreaterThan(0);
  }));
});

test("shards of two world sizes in one folder tell none", () => {
  const names = new Set([...fsdpShape(2, [""]).files, ...fsdpShape(4, [""]).files]);
  expect(examineCheckpoint(names, SFT)).toMatchObject({ worldSize: null, missing: [expect.stringContaining("model_world_size")] });
});

test("the shell that verl's own retention leaves of an RL step is no checkpoint", () => {
  expect(examineCheckpoint(new Set(["data.pt"]), PPO).missing).not.toEqual([]);
});

test("Megatron's is complete with what is written last", () => {
  const expectation: CheckpointExpectation = { backend: "megatron", folders: ["actor"], contents: CONTENTS };
  expect(examineCheckpoint(new Set(["actor/dist_ckpt/common.pt", "actor/dist_ckpt/metadata.json", "actor/dist_ckpt/__0_0.distcp"]), expectation)).toEqual({ worldSize: null, missing: [] });
  expect(examineCheckpoint(new Set(["actor/dist_ckpt/common.pt"]), expectation).missing).toEqual(["actor/dist_ckpt/metadata.json"]);
});

test("from verl 0.9 on Megatron's is complete with the list that is written last, whatever parts lie there", () => {
  const expectation: CheckpointExpectation = { backend: "megatron", folders: ["actor", "critic"], contents: CONTENTS };
  const names = ["actor", "critic"].flatMap((role) => ["model", "optimizer", "extra", "ckpt_contents.json"].map((name) => `${role}/${name}`));
  expect(examineCheckpoint(new Set(names), expectation)).toEqual({ worldSize: null, missing: [] });
  expect(examineCheckpoint(new Set(names.filter((name) => name !== "critic/ckpt_contents.json")), expectation).missing).toEqual(["critic/ckpt_contents.json"]);
  expect(examineCheckpoint(new Set(["actor/model"]), expectation).missing).toContain("actor/ckpt_contents.json");
});

test("Automodel's is complete with weights put together and the optimizer's list, which is written last", () => {
  const expectation: CheckpointExpectation = { backend: "automodel", folders: [""], contents: CONTENTS };
  const names = ["model", "optim", "data_0.pt", "model/consolidated/config.json", "model/consolidated/model-00001-of-00001.safetensors", "optim/.metadata"];
  expect(examineCheckpoint(new Set(names), expectation)).toEqual({ worldSize: null, missing: [] });
  for (const name of names.slice(3)) expect(examineCheckpoint(new Set(names.filter((one) => one !== name)), expectation).missing).toHaveLength(1);
});

test("VeOmni's has the names of FSDP's", () => {
  expect(examineCheckpoint(new Set(fsdpShape(2, [""]).files), { backend: "veomni", folders: [""], contents: CONTENTS })).toEqual({ worldSize: 2, missing: [] });
});

test("what a run saves follows from its configuration: critic, contents, and whether the last step is saved at all", () => {
  const facts = (params: Record<string, unknown>) => savingFacts(trainParams(params), release(), launchContext());
  expect(facts({ algorithm: "sft", saveEvery: "never" })).toMatchObject({ folders: [""], savesLast: true });
  expect(facts({ algorithm: "ppo" })).toMatchObject({ folders: ["actor", "critic"], savesLast: true });
  expect(facts({ algorithm: "grpo", saveEvery: "never" })).toMatchObject({ folders: ["actor"], savesLast: false });
  expect(facts({ algorithm: "grpo", overrides: { "actor_rollout_ref.actor.checkpoint.save_contents": ["model"] } })).toMatchObject({ contents: ["model"] });
});

test("steps and checkpoints of a run, from its rows", () => {
  const sft = trainParams({ algorithm: "sft", batchSize: 16, epochs: 3, saveEvery: 10 });
  expect(stepsOf(sft, 216, 2)).toBe(39);
  expect(checkpointsOf(sft, 39)).toBe(4);
  expect(checkpointsOf(trainParams({ algorithm: "sft", epochs: 3 }), 39)).toBe(3);
  expect(checkpointsOf(trainParams({ algorithm: "sft", saveEvery: 10, keepCheckpoints: 2 }), 39)).toBe(3);
  expect(checkpointsOf(trainParams({ algorithm: "grpo", saveEvery: "never" }), 39)).toBe(0);
  expect(stepsOf(trainParams({ algorithm: "grpo", batchSize: 64, steps: 7 }), null, 8)).toBe(7);
  expect(stepsOf(trainParams({ algorithm: "dpo", batchSize: 8, microBatchSize: 4, epochs: 2 }), 33, 1)).toBe(10);
  expect(stepsOf(trainParams({ algorithm: "sft" }), null, 8)).toBeNull();
});
