// What an agent refuses before a trainer starts: each with its object, its cause and what to do.
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { assign } from "../../support/control-plane-peer.js";
import { startTrainingWorld, trainAssignment, type TrainingWorld } from "./training-world.js";

interface Refusal {
  readonly what: string;
  readonly params: (world: TrainingWorld) => Record<string, unknown>;
  readonly code: string;
  readonly message: string | RegExp;
  readonly gpus?: readonly number[];
}

const REFUSALS: readonly Refusal[] = [
  { what: "an interpreter that does not exist", params: ({ sft }) => sft({}, { python: "/nowhere/python" }), code: "COMMAND_NOT_FOUND", message: "no Python interpreter" },
  { what: "an interpreter without verl", params: ({ sft }) => sft({ installed: { verl: null } }), code: "MODULE_NOT_FOUND", message: "has no verl" },
  { what: "a verl that is too old", params: ({ sft }) => sft({ verl: "0.6.1" }), code: "MODULE_NOT_FOUND", message: "0.7.0 is the oldest" },
  { what: "verl beside a TRL that it cannot start with", params: ({ sft }) => sft({ installed: { trl: "0.29.0" } }), code: "MODULE_NOT_FOUND", message: "does not start beside TRL 0.29.0" },
  { what: "RL without its engine", params: ({ grpo }) => grpo({ installed: { vllm: null } }), code: "MODULE_NOT_FOUND", message: "has no vllm", gpus: [0] },
  { what: "LoRA without PEFT", params: ({ sft }) => sft({ installed: { peft: null } }, { lora: { rank: 8 } }), code: "MODULE_NOT_FOUND", message: "has no peft" },
  { what: "DPO without TRL", params: ({ sft, preferenceFile }) => sft({}, { algorithm: "dpo", trainFiles: preferenceFile }), code: "MODULE_NOT_FOUND", message: "has no trl" },
  { what: "a data file that is not there", params: ({ sft }) => sft({}, { trainFiles: "/nowhere/train.parquet" }), code: "FILE_NOT_FOUND", message: "params.trainFiles: there is no file /nowhere/train.parquet" },
  { what: "a data file that is no Parquet", params: ({ sft, folder }) => sft({}, { trainFiles: written(folder, "rows.parquet", "no parquet") }), code: "INVALID_INPUT", message: "rows.parquet" },
  { what: "columns of another task", params: ({ sft, rlFile }) => sft({}, { trainFiles: rlFile }), code: "INVALID_INPUT", message: "does not have the columns that sft needs" },
  { what: "fewer rows than a batch", params: ({ sft }) => sft({}, { batchSize: 128 }), code: "INVALID_INPUT", message: "The train files have 64 rows, fewer than one batch of 128" },
  { what: "a model folder that is not there", params: ({ sft }) => sft({}, { model: "/nowhere/model" }), code: "FILE_NOT_FOUND", message: "params.model: there is no folder /nowhere/model" },
  { what: "a model folder without a config", params: ({ sft, folder }) => sft({}, { model: folder }), code: "INVALID_INPUT", message: "is no Hugging Face folder" },
  { what: "a hub id that is not in the cache of an offline host", params: ({ sft }) => ({ ...sft(), model: "Qwen/Nowhere", env: { SCRIPT: "{}", HF_HUB_OFFLINE: "1", HF_HOME: "/nowhere" } }), code: "FILE_NOT_FOUND", message: "Qwen/Nowhere is not in the Hugging Face cache" },
  { what: "rows longer than the model reads", params: ({ sft }) => sft({}, { maxLength: 65_536 }), code: "INVALID_INPUT", message: "The model reads 32768 tokens at most" },
  { what: "what the installed verl refuses", params: ({ sft }) => sft({ refuses: "Could not override 'data.nothing'." }), code: "INVALID_INPUT", message: "The installed verl 0.7.1 refuses the configuration: Could not override 'data.nothing'." },
  { what: "a reward file that is not there", params: ({ grpo }) => grpo({}, { reward: { file: "/nowhere/reward.py" } }), code: "FILE_NOT_FOUND", message: "params.reward.file: there is no file", gpus: [0] },
  { what: "a reward function that is not in its file", params: ({ grpo, folder }) => grpo({ rewardProblem: "reward.py has no compute_score" }, { reward: { file: written(folder, "reward.py", "") } }), code: "INVALID_INPUT", message: "params.reward: reward.py has no compute_score", gpus: [0] },
  { what: "more GPUs than Ray has processors for", params: ({ grpo }) => grpo({}), code: "INVALID_INPUT", message: "Ray wants 3 processors per GPU and some more, 19 in all; the host has 16", gpus: [0, 1, 2, 3, 4] },
  { what: "a secret in an override", params: ({ sft }) => sft({}, { overrides: { "trainer.project_name": "secret://token" } }), code: "INVALID_INPUT", message: "params.overrides.trainer.project_name: A secret cannot stand there" },
  { what: "a checkpoint to go on from that is not there", params: ({ sft }) => sft({}, { resume: { from: "/nowhere/global_step_5" } }), code: "INVALID_INPUT", message: "there is no checkpoint at /nowhere/global_step_5" },
  { what: "a checkpoint to go on from that is not whole", params: ({ sft, folder }) => sft({}, { resume: { from: partial(folder) } }), code: "INVALID_INPUT", message: /global_step_5 is not complete: .*optim_world_size_1_rank_0.pt/ },
  { what: "a model whose checkpoints the disk cannot hold", params: ({ sft, folder }) => sft({}, { model: hugeModel(folder) }), code: "DISK_FULL", message: /2 checkpoints? of about|1 checkpoint of about/ },
];

test.each(REFUSALS)("$what is refused before anything starts", async ({ params, code, message, gpus = [] }) => {
  const world = await startTrainingWorld({ gpus: gpus.length > 0, ...(gpus.length > 2 ? { gpuCount: gpus.length } : {}) });
  const assignment = trainAssignment(params(world), { gpus: [...gpus] });
  world.peer.order(assign(assignment));
  const { outcome } = await world.peer.report("ended", assignment.attemptId);
  expect(outcome).toMatchObject({ kind: "FAILED", failure: { code, message: typeof message === "string" ? expect.stringContaining(message) : expect.stringMatching(message), exitCode: null } });
  expect(world.peer.reports.some(({ type }) => type === "started")).toBe(false);
  expect(existsSync(join(world.folder, "seen"))).toBe(false);
});

function written(folder: string, name: string, text: string): string {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
}

function partial(folder: string): string {
  const at = join(folder, "old", "global_step_5");
  mkdirSync(at, { recursive: true });
  for (const name of ["fsdp_config.json", "model_world_size_1_rank_0.pt", "extra_state_world_size_1_rank_0.pt"]) writeFileSync(join(at, name), "{}");
  return at;
}

/** 70 million million parameters. */
function hugeModel(folder: string): string {
  const at = join(folder, "huge");
  mkdirSync(at);
  writeFileSync(join(at, "config.json"), JSON.stringify({ hidden_size: 1_000_000, num_hidden_layers: 4, vocab_size: 150_000, num_attention_heads: 100, max_position_embeddings: 32_768 }));
  return at;
}
