// Small Python programs of ours (src/verl/python) that answer one question with one line of JSON, or that a trainer or a scorer is started through. They are brought to where they run.

import { packagePath } from "../../package-root.js";
import type { Place } from "../place/place.js";

/** Where a program lies here. */
export function pythonProgram(name: "compose_config" | "check_reward" | "parse_dpo" | "export_model" | "await_cluster" | "ray_member"): string {
  return packagePath("src", "verl", "python", `${name}.py`);
}

/** The same words with each program of ours brought to the place. Rejects with the signal's reason. */
export async function withOurPrograms(place: Place, words: readonly string[], options: { readonly signal: AbortSignal; say(text: string): void }): Promise<readonly string[]> {
  const folder = `${packagePath("src", "verl", "python")}/`;
  const ours = [...new Set(words.filter((word) => word.startsWith(folder)))];
  if (ours.length === 0) return words;
  const there = await place.push(ours, options);
  return words.map((word) => there[ours.indexOf(word)] ?? word);
}

export interface PythonQuestion {
  readonly place: Place;
  /** Words that start the interpreter. */
  readonly python: readonly string[];
  readonly program: Parameters<typeof pythonProgram>[0];
  readonly args: readonly string[];
  readonly input?: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
  readonly timeoutMs: number;
  say(text: string): void;
}

/** What the program found wrong; null when nothing. `unanswered`: it could not be asked. Rejects only with the signal's reason. */
export type PythonAnswer = { readonly kind: "answered"; readonly problem: string | null; readonly missing: boolean } | { readonly kind: "unanswered"; readonly why: string };

export async function askPython({ place, python, program, args, input, environment, signal, timeoutMs, say }: PythonQuestion): Promise<PythonAnswer> {
  const argv = await withOurPrograms(place, [...python, pythonProgram(program), ...args], { signal, say });
  const answer = await place.ask({ argv, environment, timeoutMs, signal, ...(input === undefined ? {} : { input }) });
  signal.throwIfAborted();
  if (answer.kind !== "answered") return { kind: "unanswered", why: answer.why.slice(0, 500) };
  const found = lastJson(answer.stdout);
  if (found !== null) return { kind: "answered", problem: found.problem, missing: found.missing === true };
  const end = answer.stderr.trim().split("\n").at(-1) ?? "";
  return { kind: "unanswered", why: end !== "" ? end.slice(0, 500) : answer.status === 0 ? "it said nothing" : `it ended with exit code ${answer.status}` };
}

function lastJson(stdout: string): { readonly problem: string | null; readonly missing?: boolean } | null {
  try {
    const found = JSON.parse(stdout.trimEnd().split("\n").at(-1) ?? "") as { problem?: unknown; missing?: boolean };
    return found.problem === null || typeof found.problem === "string" ? (found as { problem: string | null }) : null;
  } catch {
    return null;
  }
}
