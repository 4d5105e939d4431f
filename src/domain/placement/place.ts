// The pass: everything that can be placed now, in order.
//   P1. Order over the whole fleet: priority, then age, then id; a stage that cannot be placed lets later ones pass, within the limits of reservation.ts.
//   P2. A stage gets all its agents at once or none.
//   P3. After a pass nothing that waits could be placed: a second pass at the same time places nothing, and costs O(1).

import type { Fleet } from "./fleet.js";
import type { Placement } from "./facts.js";

/** Places what can be placed and occupies it. `now`: milliseconds since 1970; an earlier time than one seen before is taken as that one. */
export function place(fleet: Fleet, now: number): Placement[] {
  const placements: Placement[] = [];
  for (;;) {
    fleet.beginRound(now);
    const before = placements.length;
    for (let placement = fleet.placeFirst(); placement !== null; placement = fleet.placeFirst()) placements.push(placement);
    // What was placed may have moved a claim to other agents, and so freed some: look again.
    if (placements.length === before) return placements;
  }
}
