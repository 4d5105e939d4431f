// Small Python programs of ours (src/verl/python) that answer one question with one line of JSON.

import { execFile } from "node:child_process";
import { packagePath } from "../../package-root.js";

/** Where a program lies. */
export function pythonProgram(name: "compose_config" | "check_reward" | "parse_dpo" | "export_model" | "await_cluster"): string {
  return packagePath("src", "verl", "python", `${name}.py`);
}

export interface PythonQuestion {
  /** Words that start the interpreter. */
  readonly python: readonly string[];
  readonly program: Parameters<typeof pythonProgram>[0];
  readonly args: readonly string[];
  readonly input?: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
  readonly timeoutMs: number;
}

/** What the program found wrong; null when nothing. `unanswered`: it could not be asked. Rejects only with the signal's reason. */
export type PythonAnswer = { readonly kind: "answered"; readonly problem: string | null; readonly missing: boolean } | { readonly kind: "unanswered"; readonly why: string };

export async function askPython({ python, program, args, input, environment, signal, timeoutMs }: PythonQuestion): Promise<PythonAnswer> {
  const [file, ...words] = python;
  const answer = await new Promise<PythonAnswer>((resolve) => {
    const child = execFile(file!, [...words, pythonProgram(program), ...args], { env: environment, timeout: timeoutMs, killSignal: "SIGKILL", maxBuffer: 64 * 1_048_576, signal }, (error, stdout, stderr) => {
      const found = lastJson(stdout);
      if (found !== null) return resolve({ kind: "answered", problem: found.problem, missing: found.missing === true });
      const end = stderr.trim().split("\n").at(-1) ?? "";
      resolve({ kind: "unanswered", why: error?.killed === true ? `it did not answer within ${timeoutMs / 1_000} s` : end !== "" ? end.slice(0, 500) : (error?.message ?? "it said nothing").slice(0, 500) });
    });
    child.stdin?.on("error", () => undefined); // it may end without reading
    child.stdin?.end(input ?? "");
  });
  signal.throwIfAborted();
  return answer;
}

function lastJson(stdout: string): { readonly problem: string | null; readonly missing?: boolean } | null {
  try {
    const found = JSON.parse(stdout.trimEnd().split("\n").at(-1) ?? "") as { problem?: unknown; missing?: boolean };
    return found.problem === null || typeof found.problem === "string" ? (found as { problem: string | null }) : null;
  } catch {
    return null;
  }
}
