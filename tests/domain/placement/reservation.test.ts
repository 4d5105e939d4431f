import fc from "fast-check";
import { expect, test } from "vitest";
import { explain } from "../../../src/domain/placement/explain.js";
import type { WaitingStage } from "../../../src/domain/placement/facts.js";
import { Fleet } from "../../../src/domain/placement/fleet.js";
import { place } from "../../../src/domain/placement/place.js";
import { agent, assignment, attemptId, gpus, stageId, waiting } from "./worlds.js";

const POOL = { queues: ["training"], concurrency: 4 };

/** A fleet in which small stages never run out: each placed one is followed by another and runs its time. The tick at which `big` is placed, or null. */
function placedAmidFlood(world: { agents: { slots: number; gpus: number }[]; big: WaitingStage; small: { gpus: number; ticks: number }[]; reserveAfterMs: number; until: number }): number | null {
  const fleet = new Fleet({ reserveAfterMs: world.reserveAfterMs });
  world.agents.forEach((one, n) => fleet.upsertAgent(agent(`a${n}`, { pools: [{ ...POOL, concurrency: one.slots }], gpus: gpus(one.gpus) })));
  const ends = new Map<number, WaitingStage["stageId"][]>();
  const ticksOf = new Map<WaitingStage["stageId"], number>();
  let made = 0;
  const flood = (now: number) => {
    while (fleet.waitingCount < 30) {
      const kind = world.small[made % world.small.length]!;
      const small = waiting(`small-${String(made++).padStart(6, "0")}`, { queuedAt: now, resources: { gpus: kind.gpus } });
      ticksOf.set(small.stageId, kind.ticks);
      fleet.addWaiting(small);
    }
  };
  const pass = (now: number): boolean => {
    for (const id of ends.get(now) ?? []) fleet.release(attemptId(id));
    flood(now);
    const placements = place(fleet, now);
    for (const { stageId: id } of placements) {
      fleet.confirm(id, attemptId(id));
      const end = now + (ticksOf.get(id) ?? 1);
      ends.set(end, [...(ends.get(end) ?? []), id]);
    }
    return placements.some((placement) => placement.stageId === world.big.stageId);
  };
  // Full before the big stage comes; the small ones start at different times and so never end together.
  for (let now = 0; now < 10; now++) pass(now);
  fleet.addWaiting({ ...world.big, queuedAt: 10 });
  for (let now = 10; now < world.until; now++) if (pass(now)) return now;
  return null;
}

test("without reservation a stage for a whole agent starves behind small ones, with it the stage runs", () => {
  const world = { agents: [{ slots: 4, gpus: 4 }], big: waiting("big", { resources: { gpus: 4 } }), small: [{ gpus: 1, ticks: 3 }, { gpus: 1, ticks: 4 }, { gpus: 1, ticks: 5 }, { gpus: 1, ticks: 6 }], until: 500 };
  expect(placedAmidFlood({ ...world, reserveAfterMs: Infinity })).toBeNull();
  expect(placedAmidFlood({ ...world, reserveAfterMs: 50 })).toBeLessThanOrEqual(10 + 50 + 6);
});

test("every stage that an idle fleet could run is placed, however many small ones keep coming", () => {
  const world = fc.record({
    agents: fc.array(fc.record({ slots: fc.integer({ min: 1, max: 4 }), gpus: fc.integer({ min: 0, max: 4 }) }), { minLength: 1, maxLength: 4 }),
    small: fc.array(fc.record({ gpus: fc.integer({ min: 0, max: 2 }), ticks: fc.integer({ min: 1, max: 9 }) }), { minLength: 1, maxLength: 4 }),
    need: fc.record({ gpus: fc.integer({ min: 0, max: 4 }), nodes: fc.integer({ min: 1, max: 3 }) }),
  }).filter(({ agents, need }) => agents.filter((one) => one.gpus >= need.gpus).length >= need.nodes);
  fc.assert(fc.property(world, ({ agents, small, need }) => {
    // 30 older stages go first, 9 ticks each at most. Then all that holds a claimed agent ends within 9 ticks, and a claim moves only towards agents with less
    // to come free: at most 8 things on each.
    const bound = 10 + 20 + 30 * 9 + 9 * 8 * need.nodes * agents.length;
    expect(placedAmidFlood({ agents, small, big: waiting("big", { resources: need }), reserveAfterMs: 20, until: bound })).not.toBeNull();
  }), { numRuns: 300 });
});

test("agents kept free for training still take short work, and stages that go first", () => {
  const fleet = new Fleet({ reserveAfterMs: 0 });
  fleet.upsertAgent(agent("one", { pools: [{ queues: ["training"], concurrency: 2 }, { queues: ["default"], concurrency: 4 }], gpus: gpus(2) }));
  fleet.occupy(assignment(1, waiting("running"), "one", [0]));
  fleet.addWaiting(waiting("big", { queuedAt: 1, resources: { gpus: 2 } }));
  fleet.addWaiting(waiting("small", { queuedAt: 2, resources: { gpus: 1 } }));
  fleet.addWaiting(waiting("short", { queuedAt: 3, queue: "default", capability: "command", resources: { gpus: 1 } }));
  expect(place(fleet, 10).map((placement) => placement.stage)).toEqual(["sshort"]);
  expect(explain(fleet, stageId("small"), 10)).toContain("Behind 1 stage of higher priority or age in queue \"training\".");
  fleet.release(attemptId(1));
  fleet.addWaiting(waiting("urgent", { queuedAt: 9, priority: 5, resources: { gpus: 1 } }));
  expect(place(fleet, 11).map((placement) => placement.stage)).toEqual(["surgent"]);
});

test("a stage that could never run keeps nothing free", () => {
  const fleet = new Fleet({ reserveAfterMs: 0 });
  fleet.upsertAgent(agent("one", { gpus: gpus(2) }));
  fleet.addWaiting(waiting("huge", { resources: { gpus: 8 } }));
  fleet.addWaiting(waiting("gang", { queuedAt: 1, resources: { gpus: 1, nodes: 2 } }));
  fleet.addWaiting(waiting("small", { queuedAt: 2, resources: { gpus: 1 } }));
  expect(place(fleet, 10).map((placement) => placement.stage)).toEqual(["ssmall"]);
});

test("a reservation keeps as many agents free as the stage needs, not the whole fleet", () => {
  const fleet = new Fleet({ reserveAfterMs: 0 });
  for (const name of ["a", "b", "c", "d"]) fleet.upsertAgent(agent(name, { pools: [{ queues: ["training"], concurrency: 2 }], gpus: gpus(2) }));
  for (const name of ["a", "b", "c", "d"]) fleet.occupy(assignment(name, waiting(`on-${name}`), name, [0]));
  fleet.addWaiting(waiting("big", { queuedAt: 1, resources: { gpus: 2, nodes: 2 } }));
  for (const n of [1, 2, 3, 4]) fleet.addWaiting(waiting(`small${n}`, { queuedAt: 2, resources: { gpus: 1 } }));
  expect(place(fleet, 10).flatMap((placement) => placement.members.map((member) => member.agentName))).toEqual(["c", "d"]);
  expect(explain(fleet, stageId("small3"), 10)).toContain("Agent a and 1 more agent: kept free for stage \"sbig\" of pipeline pip_p, which goes first and needs several things at once.");
});
