// Which versions of what this host has: for the agents page, and for what the agent says it can run. Asked once, kept for a day, null when absent.

import { execFile } from "node:child_process";
import { readFileSync, renameSync, statfsSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { dirname } from "node:path";
import { releaseFor } from "../../verl/releases.js";
import { packageConflict, probePython, type PythonFacts } from "./python-probe.js";

export type Versions = Readonly<Record<string, string | null>>;

/** Age at which the answers are asked for again, in milliseconds. */
const KEPT_MS = 86_400_000;
const PATIENCE_MS = 10_000;
const NONE: Readonly<Record<keyof PythonFacts, null>> = { pythonPath: null, python: null, torch: null, cudaRuntime: null, verl: null, vllm: null, sglang: null, trl: null, ray: null, peft: null, transformers: null };

/**
 * `agent`, `node`, `hostCpus` and `freeDiskBytes` (where attempts live) always; `cuda` of the driver, and what the Python interpreter has, as far as they are there. `warning`: packages that
 * do not go together. Never throws.
 */
export async function probeVersions(options: { agent: string; nvidiaSmi: string; python: string; cacheFile: string; environment: Readonly<Record<string, string | undefined>> }): Promise<Versions> {
  const own = { agent: options.agent, node: process.versions.node, hostCpus: String(availableParallelism()), freeDiskBytes: freeDisk(dirname(options.cacheFile)) };
  const kept = readKept(options.cacheFile, options.python);
  if (kept !== null) return { ...kept, ...own };
  const [facts, smi] = await Promise.all([probePython(options.python, options.environment, PATIENCE_MS), output(options.nvidiaSmi, [], options.environment)]);
  const conflict = facts === null ? null : packageConflict(facts);
  const found: Versions = { ...NONE, ...facts, cuda: /CUDA Version:\s*([\d.]+)/.exec(smi ?? "")?.[1] ?? null, ...(conflict === null ? {} : { warning: conflict }) };
  try {
    writeFileSync(`${options.cacheFile}.new`, JSON.stringify({ at: Date.now(), program: options.python, found }), { mode: 0o600 });
    renameSync(`${options.cacheFile}.new`, options.cacheFile);
  } catch {
    // Only a memory of the answers.
  }
  return { ...found, ...own };
}

/** What this host can run because of what is installed (capabilityOf). */
export function trainerCapabilities(versions: Versions): string[] {
  const verl = typeof versions["verl"] === "string" && releaseFor(versions["verl"]) !== null;
  return [...(verl ? ["train:verl", "merge"] : []), ...(typeof versions["trl"] === "string" ? ["train:trl"] : [])];
}

/** Bytes that an ordinary user may still write beside `path`; null when the file system does not say. */
export function freeDisk(path: string): string | null {
  try {
    const { bavail, bsize } = statfsSync(path);
    return String(bavail * bsize);
  } catch {
    return null;
  }
}

function readKept(file: string, program: string): Versions | null {
  try {
    const kept = JSON.parse(readFileSync(file, "utf8")) as { at: number; program?: string; found: Versions };
    return Date.now() - kept.at < KEPT_MS && kept.program === program ? kept.found : null;
  } catch {
    return null;
  }
}

function output(program: string, args: readonly string[], environment: Readonly<Record<string, string | undefined>>): Promise<string | null> {
  return new Promise((resolve) => {
    execFile(program, args, { timeout: PATIENCE_MS, killSignal: "SIGKILL", env: { PATH: environment["PATH"], HOME: environment["HOME"] } }, (error, stdout) => resolve(error === null ? stdout : null));
  });
}
