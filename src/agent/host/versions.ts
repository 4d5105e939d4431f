// Which versions of what this host has: for the agents page, and for what the agent says it can run.
//   V1. What was found the last time is said at once; the host is asked in the background, at the start and again every hour: nobody waits for a slow interpreter.
//   V2. A program that does not answer in time leaves what was known of it.

import { readFileSync, renameSync, statfsSync, writeFileSync } from "node:fs";
import { ROLLOUT_ENGINES } from "../../domain/training/algorithms.js";
import { releaseFor } from "../../verl/releases.js";
import type { Place } from "../place/place.js";
import { packageConflict, probePython, type PythonFacts } from "./python-probe.js";

export type Versions = Readonly<Record<string, string | null>>;

/** Time between two questions, in milliseconds; sooner when a program did not answer. */
const ASK_EVERY_MS = 3_600_000;
const ASK_AGAIN_MS = 60_000;
/** How long a program may take to answer, in milliseconds. */
const PATIENCE_MS = 30_000;
const NONE: Readonly<Record<keyof PythonFacts, null>> = { pythonPath: null, python: null, torch: null, cudaRuntime: null, verl: null, vllm: null, sglang: null, trl: null, ray: null, peft: null, transformers: null };

export interface VersionsOptions {
  /** This agent's own. */
  readonly agent: string;
  readonly nvidiaSmi: string;
  readonly python: string;
  /** Whose host it is. */
  readonly place: Pick<Place, "ask" | "freeDisk" | "cpus">;
  /** Where attempts live. */
  readonly diskPath: string;
  /** Keeps the answers for the next process (V1). */
  readonly cacheFile: string;
  /** PATH and HOME that the programs asked get, besides what the place adds. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** The host has answered. */
  readonly answered: () => void;
}

export interface HostVersions {
  /**
   * `agent`, `node` and `hostCpus` always; `freeDiskBytes` (where attempts live, when last asked), `cuda` of the driver, and what the Python interpreter has, null when absent, once they are known.
   * `warning`: packages that do not go together. The same object until the host has answered again.
   */
  current(): Versions;
  close(): void;
}

/** Asks the host what is installed, and goes on asking. Never throws. */
export function keepVersions(options: VersionsOptions): HostVersions {
  const closed = new AbortController();
  let found = readKept(options.cacheFile, options.python);
  let current = describe(options, found);
  let timer: NodeJS.Timeout | null = null;

  const { place } = options;
  const ask = async (): Promise<void> => {
    const free = await place.freeDisk(options.diskPath); // a host that is away is waited for
    found = { ...found, freeDiskBytes: free === null ? null : String(free) };
    current = describe(options, found);
    const environment = { PATH: options.environment["PATH"], HOME: options.environment["HOME"] };
    const [python, driver] = await Promise.all([probePython(place, options.python, environment, PATIENCE_MS, closed.signal), driverCuda(options, environment, closed.signal)]);
    if (closed.signal.aborted) return;
    const { cuda = null, freeDiskBytes = null, ...facts } = found;
    found = { ...(python === "silent" ? facts : withWarning(python)), cuda: driver === "silent" ? cuda : driver, freeDiskBytes }; // V2
    current = describe(options, found);
    keep(options, found);
    timer = setTimeout(() => void ask().catch(() => undefined), python === "silent" || driver === "silent" ? ASK_AGAIN_MS : ASK_EVERY_MS);
    timer.unref();
    options.answered();
  };
  void ask().catch(() => undefined); // the place was closed

  return {
    current: () => current,
    close() {
      closed.abort();
      if (timer !== null) clearTimeout(timer);
    },
  };
}

/** What this host can run because of what is installed (capabilityOf). */
export function trainerCapabilities(versions: Versions): string[] {
  const has = (name: string) => typeof versions[name] === "string";
  const verl = has("verl") && releaseFor(versions["verl"]!) !== null;
  const engines = verl ? ROLLOUT_ENGINES.filter(has) : [];
  return [...(verl ? ["train:verl", "merge"] : []), ...engines.flatMap((engine) => [`train:verl:${engine}`, `evaluate:model:${engine}`]), ...(has("trl") ? ["train:trl"] : [])];
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

function describe(options: VersionsOptions, found: Versions): Versions {
  return { ...found, agent: options.agent, node: process.versions.node, hostCpus: String(options.place.cpus()) };
}

function withWarning(python: PythonFacts | null): Versions {
  const conflict = python === null ? null : packageConflict(python);
  return { ...NONE, ...python, ...(conflict === null ? {} : { warning: conflict }) };
}

async function driverCuda({ place, nvidiaSmi }: VersionsOptions, environment: Readonly<Record<string, string | undefined>>, signal: AbortSignal): Promise<string | null | "silent"> {
  const answer = await place.ask({ argv: [nvidiaSmi], environment, timeoutMs: PATIENCE_MS, signal });
  if (answer.kind === "silent") return "silent";
  return answer.kind === "answered" && answer.status === 0 ? (/CUDA Version:\s*([\d.]+)/.exec(answer.stdout)?.[1] ?? null) : null;
}

function readKept(file: string, program: string): Versions {
  try {
    const kept = JSON.parse(readFileSync(file, "utf8")) as { program?: string; found: Versions };
    return kept.program === program ? kept.found : {};
  } catch {
    return {};
  }
}

function keep({ cacheFile, python }: VersionsOptions, found: Versions): void {
  try {
    writeFileSync(`${cacheFile}.new`, JSON.stringify({ program: python, found }), { mode: 0o600 });
    renameSync(`${cacheFile}.new`, cacheFile);
  } catch {
    // Only a memory of the answers.
  }
}
