// Ray's processes as the stand-in has them: names, sessions of their own, and how they end with the one that started them.
//   Y1. What a worker prints comes to the driver with its name before it, coloured unless RAY_COLOR_PREFIX is 0.
//   Y2. A driver that is killed takes the workers with it, but not the agents of the dashboard.

import { spawn, type ChildProcess } from "node:child_process";
import { createInterface } from "node:readline";
import type { TrainerHost } from "./trainer-host.js";

/** Ray's own module for a worker process. */
export const WORKER_MODULE = "ray._private.workers.default_worker";

/** A forgotten process ends itself after an hour. */
const IDLE_PROGRAM = "setTimeout(() => undefined, 3_600_000);";

/** A worker of this name; it and its parent have a channel (Y2). `words`: what it is given after the name. */
export function startWorker(name: string, words: readonly string[], host: TrainerHost, environment: Readonly<Record<string, string>> = {}): ChildProcess {
  return spawn(process.execPath, [...host.self, "-u", "-m", WORKER_MODULE, `--name=${name}`, ...words], {
    stdio: ["ignore", "pipe", "pipe", "ipc"], detached: true, env: { ...host.environment, ...environment },
  });
}

/** A process that only exists. */
export function startIdle(name: string, environment: TrainerHost["environment"]): ChildProcess {
  const child = spawn(process.execPath, ["-e", IDLE_PROGRAM], { argv0: name, stdio: "ignore", detached: true, env: { ...environment } });
  child.on("error", () => undefined).unref();
  return child;
}

/** Y1. Resolves when both streams have ended. */
export function relayOutput(name: string, child: ChildProcess, host: TrainerHost): Promise<void> {
  const prefix = host.environment["RAY_COLOR_PREFIX"] === "0" ? `(${name} pid=${child.pid ?? 0})` : `\u001b[36m(${name} pid=${child.pid ?? 0})\u001b[0m`;
  const relay = (stream: NodeJS.ReadableStream | null, write: (line: string) => void): Promise<void> => new Promise((done) => {
    if (stream === null) return done();
    createInterface({ input: stream }).on("line", (line) => write(`${prefix} ${line}`)).on("close", done);
  });
  return Promise.all([relay(child.stdout, host.print), relay(child.stderr, (line) => host.progress(`${line}\n`))]).then(() => undefined);
}

/** Ends a worker when the one that started it is gone (Y2). */
export function endWithParent(): void {
  process.once("disconnect", () => process.exit(1));
  if (process.channel === undefined || process.channel === null) process.exit(1);
  process.channel.unref();
}
