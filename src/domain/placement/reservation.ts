// Reservation: a stage that needs several things at once is not kept waiting for ever by small ones that take each thing as it comes free.
//   R1. In each queue at most one stage claims: the first, by the usual order, of those that need GPUs or several agents, have waited `reserveAfterMs`, do
//       not fit now, and would fit an idle fleet (on ONLINE agents). What can never run claims nothing.
//   R2. It claims as many agents as it needs and no more: those with the least to come free (then by name). The rest of the fleet works on.
//   R3. A claimed agent takes no stage that goes after the claimant, in the pool of the claimant's queue. Other pools, its GPUs included, are never held
//       back: short work does not wait behind training.
//   R4. Claims are chosen anew before every round of a pass. A switch only ever goes to agents with less (or, by name, as much) to come free, so the wait
//       ends when what ran on the claimed agents has ended, unless stages that go before it, or other pools, take their place.

import type { AgentRecord } from "./agent-record.js";
import { nameGoesBefore, type Candidate, type StageClass, type Waiter } from "./candidate.js";
import { goesBefore, type WaitingStage } from "./facts.js";

/** A wait after which agents are kept free, in milliseconds. Long enough that ordinary gaps between stages fill up first. */
export const DEFAULT_RESERVE_AFTER_MS = 60_000;

export interface Claim {
  readonly waiter: Waiter;
  readonly agents: readonly AgentRecord[];
}

/** One queue: its classes and its claim. */
export interface QueueRecord {
  readonly name: string;
  readonly classes: Set<StageClass>;
  claim: Claim | null;
}

/** The claim that a queue has by R1 and R2, and when that may next change by time alone (milliseconds since 1970, Infinity: never). */
export function chooseClaim(queue: QueueRecord, now: number, reserveAfterMs: number): { claim: Claim | null; nextAt: number } {
  let first: Waiter | null = null;
  let nextAt = Infinity;
  for (const one of queue.classes) {
    if (!one.mayClaim || one.head === null || one.fitting >= one.requirement.nodes || one.capable < one.requirement.nodes) continue;
    const claimsAt = waitsSince(one.head.stage) + reserveAfterMs;
    if (claimsAt > now) nextAt = Math.min(nextAt, claimsAt);
    else if (first === null || goesBefore(one.head.stage, first.stage)) first = one.head;
  }
  return { claim: first === null ? null : { waiter: first, agents: nearestAgents(first.class) }, nextAt };
}

export function sameClaim(a: Claim | null, b: Claim | null): boolean {
  if (a === null || b === null) return a === b;
  return a.waiter === b.waiter && a.agents.length === b.agents.length && a.agents.every((agent, i) => agent === b.agents[i]);
}

/** Since when the stage could have run; milliseconds since 1970. */
export function waitsSince(stage: WaitingStage): number {
  return Math.max(stage.queuedAt, stage.notBefore ?? 0);
}

/** The agents of R2, best first: one scan that keeps the best so far. */
function nearestAgents(stageClass: StageClass): AgentRecord[] {
  const wanted = stageClass.requirement.nodes;
  const best: Candidate[] = [];
  for (const candidate of stageClass.candidates) {
    if (!candidate.capable || (best.length === wanted && !isNearer(candidate, best[wanted - 1]!))) continue;
    let at = best.length === wanted ? wanted - 1 : best.length;
    for (; at > 0 && isNearer(candidate, best[at - 1]!); at--) best[at] = best[at - 1]!;
    best[at] = candidate;
  }
  return best.map((candidate) => candidate.agent);
}

function isNearer(a: Candidate, b: Candidate): boolean {
  return a.missing !== b.missing ? a.missing < b.missing : nameGoesBefore(a.agent, b.agent);
}
