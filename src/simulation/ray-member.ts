// A member of a run over a Ray cluster of its own, as the stand-in has it (src/verl/python/ray_member.py): there is no cluster, the head plays the trainer of all, the others wait for its end.
//   M1. The head tells how the trainer ended in a file that all members see.

import { spawn, type ChildProcess } from "node:child_process";
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { constants } from "node:os";
import { setTimeout as delay } from "node:timers/promises";
import type { RayOrders } from "../verl/ray-orders.js";

const LOOK_MS = 300;
/** How long a member waits to be stopped when the trainer has failed, in milliseconds: the head's report shall be the first. */
const AFTER_FAILURE_MS = 60_000;

/** Resolves with the exit code. `ordersFile`: of the member. */
export async function runRayMember(ordersFile: string, progress: (text: string) => void): Promise<number> {
  const orders = JSON.parse(readFileSync(ordersFile, "utf8")) as RayOrders;
  let trainer: ChildProcess | null = null;
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, () => {
      if (trainer === null) process.exit(128 + constants.signals[signal]);
      trainer.kill("SIGINT"); // main_ppo ends in order on INT
    });
  }
  if (orders.rank > 0) return waitForEnd(orders, progress);
  const [file, ...words] = orders.trainer;
  const status = await new Promise<number>((resolve, reject) => {
    trainer = spawn(file!, words, { stdio: ["ignore", "inherit", "inherit"] });
    trainer.once("error", reject);
    trainer.once("exit", (code, signal) => resolve(code ?? 128 + constants.signals[signal!]));
  });
  writeFileSync(`${orders.endFile}.new`, JSON.stringify({ attemptId: orders.attemptId, status }));
  renameSync(`${orders.endFile}.new`, orders.endFile); // M1
  return status;
}

async function waitForEnd({ endFile, attemptId }: RayOrders, progress: (text: string) => void): Promise<number> {
  for (; ; await delay(LOOK_MS)) {
    const status = readEnd(endFile, attemptId);
    if (status === null) continue;
    if (status === 0) return 0;
    progress(`[ray] the trainer ended on the head with status ${status}\n`);
    await delay(AFTER_FAILURE_MS);
    return 1;
  }
}

function readEnd(file: string, attemptId: string): number | null {
  try {
    const told = JSON.parse(readFileSync(file, "utf8")) as { attemptId: string; status: number };
    return told.attemptId === attemptId ? told.status : null;
  } catch {
    return null; // not there yet
  }
}
