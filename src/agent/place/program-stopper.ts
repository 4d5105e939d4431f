// Ends a program with everything it started: TERM to all of it, or first one signal to the program itself; a grace; KILL for what is left, and a look that nothing is.
//   E1. Members are recorded before the first signal: a child whose parent dies is still found.
//   E2. Members that appear while we stop are found by another look before KILL and after it.
//   E3. A program that ends its own children in order (torchrun its ranks, main_ppo its cluster) gets its signal alone; what outlives it by LINGER_MS is not waited for.

import { setTimeout as delay } from "node:timers/promises";
import { isAlive, type ProcessIdentity } from "../../process-identity.js";
import type { ProgramTarget } from "./place.js";
import { programMembers, signalProcess, type ProcessRow } from "./process-table.js";

/** Interval of looking whether the members are gone, in milliseconds. */
const LOOK_MS = 25;
/** How long the children of a program may outlive it when it was to end them, in milliseconds: a Ray cluster takes about six seconds. */
const LINGER_MS = 10_000;
/** Longest time we insist after KILL, in milliseconds: a process in an uninterruptible wait ends when its device lets it. */
const INSIST_MS = 10_000;

/** Resolves with the processes that could not be ended, normally none. */
export async function stopProgram(target: ProgramTarget, graceMs: number): Promise<ProcessIdentity[]> {
  let members: ProcessRow[] = programMembers(target.launcher, target.mark, target.known); // E1
  const first = target.first ?? null;
  const main = first === null ? [] : members.filter(({ parent }) => parent === target.launcher.pid);
  if (main.length === 0) for (const member of members) signalProcess(member, "SIGTERM");
  else for (const member of main) signalProcess(member, first as NodeJS.Signals);
  const graceUntil = performance.now() + graceMs;
  let lingerUntil = Number.POSITIVE_INFINITY;
  while (members.some(isAlive) && performance.now() < Math.min(graceUntil, lingerUntil)) {
    await delay(Math.min(LOOK_MS, Math.max(1, graceUntil - performance.now())));
    if (main.length > 0 && lingerUntil === Number.POSITIVE_INFINITY && !main.some(isAlive)) lingerUntil = performance.now() + LINGER_MS;
  }

  const killUntil = performance.now() + INSIST_MS;
  for (;;) {
    members = programMembers(target.launcher, target.mark, members).filter(isAlive); // E2
    if (members.length === 0 || performance.now() > killUntil) return members;
    for (const member of members) signalProcess(member, "SIGKILL");
    await delay(LOOK_MS);
  }
}
