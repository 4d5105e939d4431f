// What a Python interpreter has installed, by the metadata of its packages: importing torch alone would take seconds.

import type { Place } from "../place/place.js";

/** Keys of the answer: packages as they are called there, and what else is asked. */
export interface PythonFacts {
  /** Absolute path of the interpreter as it was asked for: a virtual environment is known by it. */
  readonly pythonPath: string;
  readonly python: string;
  readonly torch: string | null;
  /** Of the CUDA libraries that torch was built with. */
  readonly cudaRuntime: string | null;
  readonly verl: string | null;
  readonly vllm: string | null;
  readonly sglang: string | null;
  readonly trl: string | null;
  readonly ray: string | null;
  readonly peft: string | null;
  readonly transformers: string | null;
}

const PROBE = `
import json, os, platform, re
from importlib import metadata, util
def version(name):
    try: return metadata.version(name)
    except Exception: return checkout(name)
def checkout(name): # on the path without having been installed
    try:
        with open(os.path.join(list(util.find_spec(name).submodule_search_locations)[0], "version", "version")) as file: return file.read().strip() or None
    except Exception: return None
def cuda():
    try:
        with open(os.path.join(os.path.dirname(util.find_spec("torch").origin), "version.py")) as file:
            found = re.search(r"^cuda\\b[^=]*=\\s*['\\"]([\\d.]+)", file.read(), re.M)
            return found and found.group(1)
    except Exception: return None
facts = {name: version(name) for name in ("torch", "verl", "vllm", "sglang", "trl", "ray", "peft", "transformers")}
print(json.dumps({"python": platform.python_version(), "cudaRuntime": cuda(), **facts}))
`;

/**
 * Asks the interpreter; null when there is none of that name or it cannot say, "silent" when it does not answer in time. `program`: a path, or a name
 * on PATH. `environment`: what it gets besides what the place adds. Never throws.
 */
export async function probePython(place: Pick<Place, "ask">, program: string, environment: Readonly<Record<string, string | undefined>>, timeoutMs: number, signal?: AbortSignal): Promise<PythonFacts | null | "silent"> {
  const answer = await place.ask({ argv: [program, "-c", PROBE], environment, timeoutMs, ...(signal === undefined ? {} : { signal }) });
  if (answer.kind === "silent") return "silent";
  if (answer.kind !== "answered" || answer.status !== 0) return null;
  try {
    return { pythonPath: answer.program, ...(JSON.parse(answer.stdout) as Omit<PythonFacts, "pythonPath">) };
  } catch {
    return null;
  }
}

/** What does not go together, in words; null when nothing is known to. */
export function packageConflict(facts: Pick<PythonFacts, "verl" | "trl">): string | null {
  const verl = versionOf(facts.verl);
  const trl = versionOf(facts.trl);
  if (verl === null || trl === null || verl[0] > 0 || verl[1] > 7 || (trl[0] === 0 && trl[1] < 29)) return null;
  return `verl ${facts.verl!} does not start beside TRL ${facts.trl!}: it imports a class that TRL 0.29 moved away. Install trl<0.29, or remove TRL from that environment.`;
}

function versionOf(text: string | null): readonly [number, number] | null {
  const match = /^(\d+)\.(\d+)/.exec(text ?? "");
  return match === null ? null : [Number(match[1]), Number(match[2])];
}
