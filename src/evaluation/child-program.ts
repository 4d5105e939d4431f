// Programs that an evaluation starts: verl's, mostly. They stay in our process group, so that whoever ends us ends them too.

import { spawn } from "node:child_process";
import { ChildFailedError, EvaluationRefusedError } from "./evaluation-errors.js";

export interface ChildOptions {
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly signal: AbortSignal;
  /** How it is called in messages. */
  readonly name: string;
  /** Whether its standard output is shown in the log as well as returned; otherwise it is only returned. */
  readonly show: boolean;
}

/** Most of the output that is kept, from its end, in UTF-16 units. */
const KEPT = 1_048_576;
/** Between TERM and KILL when we are stopped, in milliseconds; the agent's own grace may be shorter. */
const GRACE_MS = 20_000;

/** Runs it to its end; resolves with the end of its standard output. Standard error goes to the log. Throws ChildFailedError, EvaluationRefusedError when there is no
 *  such program, and the signal's reason. */
export function runChild(argv: readonly string[], { environment, signal, name, show }: ChildOptions): Promise<string> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const child = spawn(argv[0]!, argv.slice(1), { env: environment as NodeJS.ProcessEnv, stdio: ["ignore", "pipe", "inherit"] });
    let output = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      output = (output + text).slice(-KEPT);
      if (show) process.stdout.write(text);
    });
    let killing: NodeJS.Timeout | null = null;
    const stop = (): void => {
      child.kill("SIGTERM");
      killing = setTimeout(() => child.kill("SIGKILL"), GRACE_MS);
    };
    signal.addEventListener("abort", stop, { once: true });
    child.once("error", (error: NodeJS.ErrnoException) => {
      signal.removeEventListener("abort", stop);
      reject(error.code === "ENOENT" || error.code === "EACCES" ? new EvaluationRefusedError(`${argv[0]!} ${error.code === "ENOENT" ? "does not exist on this host" : "may not be executed"}; give params.python.`) : error);
    });
    child.once("close", (code, ended) => {
      signal.removeEventListener("abort", stop);
      if (killing !== null) clearTimeout(killing);
      if (signal.aborted) reject(signal.reason as Error);
      else if (code === 0) resolve(output);
      else reject(new ChildFailedError(`${name} ${ended === null ? `ended with exit code ${code}` : `was ended by ${ended}`}; its output is above`));
    });
  });
}
