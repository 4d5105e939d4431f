// torchrun: one process per rank, each in a session of its own.
//   T1. One rank that fails takes the others with it; SIGTERM or SIGINT takes all; the exit code is 1 in both cases.
//   T2. SIGKILL reaches this process only: the ranks live on and go on training.

import { spawn, type ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { TorchrunWords } from "./invocation.js";
import type { MeetingPlace } from "./rank-group.js";
import type { TrainerHost } from "./trainer-host.js";

/** Variable that tells ranks of one host where they meet. */
export const SOCKET_VARIABLE = "TRAINYARD_SIMULATION_SOCKET";
/** Between closing signal and SIGKILL, in milliseconds; torch's. */
const CLOSING_MS = 30_000;

interface Rank { readonly process: ChildProcess; readonly local: number; readonly ended: Promise<void>; code: number | null; signal: NodeJS.Signals | null }

/** Resolves with the exit code. */
export async function runTorchrun(words: TorchrunWords, host: TrainerHost): Promise<number> {
  const folder = words.port === null ? mkdtempSync(join(tmpdir(), "ty-sim-")) : null;
  if (words.ranksPerNode > 1) host.progress(`\n${"*".repeat(41)}\nSetting OMP_NUM_THREADS environment variable for each process to be 1 in default, to avoid your system being overloaded, please further tune the variable for optimal performance in your application as needed. \n${"*".repeat(41)}\n`);
  let stopped: NodeJS.Signals | null = null;
  let stop: () => void = () => undefined;
  const stopping = new Promise<void>((done) => { stop = done; });
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    process.on(signal, () => {
      if (host.scenario.deaf) return;
      stopped ??= signal;
      stop();
    });
  }
  const ranks = Array.from({ length: words.ranksPerNode }, (_, local) => startRank(words, local, folder, host));
  const failed = new Promise<Rank>((found) => { for (const rank of ranks) void rank.ended.then(() => { if (rank.code !== 0) found(rank); }); });
  const first = await Promise.race([stopping.then(() => "stopped" as const), failed, Promise.all(ranks.map(({ ended }) => ended)).then(() => null)]);
  if (first !== null) await close(ranks, host);
  if (folder !== null) rmSync(folder, { recursive: true, force: true });
  if (first === "stopped" || stopped !== null) {
    host.progress(`Traceback (most recent call last):\n  File "torch/distributed/elastic/multiprocessing/api.py", line 86, in _terminate_process_handler\ntorch.distributed.elastic.multiprocessing.api.SignalException: Process ${process.pid} got signal: ${stopped === "SIGINT" ? 2 : 15}\n`);
    return 1;
  }
  if (first === null) return 0;
  host.progress(failureBlock(words, ranks, first));
  return 1;
}

function startRank(words: TorchrunWords, local: number, folder: string | null, host: TrainerHost): Rank {
  const child = spawn(process.execPath, [...host.self, "-u", "-m", words.module, ...words.rest], {
    stdio: ["ignore", "inherit", "inherit"], detached: true,
    env: {
      ...host.environment, RANK: String(words.nodeRank * words.ranksPerNode + local), LOCAL_RANK: String(local), WORLD_SIZE: String(words.nodes * words.ranksPerNode), LOCAL_WORLD_SIZE: String(words.ranksPerNode), GROUP_RANK: String(words.nodeRank),
      MASTER_ADDR: words.address ?? "localhost", MASTER_PORT: String(words.port ?? 0), ...(folder === null ? {} : { [SOCKET_VARIABLE]: join(folder, "s") }),
    },
  });
  let done: () => void = () => undefined;
  const rank: Rank = { process: child, local, code: null, signal: null, ended: new Promise((resolve) => { done = resolve; }) };
  child.once("error", () => { rank.code = 127; done(); }).once("exit", (code, signal) => { rank.code = code; rank.signal = signal; done(); });
  return rank;
}

async function close(ranks: readonly Rank[], host: TrainerHost): Promise<void> {
  const living = ranks.filter(({ code, signal }) => code === null && signal === null);
  for (const { process: child } of living) {
    host.progress(`W torch/distributed/elastic/multiprocessing/api.py:1028] Sending process ${child.pid ?? 0} closing signal SIGTERM\n`);
    child.kill("SIGTERM");
  }
  const gone = Promise.all(living.map(({ ended }) => ended)).then(() => true);
  if (!(await Promise.race([gone, delay(CLOSING_MS, false, { ref: false })]))) for (const { process: child } of living) child.kill("SIGKILL");
  await gone;
}

const SIGNAL_NUMBERS: Readonly<Partial<Record<NodeJS.Signals, number>>> = { SIGINT: 2, SIGABRT: 6, SIGKILL: 9, SIGTERM: 15 };

function failureBlock(words: TorchrunWords, ranks: readonly Rank[], first: Rank): string {
  const entry = (rank: Rank, index: number): string => {
    const number = rank.signal === null ? null : (SIGNAL_NUMBERS[rank.signal] ?? 1);
    return `[${index}]:\n  rank      : ${words.nodeRank * words.ranksPerNode + rank.local} (local_rank: ${rank.local})\n  exitcode  : ${number === null ? rank.code : -number} (pid: ${rank.process.pid ?? 0})${rank.signal === null ? "" : `  (${rank.signal})`}\n  error_file: <N/A>\n  traceback : ${number === null ? "To enable traceback see: https://pytorch.org/docs/stable/elastic/errors.html" : `Signal ${number} (${rank.signal!}) received by PID ${rank.process.pid ?? 0}`}\n`;
  };
  const others = ranks.filter((rank) => rank !== first && rank.code !== 0);
  const bar = "=".repeat(60);
  const line = "-".repeat(60);
  return `E torch/distributed/elastic/multiprocessing/api.py:1002] failed (exitcode: ${first.signal === null ? first.code : -(SIGNAL_NUMBERS[first.signal] ?? 1)}) local_rank: ${first.local} (pid: ${first.process.pid ?? 0}) of binary: python3\n`
    + `Traceback (most recent call last):\n  File "torch/distributed/launcher/api.py", line 383, in launch_agent\ntorch.distributed.elastic.multiprocessing.errors.ChildFailedError: \n${bar}\n${words.module} FAILED\n${line}\nFailures:\n${others.length === 0 ? "  <NO_OTHER_FAILURES>\n" : others.map((rank, index) => entry(rank, index + 1)).join("")}${line}\nRoot Cause (first observed failure):\n${entry(first, 0)}${bar}\n`;
}

/** Where the ranks of this environment meet. */
export function meetingPlaceOf(environment: Readonly<Record<string, string | undefined>>): MeetingPlace {
  const path = environment[SOCKET_VARIABLE];
  return path !== undefined ? { path } : { host: environment["MASTER_ADDR"] ?? "127.0.0.1", port: Number(environment["MASTER_PORT"] ?? 29_500) };
}
