// GPU memory of a run, estimated from sizes and defaults: parts, total, and how far off it may be. Estimates warn and never block.
// Rules of thumb: full fine-tuning with fp32 master weights takes 16 bytes per parameter (weights 4, gradients 4, Adam 8) over all GPUs, a critic as much
// again; a reference model 4; the rollout engine 2 per parameter and tensor-parallel group plus its KV cache; logits tokens × vocabulary × 4 bytes, twice or thrice.

import { ALGORITHM_FACTS } from "../domain/training/algorithms.js";
import type { TrainParams } from "../domain/training/train-params.js";
import { RL_DEFAULTS, rlSizes } from "./rl.js";
import { sftMaxLength, sftTokensPerGpu } from "./sft.js";

export interface ModelSize {
  /** Parameters. */
  readonly parameters: number;
  readonly vocabulary: number;
  readonly layers: number;
  readonly hidden: number;
}

export interface MemoryPart { readonly name: string; readonly bytesPerGpu: number; readonly how: string }
export interface MemoryEstimate {
  readonly parts: readonly MemoryPart[];
  readonly bytesPerGpu: number;
  /** The truth may lie this far above or below, as a share: fragmentation, kernels' work space and activations are guessed. */
  readonly error: number;
}

const ERROR = 0.3;
const FULL_BYTES = 16;
const FROZEN_BYTES = 4;
/** Copies of the logits that live at once. */
const LOGIT_COPIES = 2.5;
/** Bytes per token, layer and hidden unit that gradient checkpointing keeps. */
const CHECKPOINTED_BYTES = 2;
/** Share of a low-rank adapter's parameters in the model's. */
const LORA_SHARE = 0.01;

/** Per GPU. `gpuBytes`: memory of one GPU, for what the rollout engine takes of it; null: its weights alone count. */
export function estimateMemory(params: TrainParams, model: ModelSize, gpus: number, gpuBytes: number | null): MemoryEstimate {
  const facts = ALGORITHM_FACTS[params.algorithm];
  const rl = facts.trainer === "verl-rl";
  const sizes = rlSizes(params);
  const lora = params.lora !== undefined;
  const spread = Math.max(1, gpus);
  const tokens = rl
    ? sizes.microBatchSize === null ? sizes.tokensPerGpu : sizes.microBatchSize * (sizes.maxPromptLength + sizes.maxResponseLength)
    : params.microBatchSize === undefined ? sftTokensPerGpu(params) : params.microBatchSize * sftMaxLength(params);
  const trained = lora ? FROZEN_BYTES + LORA_SHARE * FULL_BYTES : FULL_BYTES;
  const offloaded = (params.offload?.optimizer === true ? 8 : 0) + (params.offload?.parameters === true ? 4 : 0);
  const parts: MemoryPart[] = [
    { name: "model", bytesPerGpu: (Math.max(FROZEN_BYTES, trained - (lora ? 0 : offloaded)) * model.parameters) / spread, how: lora ? "frozen weights and an adapter, over all GPUs" : `${trained - offloaded} bytes per parameter, over all GPUs` },
    { name: "logits", bytesPerGpu: tokens * model.vocabulary * 4 * LOGIT_COPIES, how: `${tokens} tokens at once × ${model.vocabulary} words × 4 bytes × ${LOGIT_COPIES}` },
    { name: "activations", bytesPerGpu: (tokens * model.hidden * model.layers * CHECKPOINTED_BYTES * (params.gradientCheckpointing === false ? 12 : 1)) / (params.sequenceParallel ?? 1), how: params.gradientCheckpointing === false ? "all kept" : "one per layer kept" },
  ];
  if (facts.critic) parts.push({ name: "critic", bytesPerGpu: (Math.max(FROZEN_BYTES, FULL_BYTES - offloaded) * model.parameters) / spread, how: "as large as the model" });
  if ((rl && (sizes.klLoss > 0 || sizes.klReward > 0) && params.offload?.reference === false) || (facts.trainer === "trl-dpo" && !lora)) {
    parts.push({ name: "reference", bytesPerGpu: (FROZEN_BYTES * model.parameters) / spread, how: "frozen weights" });
  }
  if (rl) {
    const weights = (2 * model.parameters) / sizes.tensorParallel;
    const share = params.rollout?.memoryShare ?? RL_DEFAULTS.memoryShare;
    parts.push({ name: "rollout", bytesPerGpu: gpuBytes === null ? weights : Math.max(weights, gpuBytes * share), how: gpuBytes === null ? "weights alone; the cache comes on top" : `${Math.round(share * 100)} % of each GPU, for weights and cache` });
  }
  return { parts, bytesPerGpu: parts.reduce((sum, part) => sum + part.bytesPerGpu, 0), error: ERROR };
}

/** Bytes of one checkpoint on disk, over all ranks: weights as trained (4 per parameter) and Adam's two moments (8); with a low-rank adapter the frozen weights all the same. */
export function checkpointBytes(params: TrainParams, model: Pick<ModelSize, "parameters">): number {
  const { trainer, critic } = ALGORITHM_FACTS[params.algorithm];
  const frozen = trainer === "trl-dpo" ? 0 : 4; // TRL saves the adapter alone
  const trained = params.lora === undefined ? 12 : frozen + LORA_SHARE * 12;
  return model.parameters * (trained + (critic ? 12 : 0));
}

/** Bytes of the exported model: 2 per parameter, and as much again while an adapter is folded in. */
export function exportBytes(params: Pick<TrainParams, "lora">, model: Pick<ModelSize, "parameters">): number {
  return model.parameters * (params.lora === undefined ? 2 : 4);
}

/** Parameters that a model's name tells, such as Qwen2.5-0.5B or llama-70b; null when it tells none. */
export function parametersInName(model: string): number | null {
  const match = /(?:^|[-_/])(\d+(?:\.\d+)?)\s?([bBmM])(?=$|[-_./])/.exec(model);
  return match === null ? null : Number(match[1]) * (match[2]!.toLowerCase() === "b" ? 1e9 : 1e6);
}

/** Size by a model's config.json (Hugging Face's keys); null when it lacks what is needed. Exact for the usual decoder-only shapes. */
export function sizeByConfig(config: Readonly<Record<string, unknown>>): ModelSize | null {
  const read = (key: string) => (typeof config[key] === "number" ? (config[key] as number) : null);
  const [hidden, layers, vocabulary, heads] = [read("hidden_size"), read("num_hidden_layers"), read("vocab_size"), read("num_attention_heads")];
  if (hidden === null || layers === null || vocabulary === null || heads === null) return null;
  const inner = read("intermediate_size") ?? 4 * hidden;
  const headSize = read("head_dim") ?? hidden / heads;
  const keyValue = (read("num_key_value_heads") ?? heads) * headSize;
  const perLayer = hidden * heads * headSize * 2 + hidden * keyValue * 2 + 3 * hidden * inner + 2 * hidden;
  const embeddings = vocabulary * hidden * (config["tie_word_embeddings"] === true ? 1 : 2);
  return { parameters: layers * perLayer + embeddings + hidden, vocabulary, layers, hidden };
}

/** A model of this many parameters in the usual proportions, when nothing but its name is known. */
export function sizeByParameters(parameters: number): ModelSize {
  const layers = Math.max(2, Math.round(24 * (parameters / 1e9) ** 0.25));
  return { parameters, vocabulary: 152_000, layers, hidden: Math.max(64, Math.round(Math.sqrt(parameters / (12 * layers)) / 64) * 64) };
}
