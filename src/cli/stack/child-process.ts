// One child of `trainyard up` (the control plane, or the agent), kept running.
//   P1. It is started again when it dies, at once the first time and then ever later, up to RESTART_CAP_MS; a child that held out RESET_AFTER_MS starts afresh.
//   P2. Its output goes to a file: it survives us and our terminal.
//   P3. It leads a session of its own: Ctrl-C reaches `up` only, which then stops its children in the right order.
//   P4. It is stopped by order, then by SIGTERM, then by SIGKILL.
import { spawn, type ChildProcess } from "node:child_process";
import { closeSync, existsSync, fstatSync, mkdirSync, openSync, readSync, renameSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { identifyProcess, type ProcessIdentity } from "../../process-identity.js";
import type { StopMode, ToChild, ToParent } from "./parent-link.js";

const RESTART_CAP_MS = 10_000;
const RESET_AFTER_MS = 30_000;
/** Size at which a start moves the log aside (one older file is kept), in bytes. */
const LOG_ROTATION_BYTES = 16 * 1024 * 1024;

export interface ChildOptions {
  readonly name: string;
  /** The program's file and its arguments, run by this Node. */
  readonly args: readonly string[];
  readonly environment: () => Readonly<Record<string, string>>;
  readonly logFile: string;
  onStart(identity: ProcessIdentity): void;
  /** It died although nobody asked; it is started again after `restartInMs`. */
  onDeath(how: string, restartInMs: number, lastOutput: readonly string[]): void;
}

export interface Child {
  readonly pid: number | null;
  /** Resolves when it has told that it is ready, now or after a restart. Rejects when it died before, twice in a row. */
  ready(): Promise<ToParent>;
  /** Ends it and starts it again, for instance because a store moved to another port. */
  restart(): void;
  /** P4. Harmless when repeated. */
  stop(mode: StopMode, patienceMs: number): Promise<void>;
}

/** Wait before the n-th restart in a row (from 0), in milliseconds. */
export function restartDelayMs(inARow: number): number {
  return inARow === 0 ? 0 : Math.min(RESTART_CAP_MS, 250 * 2 ** (inARow - 1));
}

export function startChild(options: ChildOptions): Child {
  let child: ChildProcess | null = null;
  let stopping = false, restarting = false;
  let deaths = 0, deathsBeforeReady = 0;
  let timer: NodeJS.Timeout | undefined;
  let isReady: ToParent | null = null;
  const waiting: { resolve(message: ToParent): void; reject(error: Error): void }[] = [];

  const begin = () => {
    const startedAt = performance.now();
    const log = openLog(options.logFile);
    const from = fstatSync(log).size;
    const started = spawn(process.execPath, options.args, { env: options.environment(), stdio: ["ignore", log, log, "ipc"], detached: true, serialization: "json" });
    closeSync(log);
    child = started;
    isReady = null;
    const identity = started.pid === undefined ? null : identifyProcess(started.pid);
    if (identity !== null) options.onStart(identity);
    started.on("error", () => undefined); // no such program, or a failed kill: the exit below or the caller's patience tells
    started.on("message", (message) => {
      if ((message as ToParent).type !== "ready") return;
      isReady = message as ToParent;
      deathsBeforeReady = 0;
      for (const { resolve } of waiting.splice(0)) resolve(isReady);
    });
    started.once("exit", (code, signal) => {
      if (child !== started) return;
      child = null;
      if (stopping) return;
      if (performance.now() - startedAt > RESET_AFTER_MS || restarting) deaths = 0;
      const delay = restarting ? 0 : restartDelayMs(deaths++);
      const how = signal === null ? `ended with code ${String(code)}` : `was killed by ${signal}`;
      const output = tailOf(options.logFile, from);
      if (!restarting) options.onDeath(how, delay, output);
      if (isReady === null && !restarting && ++deathsBeforeReady >= 2) {
        for (const { reject } of waiting.splice(0)) reject(new Error(`${options.name} ${how} while starting.${output.length === 0 ? "" : ` The end of ${options.logFile}:\n${output.map((line) => `  ${line}`).join("\n")}`}`));
      }
      restarting = false;
      isReady = null;
      timer = setTimeout(begin, delay);
    });
  };
  begin();

  return {
    get pid() {
      return child?.pid ?? null;
    },
    ready: () => (isReady === null ? new Promise((resolve, reject) => waiting.push({ resolve, reject })) : Promise.resolve(isReady)),
    restart() {
      if (stopping || child === null) return;
      restarting = true;
      child.kill("SIGTERM");
    },
    async stop(mode, patienceMs) {
      stopping = true;
      clearTimeout(timer);
      for (const { reject } of waiting.splice(0)) reject(new Error(`${options.name} was stopped`));
      const running = child;
      if (running === null || running.exitCode !== null || running.signalCode !== null) return;
      const gone = new Promise<void>((resolve) => running.once("exit", () => resolve()));
      const goneWithin = (ms: number) => Promise.race([gone.then(() => true), new Promise<boolean>((resolve) => setTimeout(resolve, ms, false).unref())]);
      if (running.connected) running.send({ type: "stop", mode } satisfies ToChild, () => undefined);
      else running.kill("SIGTERM");
      if (await goneWithin(patienceMs)) return;
      running.kill("SIGTERM");
      if (await goneWithin(2_000)) return;
      running.kill("SIGKILL");
      await gone;
    },
  };
}

/** Starts the child's log, moving a long one aside. Gives the file descriptor. */
function openLog(file: string): number {
  mkdirSync(dirname(file), { recursive: true });
  if ((statSync(file, { throwIfNoEntry: false })?.size ?? 0) > LOG_ROTATION_BYTES) renameSync(file, `${file}.1`);
  return openSync(file, "a", 0o600);
}

/** The last lines written since a byte. */
function tailOf(file: string, from: number, lines = 6): string[] {
  if (!existsSync(file)) return [];
  const fd = openSync(file, "r");
  try {
    const size = fstatSync(fd).size;
    const start = Math.max(from, size - 16_384);
    const bytes = Buffer.alloc(Math.max(0, size - start));
    readSync(fd, bytes, 0, bytes.length, start);
    return bytes.toString("utf8").split("\n").filter((line) => line.trim() !== "").slice(-lines);
  } finally {
    closeSync(fd);
  }
}
