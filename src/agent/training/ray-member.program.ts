// One member of a training over a Ray cluster of its own: brings its part of the cluster up, and, as the head, runs the trainer on it. Argument: a file with its
// orders (RayOrders).
//   R1. The cluster lives and dies with this program: whatever ends it takes Ray down first, and the agent ends what that leaves. `ray stop` is never used: it
//       would stop the clusters of other attempts on the host.
//   R2. The trainer starts when every GPU of every member is there.
//   R3. The head tells how the trainer ended in a file that all members see; a member that loses its head without that has failed.

import { spawn, type ChildProcess } from "node:child_process";
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { constants } from "node:os";
import { connect } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import type { RayOrders } from "./ray-orders.js";

const LOOK_MS = 300;
/** How long a part of the cluster may take to end after its signal, in milliseconds; the agent kills what stays. */
const RAY_END_MS = 8_000;
/** How long a member waits to be stopped when the trainer has failed: the head's report shall be the first, in milliseconds. */
const AFTER_FAILURE_MS = 60_000;

const orders = JSON.parse(readFileSync(process.argv.at(-1)!, "utf8")) as RayOrders;
const say = (text: string): void => void process.stderr.write(`[ray] ${text}\n`);
let trainer: ChildProcess | null = null;
let ray: ChildProcess | null = null;
let stopped: NodeJS.Signals | null = null;

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, () => {
    if (stopped !== null) return;
    stopped = signal;
    if (trainer !== null) trainer.kill("SIGINT"); // main_ppo ends in order on INT
    else void leave(128 + constants.signals[signal]);
  });
}

const status = await (orders.rank === 0 ? head() : member()).catch((error: unknown) => {
  say(`failed: ${(error as Error).message}`);
  return 1;
});
await leave(status);

async function head(): Promise<number> {
  if (orders.cluster) await bringUp();
  const code = await run(orders.trainer, orders.cluster ? { RAY_ADDRESS: `${orders.address}:${orders.port}` } : {}, (child) => { trainer = child; });
  writeFileSync(`${orders.endFile}.new`, JSON.stringify({ attemptId: orders.attemptId, status: code }));
  renameSync(`${orders.endFile}.new`, orders.endFile); // R3
  return code;
}

async function bringUp(): Promise<void> {
  startRay(["--head", `--node-ip-address=${orders.address}`, `--port=${orders.port}`, "--include-dashboard=false", `--temp-dir=${orders.temporaryFolder}`]);
  await everyGpu();
  say(`${orders.gpusInAll} GPUs of ${orders.nodes} nodes are there; the trainer starts`);
}

async function member(): Promise<number> {
  if (orders.cluster) await join();
  for (;;) {
    const ended = readEnd();
    if (ended === 0) return 0;
    if (ended !== null) {
      say(`the trainer ended on the head with status ${ended}`);
      await delay(AFTER_FAILURE_MS);
      return 1;
    }
    if (orders.cluster && (ray === null || ray.exitCode !== null || ray.signalCode !== null)) {
      await delay(2_000); // the head may have ended well a moment ago
      if (readEnd() !== null) continue;
      throw new Error("this member's part of the cluster has ended: the head is gone, or cannot be reached");
    }
    await delay(LOOK_MS);
  }
}

async function join(): Promise<void> {
  for (const until = performance.now() + orders.patienceMs; !(await isOpen(orders.address, orders.port)); await delay(LOOK_MS)) {
    if (performance.now() > until) throw new Error(`nobody answers at ${orders.address}:${orders.port}, where the head brings Ray up`);
  }
  startRay([`--address=${orders.address}:${orders.port}`]);
}

function startRay(how: readonly string[]): void {
  const [file, ...words] = [...orders.python, "-m", "ray.scripts.scripts", "start", ...how, `--num-gpus=${orders.gpus}`, `--num-cpus=${orders.cpus}`, "--disable-usage-stats", "--dashboard-agent-listen-port=0", "--block"];
  say(`starting ${how.join(" ")} with ${orders.gpus} GPUs and ${orders.cpus} processors`);
  ray = spawn(file!, words, { stdio: ["ignore", 2, 2], detached: true }); // a group of its own: a signal to us is not one to it
  ray.once("error", (error) => say(`Ray cannot be started: ${error.message}`));
}

/** R2. */
async function everyGpu(): Promise<void> {
  const code = await run([...orders.python, orders.awaitProgram, `${orders.address}:${orders.port}`, String(orders.gpusInAll), String(orders.nodes), String(Math.round(orders.patienceMs / 1_000))], {}, () => undefined);
  if (code !== 0) throw new Error("the cluster did not become complete");
}

function run([file, ...words]: readonly string[], more: Readonly<Record<string, string>>, started: (child: ChildProcess) => void): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(file!, words, { stdio: ["ignore", "inherit", "inherit"], env: { ...process.env, ...more } });
    started(child);
    child.once("error", reject);
    child.once("exit", (code, signal) => resolve(code ?? 128 + constants.signals[signal!]));
  });
}

/** R1. */
async function leave(code: number): Promise<never> {
  if (ray?.pid !== undefined && ray.exitCode === null && ray.signalCode === null) {
    const gone = new Promise<void>((resolve) => ray!.once("exit", () => resolve()));
    ray.kill("SIGTERM");
    await Promise.race([gone, delay(RAY_END_MS)]);
  }
  process.exit(code);
}

function readEnd(): number | null {
  try {
    const { attemptId, status: ended } = JSON.parse(readFileSync(orders.endFile, "utf8")) as { attemptId: string; status: number };
    return attemptId === orders.attemptId ? ended : null;
  } catch {
    return null; // not there yet
  }
}

function isOpen(address: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: address, port, timeout: 2_000 });
    const answer = (open: boolean) => {
      socket.destroy();
      resolve(open);
    };
    socket.once("connect", () => answer(true)).once("error", () => answer(false)).once("timeout", () => answer(false));
  });
}
