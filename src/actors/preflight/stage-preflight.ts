// What can be known wrong with one train stage before anything is stored: verl's own rules on its params, and the memory estimate against the GPUs at hand.
//   S1. What a reference will bring is not guessed at: where one stands for a number, only what does not hang on numbers is judged. The agent judges the rest.
//   S2. What agents happen to have today warns and never blocks: another one may join.

import type { Problem } from "../../domain/errors.js";
import { findReferences } from "../../domain/pipeline/references.js";
import type { Resources, StageSpec } from "../../domain/pipeline/spec.js";
import { ALGORITHM_FACTS } from "../../domain/training/algorithms.js";
import { DEFAULT_VERL, trainParamsSchema, type TrainParams } from "../../domain/training/train-params.js";
import type { LaunchContext } from "../../verl/launch-context.js";
import { estimateMemory, parametersInName, sizeByParameters, type MemoryEstimate } from "../../verl/memory-estimate.js";
import { overrideProblems } from "../../verl/override-check.js";
import { preflight, type DataFacts } from "../../verl/preflight.js";
import { releaseFor, type Release } from "../../verl/releases.js";

/** A host that agents told of. */
export interface KnownHost {
  readonly labels: Readonly<Record<string, string | number | boolean>>;
  readonly gpus: readonly { readonly model: string; readonly memoryTotalMiB: number }[];
  /** Null: not known. */
  readonly cpus: number | null;
}

export interface StageFacts {
  readonly data: DataFacts | null;
  readonly hosts: readonly KnownHost[];
}

/** Problems of a train stage whose shape is sound. `path`: where its params stand, e.g. stages[1].params. */
export function stageProblems(stage: Pick<StageSpec, "params" | "resources">, facts: StageFacts, path: string): Problem[] {
  const read = readTrainParams(stage.params);
  if (read === null) return [];
  const { params, open } = read;
  const choice = releaseFor(params.verl ?? DEFAULT_VERL);
  if (choice === null) return [{ path: `${path}.verl`, severity: "ERROR", code: "UNSUPPORTED_VERL", message: `verl ${params.verl ?? ""} is too old: 0.7.0 is the first that is supported.`, hint: "Leave verl out, or name a newer version." }];
  const { release } = choice;
  const untried: Problem[] = choice.tried ? [] : [{ path: `${path}.verl`, severity: "WARNING", code: "UNTRIED_VERL", message: `verl ${params.verl ?? ""} was never tried; the keys of ${release.release} are used.`, hint: null }];
  if (open.size > 0) return [...untried, ...openProblems(stage.params, params, release, open, path)]; // S1
  const hosts = facts.hosts.filter((host) => isSuitable(host, stage.resources));
  const cpus = hosts.flatMap((host) => (host.cpus === null ? [] : [host.cpus]));
  const found = preflight({ params, release, context: exampleContext(stage.resources), data: facts.data, model: null, hostCpus: cpus.length === 0 ? null : Math.max(...cpus), path });
  return [...untried, ...found.map((one) => (one.code === "TOO_FEW_CPUS" ? { ...one, severity: "WARNING" as const } : one)), ...memoryProblems(params, stage.resources, largestGpu(hosts), path)];
}

/** Params with their defaults. `open`: fields, and keys of overrides, whose value a reference will bring; they are missing from `params`. Null: nothing to be read. */
export function readTrainParams(given: Readonly<Record<string, unknown>>): { readonly params: TrainParams; readonly open: ReadonlySet<string> } | null {
  const open = new Set<string>();
  let left: Record<string, unknown> = { ...given };
  const overrides = left["overrides"];
  if (typeof overrides === "object" && overrides !== null && !Array.isArray(overrides)) {
    left["overrides"] = Object.fromEntries(Object.entries(overrides).filter(([key, value]) => findReferences(value, "").length === 0 || (open.add(`overrides.${key}`), false)));
  }
  for (let round = 0; round < 2; round++) {
    const parsed = trainParamsSchema.safeParse(left);
    if (parsed.success) return { params: parsed.data, open };
    const wrong = new Set(parsed.error.issues.map((issue) => String(issue.path[0])));
    if ([...wrong].some((field) => findReferences(left[field], "").length === 0)) return null;
    for (const field of wrong) open.add(field);
    left = Object.fromEntries(Object.entries(left).filter(([field]) => !wrong.has(field)));
  }
  return null;
}

