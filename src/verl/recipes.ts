// Starting points that are known to fit: params for a model and a number of GPUs, as upstream's examples and tuning pages publish them.

import type { Algorithm } from "../domain/training/algorithms.js";
import type { KnownRelease } from "./releases.js";
import { KNOWN_RELEASES } from "./releases.js";

export interface Recipe {
  /** Stable: recipes are used by this name. */
  readonly name: string;
  readonly title: string;
  readonly algorithm: Algorithm;
  readonly model: string;
  /** GPUs it was published for, and the kind. */
  readonly gpus: number;
  readonly gpuModel: string;
  /** Params of a train stage, without data files. */
  readonly params: Readonly<Record<string, unknown>>;
  /** Releases whose configuration it composes and validates with. */
  readonly releases: readonly KnownRelease[];
  /** Upstream's file. */
  readonly source: string;
}

const ALL = KNOWN_RELEASES;
const recipe = (name: string, title: string, algorithm: Algorithm, model: string, gpus: number, gpuModel: string, source: string, params: Readonly<Record<string, unknown>>, releases: readonly KnownRelease[] = ALL): Recipe =>
  ({ name, title, algorithm, model, gpus, gpuModel, source, releases, params: { algorithm, model, ...params } });

/** The catalogue, in the order of the algorithms. */
export const RECIPES: readonly Recipe[] = [
  recipe("sft-qwen2.5-0.5b", "SFT of Qwen2.5 0.5B", "sft", "Qwen/Qwen2.5-0.5B", 1, "any with 24 GiB", "tests/special_e2e/sft/run_sft_engine.sh",
    { batchSize: 128, learningRate: 1e-5, warmupRatio: 0.2, weightDecay: 0.1, schedule: "cosine", overrides: { "optim.betas": [0.9, 0.95], "optim.min_lr_ratio": 0.1 } }),
  recipe("sft-lora-qwen2.5-0.5b", "SFT with LoRA of Qwen2.5 0.5B", "sft", "Qwen/Qwen2.5-0.5B", 1, "any with 16 GiB", "examples/sft/gsm8k/run_qwen_05_peft.sh", { batchSize: 128, learningRate: 1e-4, lora: { rank: 32, alpha: 16 } }),
  recipe("ppo-deepseek-7b", "PPO of DeepSeek LLM 7B", "ppo", "deepseek-ai/deepseek-llm-7b-chat", 8, "A100/H100 80 GB", "examples/ppo_trainer/run_deepseek7b_llm.sh",
    { batchSize: 1024, miniBatchSize: 256, microBatchSize: 16, maxPromptLength: 512, maxResponseLength: 512, learningRate: 1e-6, criticLearningRate: 1e-5, rollout: { tensorParallel: 4, memoryShare: 0.4 }, overrides: { "critic.ppo_micro_batch_size_per_gpu": 32 } }),
  recipe("ppo-gemma-2-2b", "PPO of Gemma 2 2B", "ppo", "google/gemma-2-2b-it", 2, "A100/H100 80 GB", "examples/ppo_trainer/run_gemma.sh",
    { batchSize: 512, miniBatchSize: 128, microBatchSize: 4, maxPromptLength: 1024, maxResponseLength: 512, learningRate: 1e-6, rollout: { tensorParallel: 2, memoryShare: 0.4 } }),
  recipe("ppo-rm-qwen2-7b", "PPO of Qwen2 7B with a reward model", "ppo", "Qwen/Qwen2-7B-Instruct", 8, "A100/H100 80 GB", "examples/ppo_trainer/run_qwen2-7b_rm.sh",
    { batchSize: 1024, miniBatchSize: 256, microBatchSize: 16, maxPromptLength: 1024, maxResponseLength: 512, rollout: { tensorParallel: 2, memoryShare: 0.6 }, reward: { model: "sfairXC/FsfairX-LLaMA3-RM-v0.1" } }),
  recipe("grpo-qwen3-8b", "GRPO of Qwen3 8B", "grpo", "Qwen/Qwen3-8B", 8, "A100/H100 80 GB", "examples/grpo_trainer/run_qwen3-8b.sh",
    { batchSize: 1024, miniBatchSize: 256, microBatchSize: 32, answers: 5, maxPromptLength: 512, maxResponseLength: 1024, learningRate: 1e-6, klLoss: 0.001, rollout: { tensorParallel: 2, memoryShare: 0.6 } }),
  recipe("grpo-qwen2-7b-2gpu", "GRPO of Qwen2 7B on two GPUs", "grpo", "Qwen/Qwen2-7B-Instruct", 2, "H800/H100 80 GB", "examples/tuning/7b/qwen2-7b_grpo_2_h800_fsdp_vllm.sh",
    { batchSize: 1024, miniBatchSize: 256, microBatchSize: 16, answers: 5, maxPromptLength: 1024, maxResponseLength: 1024, offload: { parameters: true, optimizer: true }, rollout: { tensorParallel: 2, memoryShare: 0.6 } }),
  recipe("grpo-lora-qwen2.5-3b", "GRPO with LoRA of Qwen2.5 3B", "grpo", "Qwen/Qwen2.5-3B-Instruct", 2, "A100/H100 80 GB", "examples/grpo_trainer/run_qwen2_5-3b_gsm8k_grpo_lora.sh",
    { batchSize: 16, miniBatchSize: 16, microBatchSize: 40, answers: 5, maxPromptLength: 512, maxResponseLength: 1024, learningRate: 3e-6, lora: { rank: 64, alpha: 32 }, klLoss: 0.001, rollout: { tensorParallel: 2, memoryShare: 0.6 } }),
  recipe("grpo-lora-qwen2-7b-1gpu", "GRPO with LoRA of Qwen2 7B on one GPU", "grpo", "Qwen/Qwen2-7B-Instruct", 1, "H100 80 GB", "examples/tuning/7b/qwen2-7b_grpo-lora_1_h100_fsdp_vllm.sh",
    { batchSize: 16, miniBatchSize: 16, answers: 5, learningRate: 3e-5, lora: { rank: 32, alpha: 32 }, offload: { parameters: true, optimizer: true }, rollout: { memoryShare: 0.2 } }),
  recipe("gspo-qwen2.5-3b", "GSPO of Qwen2.5 3B", "gspo", "Qwen/Qwen2.5-3B-Instruct", 8, "A100/H100 80 GB", "examples/gspo_trainer/test_gspo_3b_math.sh",
    { batchSize: 512, miniBatchSize: 128, answers: 16, maxPromptLength: 2048, maxResponseLength: 8192, klLoss: 0 }),
  recipe("dapo-qwen2.5-math-7b", "DAPO (core form) of Qwen2.5 Math 7B", "dapo", "Qwen/Qwen2.5-Math-7B", 32, "H100 80 GB", "recipe/dapo/test_dapo_7b.sh",
    { batchSize: 512, miniBatchSize: 32, answers: 16, maxPromptLength: 2048, maxResponseLength: 2048, rollout: { memoryShare: 0.85 } }),
  recipe("rloo-qwen2-7b", "RLOO of Qwen2 7B", "rloo", "Qwen/Qwen2-7B-Instruct", 8, "A100/H100 80 GB", "examples/rloo_trainer/run_qwen2-7b.sh",
    { batchSize: 1024, miniBatchSize: 256, microBatchSize: 80, answers: 5, maxPromptLength: 512, maxResponseLength: 1024, klReward: 0.001, rollout: { tensorParallel: 2, memoryShare: 0.6 } }),
  recipe("remax-qwen2.5-3b", "ReMax of Qwen2.5 3B", "remax", "Qwen/Qwen2.5-3B-Instruct", 8, "A100/H100 80 GB", "examples/remax_trainer/run_qwen2.5-3b_seq_balance.sh",
    { batchSize: 512, miniBatchSize: 128, answers: 4, maxTokensPerGpu: 30000, maxPromptLength: 512, maxResponseLength: 1024, klReward: 0.001, rollout: { memoryShare: 0.8 } }),
  recipe("reinforce-plus-plus-qwen2-7b", "REINFORCE++ of Qwen2 7B", "reinforce_plus_plus", "Qwen/Qwen2-7B-Instruct", 16, "A100/H100 80 GB", "examples/reinforce_plus_plus_trainer/run_qwen2-7b_math_rf.sh",
    { batchSize: 1024, miniBatchSize: 1024, microBatchSize: 16, answers: 8, learningRate: 3e-6, maxPromptLength: 1024, maxResponseLength: 1024, klReward: 0.001 }),
  recipe("cispo-qwen2.5-0.5b", "CISPO of Qwen2.5 0.5B (GRPO with another loss)", "grpo", "Qwen/Qwen2.5-0.5B-Instruct", 1, "any with 40 GiB", "examples/cispo_trainer/run_cispo_qwen2_5_0_5b_gsm8k.sh",
    { batchSize: 256, miniBatchSize: 128, microBatchSize: 16, answers: 5, maxPromptLength: 512, maxResponseLength: 512, klLoss: 0, overrides: { "actor_rollout_ref.actor.policy_loss.loss_mode": "cispo", "actor_rollout_ref.actor.clip_ratio_low": 10, "actor_rollout_ref.actor.clip_ratio_high": 0.2 } }),
];

/** Null: there is none. */
export function recipeNamed(name: string): Recipe | null {
  return RECIPES.find((recipe) => recipe.name === name) ?? null;
}
