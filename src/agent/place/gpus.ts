// The GPUs of a host, as nvidia-smi tells them. No program of that name: no GPUs. A failing program: no GPUs, and the reason is kept for whoever asks.
//   G1. A process on a GPU that belongs to no attempt of ours is a stranger: that GPU is not given to an attempt.
//   G2. A GPU that the driver calls lost or in need of a reset is left out, and said; one that merely keeps a number to itself is not.

import { execFile } from "node:child_process";
import { totalmem } from "node:os";
import type { GpuReport } from "../../protocol/messages.js";

const GPU_FIELDS = ["index", "uuid", "name", "memory.total", "memory.used", "utilization.gpu"];
/** Longest wait for nvidia-smi, in milliseconds; on a host with a stuck driver it never answers. */
const QUERY_TIMEOUT_MS = 10_000;

export interface GpuProcess { readonly pid: number; readonly gpuUuid: string }
export interface GpuInventory {
  readonly gpus: readonly GpuReport[];
  /** Processes on GPUs that no attempt of ours started, by GPU index. */
  readonly strangers: ReadonlyMap<number, readonly number[]>;
  /** Why nothing could be learnt, when that is so. */
  readonly problem: string | null;
}

/** What nvidia-smi says, on whichever machine. */
export interface NvidiaAnswers {
  /** Of `--query-gpu=index,uuid,name,memory.total,memory.used,utilization.gpu --format=csv,noheader,nounits`. */
  readonly listed: NvidiaAnswer;
  /** Of `--query-compute-apps=pid,gpu_uuid --format=csv,noheader`; asked for when there are GPUs. */
  processes(): Promise<NvidiaAnswer>;
  /** Of that machine. */
  readonly memoryMiB: number;
}
export type NvidiaAnswer = { readonly kind: "answered"; readonly text: string } | { readonly kind: "absent" } | { readonly kind: "failed"; readonly reason: string };
/** Asks it. Rejects only when the place is left while it is out of reach. */
export type AskNvidia = () => Promise<NvidiaAnswers>;

/** The nvidia-smi of this machine. `program`: a path, or a name on PATH. */
export function askNvidiaSmi(program: string): AskNvidia {
  return async () => ({
    listed: await ask(program, [`--query-gpu=${GPU_FIELDS.join(",")}`, "--format=csv,noheader,nounits"]),
    processes: () => ask(program, ["--query-compute-apps=pid,gpu_uuid", "--format=csv,noheader"]),
    memoryMiB: Math.floor(totalmem() / 2 ** 20),
  });
}

/** Makes an inventory of the answers. `ours` tells which of the processes belong to attempts. Throws what these two throw. */
export async function queryGpus(askNvidia: AskNvidia, ours: (pids: readonly number[]) => Promise<ReadonlySet<number>>): Promise<GpuInventory> {
  const { listed, processes: askProcesses, memoryMiB } = await askNvidia();
  if (listed.kind === "absent") return { gpus: [], strangers: new Map(), problem: null };
  if (listed.kind === "failed") return { gpus: [], strangers: new Map(), problem: listed.reason };
  const { gpus, unusable } = parseGpus(listed.text, memoryMiB);
  if (gpus.length === 0) return { gpus, strangers: new Map(), problem: listed.text.trim() === "" ? null : `nvidia-smi answered: ${listed.text.trim().slice(0, 300)}` };
  const processes = await askProcesses();
  const strangers = new Map<number, number[]>();
  const running = processes.kind === "answered" ? parseGpuProcesses(processes.text) : [];
  const known = running.length === 0 ? new Set<number>() : await ours(running.map(({ pid }) => pid));
  for (const { pid, gpuUuid } of running) {
    const gpu = gpus.find(({ uuid }) => uuid === gpuUuid);
    if (gpu !== undefined && !known.has(pid)) strangers.set(gpu.index, [...(strangers.get(gpu.index) ?? []), pid]);
  }
  return { gpus: gpus.map((gpu) => ({ ...gpu, strangers: strangers.get(gpu.index)?.length ?? 0 })), strangers, problem: unusable.length === 0 ? null : unusable.join("; ").slice(0, 500) };
}

export interface ParsedGpus {
  readonly gpus: GpuReport[];
  /** GPUs that are there and cannot be used, each in words. */
  readonly unusable: string[];
}

/**
 * Lines of `--query-gpu=index,uuid,name,memory.total,memory.used,utilization.gpu --format=csv,noheader,nounits`. Lines of another form are left out.
 * A GPU without memory of its own (DGX Spark: memory "[N/A]") has the host's, `hostMemoryMiB`; one whose memory we may not see (a MIG device in a container) has 0: only stages that ask for no amount fit it.
 */
export function parseGpus(text: string, hostMemoryMiB: number): ParsedGpus {
  const parsed: ParsedGpus = { gpus: [], unusable: [] };
  for (const line of text.split("\n")) {
    const fields = line.split(",").map((field) => field.trim());
    const [first, uuid, model, total, used, utilization] = fields;
    const index = count(first);
    if (fields.length !== GPU_FIELDS.length || index === null || !model || total === undefined) continue;
    const broken = fields.find((field) => BROKEN.test(field)) ?? (count(total) === null && !WITHHELD.test(total) && !SHARED.test(total) ? total : undefined); // G2
    if (broken !== undefined) parsed.unusable.push(`GPU ${index} (${model}) is left out: nvidia-smi says ${broken || "nothing"} of it`);
    else {
      const memoryTotalMiB = count(total) ?? (SHARED.test(total) ? hostMemoryMiB : 0);
      parsed.gpus.push({ index, uuid: known(uuid), model, memoryTotalMiB, memoryUsedMiB: count(used), utilizationPercent: count(utilization), strangers: 0 });
    }
  }
  return parsed;
}

/** The driver has given the GPU up. */
const BROKEN = /^\[?(GPU is lost|GPU requires reset|ERR!)/i;
const WITHHELD = /^\[Insufficient Permissions\]$/;
const SHARED = /^(\[N\/A\]|\[Not Supported\]|N\/A)$/;

/** Lines of `--query-compute-apps=pid,gpu_uuid --format=csv,noheader`. */
export function parseGpuProcesses(text: string): GpuProcess[] {
  return text.split("\n").flatMap((line) => {
    const [pid, gpuUuid] = line.split(",").map((field) => field.trim());
    const number = count(pid);
    return number === null || !gpuUuid?.startsWith("GPU-") ? [] : [{ pid: number, gpuUuid }];
  });
}

/** nvidia-smi writes what it cannot tell as [N/A], [Not Supported], [Unknown Error] and the like. */
function known(field: string | undefined): string | null {
  return field === undefined || field === "" || field.startsWith("[") || field === "N/A" ? null : field;
}

function count(field: string | undefined): number | null {
  return field !== undefined && /^\d+$/.test(field) ? Number(field) : null;
}

function ask(program: string, args: readonly string[]): Promise<NvidiaAnswer> {
  return new Promise((resolve) => {
    execFile(program, args, { timeout: QUERY_TIMEOUT_MS, killSignal: "SIGKILL", maxBuffer: 1024 * 1024 }, (error, stdout, stderr) => {
      if (error === null) return resolve({ kind: "answered", text: stdout });
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return resolve({ kind: "absent" });
      resolve({ kind: "failed", reason: `${program}: ${(stdout + stderr).trim().split("\n")[0] || error.message}`.slice(0, 500) });
    });
  });
}