/** S1. Keys of overrides can be judged, values of those that are known too. */
function openProblems(given: Readonly<Record<string, unknown>>, params: TrainParams, release: Release, open: ReadonlySet<string>, path: string): Problem[] {
  if (ALGORITHM_FACTS[params.algorithm].trainer === "trl-dpo") return [];
  const all = (open.has("overrides") ? {} : (given["overrides"] ?? {})) as TrainParams["overrides"];
  const isOpen = (problem: Problem) => [...open].some((name) => problem.path === `${path}.${name}`) && (problem.code === "WRONG_OVERRIDE_TYPE" || problem.code === "INVALID_OVERRIDE");
  return overrideProblems({ ...params, overrides: all }, release, `${path}.overrides`).filter((problem) => !isOpen(problem));
}

// ── hosts and memory ────────────────────────────────────────────────────────────────────────────────

/** By labels and GPUs, as the scheduler would judge an empty host. */
export function isSuitable(host: KnownHost, { gpus, gpuModel, labels }: Resources): boolean {
  const fitting = host.gpus.filter((gpu) => gpuModel === undefined || gpu.model.toLowerCase().includes(gpuModel.toLowerCase()));
  return fitting.length >= gpus && Object.entries(labels ?? {}).every(([name, value]) => host.labels[name] === value);
}

/** Bytes of the largest GPU; null when no host has one. */
export function largestGpu(hosts: readonly KnownHost[]): number | null {
  const sizes = hosts.flatMap((host) => host.gpus.map((gpu) => gpu.memoryTotalMiB * 1_048_576)).filter((size) => size > 0);
  return sizes.length === 0 ? null : Math.max(...sizes);
}

export interface SizedEstimate extends MemoryEstimate {
  /** Of the model, by its name. */
  readonly parameters: number;
  readonly gpus: number;
}

/** What the run takes of each GPU; null where the model's name does not tell its size, or there is no GPU. */
export function memoryOf(params: TrainParams, resources: Pick<Resources, "gpus" | "nodes">, gpuBytes: number | null): SizedEstimate | null {
  const parameters = parametersInName(params.model);
  const gpus = resources.gpus * resources.nodes;
  if (parameters === null || gpus === 0 || params.simulate) return null;
  return { ...estimateMemory(params, sizeByParameters(parameters), gpus, gpuBytes), parameters, gpus };
}

function memoryProblems(params: TrainParams, resources: Resources, gpuBytes: number | null, path: string): Problem[] {
  const estimate = gpuBytes === null ? null : memoryOf(params, resources, gpuBytes);
  if (gpuBytes === null || estimate === null || estimate.bytesPerGpu <= gpuBytes) return [];
  const parts = [...estimate.parts].sort((a, b) => b.bytesPerGpu - a.bytesPerGpu).map((part) => `${part.name} ${gib(part.bytesPerGpu)} (${part.how})`);
  return [{
    path: `${path}.model`, severity: "WARNING", code: "GPU_MEMORY",
    message: `Each GPU would need about ${gib(estimate.bytesPerGpu)}, ± ${Math.round(estimate.error * 100)} %, and the largest that is known here has ${gib(gpuBytes)}: ${parts.join("; ")}.`,
    hint: "Ask for more GPUs, train a low-rank adapter (lora), move state to the host (offload), or make microBatchSize, maxTokensPerGpu or the lengths smaller. It is an estimate: it blocks nothing.",
  }];
}

function gib(bytes: number): string {
  const size = bytes / 2 ** 30;
  return `${size >= 10 ? Math.round(size) : Number(size.toFixed(1))} GiB`;
}

/** A launch as far as the specification tells it, with neutral paths where an agent would put its own. */
export function exampleContext({ gpus, nodes }: Pick<Resources, "gpus" | "nodes">, more: Partial<LaunchContext> = {}): LaunchContext {
  return {
    nodes, gpusPerNode: gpus, rank: 0, meeting: nodes > 1 ? { address: "HEAD_ADDRESS", port: 29_500 } : null, python: ["python3"], checkpointDir: "/path/to/run/checkpoints", hydraDir: "/path/to/run/hydra",
    samplesDir: "/path/to/run/samples", project: "trainyard", experiment: "run", resumeFrom: null, cpus: null, device: gpus === 0 ? "cpu" : "cuda", ...more,
  };
}
