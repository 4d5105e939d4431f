// An agent with a scripted Python, data and a model, and assignments of train stages for it.

import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { inject } from "vitest";
import { createDurableFile } from "../../../src/data/write/durable-file.js";
import type { OutputColumns } from "../../../src/data/write/output-columns.js";
import { createParquetOutput } from "../../../src/data/write/parquet-output.js";
import { newId } from "../../../src/domain/ids.js";
import { packagePath } from "../../../src/package-root.js";
import type { Assignment } from "../../../src/protocol/messages.js";
import { startAgentWorld, type World } from "../../support/agents.js";

export const SCRIPTED_PYTHON = packagePath("tests", "agent", "training", "scripted-python.mjs");

const MESSAGES = { list: { struct: { role: "string", content: "string" } } } as const;
const SFT_COLUMNS: OutputColumns = { messages: MESSAGES };
const PREFERENCE_COLUMNS: OutputColumns = { prompt: MESSAGES, chosen: MESSAGES, rejected: MESSAGES };
const RL_COLUMNS: OutputColumns = { data_source: "string", prompt: MESSAGES, ability: "string", reward_model: { struct: { style: "string", ground_truth: "string" } } };

export interface TrainingWorld extends World {
  readonly folder: string;
  readonly sftFile: string;
  readonly rlFile: string;
  readonly preferenceFile: string;
  readonly model: string;
  /** Params of an SFT stage; `script` is what the scripted Python does. */
  sft(script?: Record<string, unknown>, params?: Record<string, unknown>): Record<string, unknown>;
  grpo(script?: Record<string, unknown>, params?: Record<string, unknown>): Record<string, unknown>;
}

/** GPUs are made up: nvidia-smi is a script that names two, or `gpuCount`. */
export async function startTrainingWorld(options: { readonly gpus?: boolean; readonly gpuCount?: number; readonly environment?: Record<string, string>; readonly settings?: Record<string, string> } = {}): Promise<TrainingWorld> {
  const folder = trainingFolder();
  const world = await startAgentWorld({ settings: { TRAINYARD_AGENT_PYTHON: SCRIPTED_PYTHON, TRAINYARD_AGENT_CPUS: "16", ...options.settings, ...(options.gpus === true ? { TRAINYARD_NVIDIA_SMI: nvidiaSmi(folder, options.gpuCount) } : {}) }, ...(options.environment === undefined ? {} : { environment: options.environment }) });
  return { ...world, ...(await trainingInputs(folder)) };
}

export function trainingFolder(): string {
  return mkdtempSync(join(inject("runFolder"), "training-"));
}

export function nvidiaSmi(folder: string, gpus = 2): string {
  const program = join(folder, "nvidia-smi");
  const lines = Array.from({ length: gpus }, (_, index) => `echo "${index}, GPU-${index}, NVIDIA H200, 143771, 4, 0";`);
  writeFileSync(program, `#!/bin/sh\ncase "$1" in --query-gpu=*) ${lines.join(" ")} ;; esac\n`, { mode: 0o700 });
  return program;
}

export async function trainingInputs(folder: string): Promise<Omit<TrainingWorld, keyof World>> {
  const dialogue = (index: number) => [{ role: "user", content: `question ${index}` }, { role: "assistant", content: `answer ${index}` }];
  const sftFile = await parquet(join(folder, "sft.parquet"), SFT_COLUMNS, Array.from({ length: 64 }, (_, index) => ({ messages: dialogue(index) })));
  const rlFile = await parquet(join(folder, "rl.parquet"), RL_COLUMNS, Array.from({ length: 64 }, (_, index) => ({ data_source: "openai/gsm8k", prompt: dialogue(index).slice(0, 1), ability: "math", reward_model: { style: "rule", ground_truth: String(index) } })));
  const preferenceFile = await parquet(join(folder, "preference.parquet"), PREFERENCE_COLUMNS, Array.from({ length: 32 }, (_, index) => ({ prompt: dialogue(index).slice(0, 1), chosen: dialogue(index).slice(1), rejected: [{ role: "assistant", content: "no" }] })));
  const model = join(folder, "model");
  mkdirSync(model);
  writeFileSync(join(model, "config.json"), JSON.stringify({ architectures: ["Qwen2ForCausalLM"], hidden_size: 64, num_hidden_layers: 2, vocab_size: 512, num_attention_heads: 4, num_key_value_heads: 2, intermediate_size: 128, max_position_embeddings: 32_768 }));
  const env = (script: Record<string, unknown>) => ({ SCRIPT: JSON.stringify({ seen: join(folder, "seen"), ...script }) });
  return {
    folder, sftFile, rlFile, preferenceFile, model,
    sft: (script = {}, params = {}) => ({ algorithm: "sft", model, trainFiles: sftFile, batchSize: 16, env: env(script), graceSeconds: 5, ...params }),
    grpo: (script = {}, params = {}) => ({ algorithm: "grpo", model, trainFiles: rlFile, valFiles: rlFile, batchSize: 16, saveEvery: 2, answers: 4, env: env(script), graceSeconds: 5, ...params }),
  };
}

async function parquet(path: string, columns: OutputColumns, rows: readonly Record<string, unknown>[]): Promise<string> {
  const output = createParquetOutput({ file: await createDurableFile(path), columns, createdBy: "test" });
  for (const row of rows) await output.add(row, 100);
  await output.finish();
  return path;
}

export function trainAssignment(params: Record<string, unknown>, more: Partial<Omit<Assignment, "params">> = {}): Assignment {
  return {
    attemptId: newId("att"), fence: 1, pipelineId: newId("pip"), pipelineName: "test", stageId: newId("stg"), stage: "train", kind: "train", params: params as Assignment["params"], gpus: [], rank: 0,
    members: [{ agentName: "test", address: null, gpus: more.gpus ?? [] }], deletions: [], ...more,
  };
}
