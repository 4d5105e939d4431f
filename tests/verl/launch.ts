// A launch as tests want it: two GPUs on one host, unless a test says otherwise.

import { trainParamsSchema, type TrainParams } from "../../src/domain/training/train-params.js";
import type { LaunchContext } from "../../src/verl/launch-context.js";
import { releaseFor, type Release } from "../../src/verl/releases.js";

export function launchContext(changes: Partial<LaunchContext> = {}): LaunchContext {
  return {
    nodes: 1, gpusPerNode: 2, rank: 0, meeting: null, python: ["python3"], checkpointDir: "/run/checkpoints", hydraDir: "/run/hydra", samplesDir: "/run/samples", project: "pipeline", experiment: "stage", resumeFrom: null, cpus: null, device: "cuda",
    ...changes,
  };
}

export function trainParams(params: Record<string, unknown>): TrainParams {
  return trainParamsSchema.parse({ model: "Qwen/Qwen2.5-0.5B", trainFiles: "/data/train.parquet", ...(params["algorithm"] === "sft" ? {} : { valFiles: "/data/validation.parquet" }), ...params });
}

export function release(version = "0.7.1"): Release {
  return releaseFor(version)!.release;
}
