// Ends a program with everything it started: TERM to all of it, a grace, KILL for what is left, and a look that nothing is.
//   E1. Members are recorded before the first signal: a child whose parent dies is still found.
//   E2. Members that appear while we stop are found by another look before KILL and after it.

import { setTimeout as delay } from "node:timers/promises";
import { isAlive, type ProcessIdentity } from "../../process-identity.js";
import { programMembers, signalProcess } from "./process-table.js";

/** Interval of looking whether the members are gone, in milliseconds. */
const LOOK_MS = 25;
/** Longest time we insist after KILL, in milliseconds: a process in an uninterruptible wait ends when its device lets it. */
const INSIST_MS = 10_000;

export interface StopTarget {
  readonly launcher: ProcessIdentity;
  /** NAME=value in the environment of all that belongs to it. */
  readonly mark: string;
}

/** Resolves with the processes that could not be ended, normally none. */
export async function stopProgram(target: StopTarget, graceMs: number): Promise<ProcessIdentity[]> {
  let members = programMembers(target.launcher, target.mark); // E1
  for (const member of members) signalProcess(member, "SIGTERM");
  const termUntil = performance.now() + graceMs;
  while (members.some(isAlive) && performance.now() < termUntil) await delay(Math.min(LOOK_MS, Math.max(1, termUntil - performance.now())));

  const killUntil = performance.now() + INSIST_MS;
  for (;;) {
    members = programMembers(target.launcher, target.mark, members).filter(isAlive); // E2
    if (members.length === 0 || performance.now() > killUntil) return members;
    for (const member of members) signalProcess(member, "SIGKILL");
    await delay(LOOK_MS);
  }
}
