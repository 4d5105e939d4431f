// What a merge stage may be told (`params` of kind merge), as one zod schema: a training checkpoint, which is cut into shards, becomes a Hugging Face folder.

import { z } from "zod";

const path = z.string().min(1).max(4_096);

export const mergeParamsSchema = z.strictObject({
  checkpoint: path.describe("Folder of a checkpoint (…/global_step_N) on the host, normally ${stages.<name>.outputs.checkpoint}."),
  backend: z.enum(["fsdp", "megatron", "veomni", "automodel"]).default("fsdp").describe("How the training had spread the model; for mindspeed: megatron. Where the agent knows the training it takes what that says."),
  lora: z.enum(["fold", "keep"]).default("fold").describe("What becomes of a low-rank adapter. fold: it is added into the weights. keep: it stays a folder of its own beside the base weights."),
  simulate: z.boolean().default(false).describe("Merges the checkpoint of a simulated training, with a stand-in and without verl. Every view says so."),
  python: path.optional().describe("Python interpreter on the host. Default: what the agent found verl with."),
});
export type MergeParams = z.infer<typeof mergeParamsSchema>;
