// The command line as users start it: real processes, the built program, real stores. Everything lies in the run's folder and is ended with the test.
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { mkdtempSync, readFileSync, existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { inject, onTestFinished } from "vitest";
import { builtCli } from "../support/built-cli.js";
import { killAll, processesBelow } from "../support/processes.js";
import { identifyProcess } from "../../src/process-identity.js";
import { endProcess, pollUntil } from "../../src/server/embedded/server-process.js";

export interface Ended { readonly code: number; readonly stdout: string; readonly stderr: string }
export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly input?: string;
  readonly cwd?: string;
}
export interface Running {
  readonly process: ChildProcess;
  stdout(): string;
  stderr(): string;
  readonly ended: Promise<Ended>;
}

/** A new folder of this test's own. */
export function newFolder(name = "cli-"): string {
  return mkdtempSync(join(inject("runFolder"), name));
}

/** Starts `trainyard …` with an environment that holds nothing of ours. */
export async function startCli(args: readonly string[], options: RunOptions = {}): Promise<Running> {
  const program = await builtCli();
  const child = spawn(process.execPath, [program, ...args], { cwd: options.cwd ?? newFolder(), env: { PATH: process.env["PATH"]!, HOME: newFolder(), ...options.env }, stdio: "pipe" });
  let stdout = "", stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  child.stdin.on("error", () => undefined);
  child.stdin.end(options.input ?? "");
  const ended = new Promise<Ended>((resolve) => child.once("close", (code, signal) => resolve({ code: code ?? (signal === null ? -1 : 128), stdout, stderr })));
  return { process: child, stdout: () => stdout, stderr: () => stderr, ended };
}

/** Runs it to its end. */
export async function cli(args: readonly string[], options: RunOptions = {}): Promise<Ended> {
  return (await startCli(args, options)).ended;
}

export interface Up extends Running {
  readonly dataDir: string;
  readonly url: string;
  readonly wsUrl: string;
  readonly token: string;
  /** `trainyard …` against this server. */
  cli(...args: string[]): Promise<Ended>;
  start(...args: string[]): Promise<Running>;
  /** SIGTERM, and waits. */
  stop(): Promise<Ended>;
}

export interface UpGiven {
  readonly dataDir?: string;
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** When whatever is left of it is ended: with the test unless told otherwise. */
  readonly atEnd?: (end: () => Promise<void>) => void;
}

/** `trainyard up --json` in a directory (a new one by default), when it is ready. */
export async function startUp(options: UpGiven = {}): Promise<Up> {
  const dataDir = options.dataDir ?? newFolder("up-");
  (options.atEnd ?? onTestFinished)(() => endAllOf(dataDir));
  const running = await startCli(["up", "--data-dir", dataDir, "--port", "0", "--json", ...(options.args ?? [])], { env: { TRAINYARD_LOG_LEVEL: "warn", ...options.env } });
  let over = false;
  void running.ended.then(() => (over = true));
  await pollUntil(() => over || running.stdout().includes("\n"), 30_000);
  if (over || running.stdout() === "") throw new Error(`up did not become ready:\n${running.stderr()}\n${logsOf(dataDir)}`);
  const { url, wsUrl, token } = JSON.parse(running.stdout()) as { url: string; wsUrl: string; token: string };
  const env = { TRAINYARD_URL: url, TRAINYARD_TOKEN: token };
  return {
    ...running, dataDir, url, wsUrl, token,
    cli: (...args) => cli(args, { env }),
    start: (...args) => startCli(args, { env }),
    async stop() {
      running.process.kill("SIGTERM");
      return running.ended;
    },
  };
}

/** Every process of a data directory: `up` or `demo`, its children, the stores, and programs of stages. */
export function processesOf(dataDir: string): number[] {
  const ours = commandLines().filter(([, args]) => /(trainyard\.mjs (up|demo|server)|dist\/cli\/main\.js (server|agent|ssh-agents)) /.test(args) && `${args} `.includes(` ${dataDir} `)).map(([pid]) => pid);
  return [...new Set([...ours, ...processesBelow(dataDir)])].filter((pid) => identifyProcess(pid) !== null);
}

function commandLines(): [pid: number, args: string][] {
  if (process.platform !== "linux") {
    return execFileSync("ps", ["-axo", "pid=,args="], { encoding: "utf8" }).split("\n").map((line) => /^ *(\d+) (.*)$/.exec(line)).flatMap((match) => (match === null ? [] : [[Number(match[1]), match[2]!]]));
  }
  return readdirSync("/proc").filter((name) => /^\d+$/.test(name)).flatMap((pid) => {
    try {
      return [[Number(pid), readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ").trim()]];
    } catch {
      return []; // gone since the look
    }
  });
}

/** kill -9, all at once, and waits until they are gone. */
export async function killAllOf(dataDir: string): Promise<void> {
  await killAll(() => processesOf(dataDir));
}

async function endAllOf(dataDir: string): Promise<void> {
  await pollUntil(async () => {
    const left = processesOf(dataDir).map(identifyProcess).filter((identity) => identity !== null);
    await Promise.all(left.map((identity) => endProcess(identity, [{ signal: "SIGKILL", patienceMs: 5_000 }])));
    return left.length === 0;
  }, 10_000);
}

function logsOf(dataDir: string): string {
  return ["server", "agent"].map((name) => join(dataDir, "logs", `${name}.log`)).filter((file) => existsSync(file)).map((file) => `${file}:\n${readFileSync(file, "utf8").slice(-3_000)}`).join("\n");
}
