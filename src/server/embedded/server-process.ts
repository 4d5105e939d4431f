// Starting, watching and ending a server that outlives us if we are killed.
//   S1. The server leads a session of its own: Ctrl-C in our terminal reaches us only, and we decide the order of the shutdown.
//   S2. Its output goes to a file, never to a pipe of ours: our death must not break its writes.
//   S3. A signal goes only to the very process that was identified, never to a later one with its pid.
import { spawn } from "node:child_process";
import { closeSync, existsSync, fstatSync, openSync, readFileSync, readSync, renameSync, statSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { EmbeddedStoreError } from "./embedded-store-error.js";
import { identifyProcess, isAlive, type ProcessIdentity } from "../../process-identity.js";
import { portIfFree } from "./loopback-port.js";
import { asAccount, type ServerAccount } from "./server-account.js";

/** Interval at which readiness and exit are looked at, in milliseconds. Looking costs one small file read. */
export const POLL_MS = 10;
/** Size at which a start moves the log aside (one older file is kept), in bytes. */
const LOG_ROTATION_BYTES = 8 * 1024 * 1024;
/** How much of the log an error quotes, in lines. */
const QUOTED_LOG_LINES = 12;

export interface ServerCommand {
  readonly binary: string;
  readonly args: readonly string[];
  readonly folder: string;
  readonly account: ServerAccount;
  readonly logFile: string;
  /** Written to standard input, for what must not show in the process list. */
  readonly input?: string;
}

export interface StartedServer {
  readonly identity: ProcessIdentity;
  /** What the server wrote since this start. */
  readonly output: () => string;
}

/** Starts the server detached (S1, S2). Rejects with EMBEDDED_START_FAILED when the program cannot be executed at all. */
export async function startDetached(command: ServerCommand): Promise<StartedServer> {
  if ((statSync(command.logFile, { throwIfNoEntry: false })?.size ?? 0) > LOG_ROTATION_BYTES) renameSync(command.logFile, `${command.logFile}.1`);
  const log = openSync(command.logFile, "a", 0o600);
  const from = fstatSync(log).size;
  try {
    const child = spawn(command.binary, command.args, {
      cwd: command.folder,
      env: cleanEnvironment(),
      detached: true,
      stdio: [command.input === undefined ? "ignore" : "pipe", log, log],
      ...asAccount(command.account),
    });
    await new Promise<void>((resolve, reject) => {
      child.once("spawn", resolve);
      child.once("error", reject);
    });
    child.on("error", () => undefined); // a failed kill; the callers look at the process itself
    child.stdin?.on("error", () => undefined); // the server ended early; its exit is noticed below
    child.stdin?.end(command.input);
    child.unref();
    const identity = child.pid === undefined ? null : identifyProcess(child.pid);
    return { identity: identity ?? { pid: child.pid ?? 0, startedAt: "ended at once" }, output: () => readFrom(command.logFile, from) };
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new EmbeddedStoreError("EMBEDDED_START_FAILED", `${command.binary} cannot be executed: ${reason}.`, { binary: command.binary }, { cause });
  } finally {
    closeSync(log);
  }
}

/**
 * Ends exactly this process: each signal in turn, waiting `patienceMs` after each. Resolves when the process is gone; an already gone one is fine.
 * Throws EMBEDDED_STOP_FAILED when it is still there after the last.
 */
export async function endProcess(identity: ProcessIdentity, steps: readonly { signal: NodeJS.Signals; patienceMs: number }[]): Promise<void> {
  for (const { signal, patienceMs } of steps) {
    if (!isAlive(identity)) return;
    try {
      process.kill(identity.pid, signal);
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === "ESRCH") return;
      throw new EmbeddedStoreError("EMBEDDED_STOP_FAILED", `Process ${identity.pid} cannot be signalled. Stop it as the user who started it.`, { pid: identity.pid }, { cause });
    }
    if (await pollUntil(() => !isAlive(identity), patienceMs)) return;
  }
  const signals = steps.map((step) => step.signal).join(", ");
  throw new EmbeddedStoreError("EMBEDDED_STOP_FAILED", `Process ${identity.pid} is still there after ${signals}. Look at what it waits for (a full or hanging disk?), then end it.`, { pid: identity.pid });
}

/** Looks every POLL_MS until `done` says true; false when `withinMs` passes first. */
export async function pollUntil(done: () => boolean | Promise<boolean>, withinMs: number): Promise<boolean> {
  const deadline = performance.now() + withinMs;
  while (!(await done())) {
    if (performance.now() >= deadline) return false;
    await delay(POLL_MS);
  }
  return true;
}

/** A port on 127.0.0.1 that was free a moment ago: `preferred` if it is, else any. Another program may still take it first. */
export async function freePort(preferred: number | null): Promise<number> {
  if (preferred !== null && (await portIfFree(preferred)) !== null) return preferred;
  const port = await portIfFree(0);
  if (port === null) throw new EmbeddedStoreError("EMBEDDED_START_FAILED", "No port can be opened on 127.0.0.1. Check the loopback interface and the limits of this machine.");
  return port;
}

/** The last lines of what a server said, for an error message. */
export function lastLines(output: string): string {
  const lines = output.trimEnd().split("\n").slice(-QUOTED_LOG_LINES);
  return lines.join("") === "" ? "(it wrote nothing)" : lines.map((line) => `  ${line}`).join("\n");
}

/** The whole file from a byte on; empty when it is not there. */
function readFrom(file: string, from: number): string {
  if (!existsSync(file)) return "";
  const fd = openSync(file, "r");
  try {
    const length = Math.max(0, fstatSync(fd).size - from);
    const bytes = Buffer.alloc(length);
    return bytes.toString("utf8", 0, length === 0 ? 0 : readSync(fd, bytes, 0, length, from));
  } finally {
    closeSync(fd);
  }
}

/** Reads a small file that may not be there. */
export function readIfThere(file: string): string | null {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
}

/** Nothing of ours leaks into a server: PG* variables would change where it listens, and ours may hold secrets. */
export function cleanEnvironment(): Record<string, string> {
  return { PATH: process.env["PATH"] ?? "/usr/bin:/bin", LC_ALL: "C", TZ: "UTC" };
}
