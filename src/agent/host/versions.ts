// Which versions of what this host has, for the agents page and for placement by eye. Asked once, kept for a day, null when absent.

import { execFile } from "node:child_process";
import { readFileSync, renameSync, writeFileSync } from "node:fs";

export type Versions = Readonly<Record<string, string | null>>;

/** Age at which the answers are asked for again, in milliseconds. */
const KEPT_MS = 86_400_000;
/** Reads package metadata instead of importing packages: importing torch takes seconds. */
const PYTHON_PROBE = `
import json, platform
from importlib import metadata
def version(name):
    try: return metadata.version(name)
    except Exception: return None
print(json.dumps({"python": platform.python_version(), "torch": version("torch"), "verl": version("verl")}))
`;

/** `agent` and `node` always; `python`, `torch`, `verl`, `cuda` as far as they are there. Never throws. */
export async function probeVersions(options: { agent: string; nvidiaSmi: string; cacheFile: string; environment: Readonly<Record<string, string | undefined>> }): Promise<Versions> {
  const own = { agent: options.agent, node: process.versions.node };
  const kept = readKept(options.cacheFile);
  if (kept !== null) return { ...kept, ...own };
  const [python, smi] = await Promise.all([
    output("python3", ["-c", PYTHON_PROBE], options.environment),
    output(options.nvidiaSmi, [], options.environment),
  ]);
  const found = { python: null, torch: null, verl: null, cuda: /CUDA Version:\s*([\d.]+)/.exec(smi ?? "")?.[1] ?? null, ...parsed(python) };
  try {
    writeFileSync(`${options.cacheFile}.new`, JSON.stringify({ at: Date.now(), found }), { mode: 0o600 });
    renameSync(`${options.cacheFile}.new`, options.cacheFile);
  } catch {
    // Only a memory of the answers.
  }
  return { ...found, ...own };
}

function readKept(file: string): Versions | null {
  try {
    const { at, found } = JSON.parse(readFileSync(file, "utf8")) as { at: number; found: Versions };
    return Date.now() - at < KEPT_MS ? found : null;
  } catch {
    return null;
  }
}

function parsed(text: string | null): Versions {
  try {
    return text === null ? {} : (JSON.parse(text) as Versions);
  } catch {
    return {};
  }
}

function output(program: string, args: readonly string[], environment: Readonly<Record<string, string | undefined>>): Promise<string | null> {
  return new Promise((resolve) => {
    execFile(program, args, { timeout: 10_000, killSignal: "SIGKILL", env: { PATH: environment["PATH"], HOME: environment["HOME"] } }, (error, stdout) => resolve(error === null ? stdout : null));
  });
}
