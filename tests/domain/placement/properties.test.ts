import fc from "fast-check";
import { expect, test } from "vitest";
import { explain, MAX_REASONS } from "../../../src/domain/placement/explain.js";
import type { Placement, WaitingStage } from "../../../src/domain/placement/facts.js";
import { Fleet } from "../../../src/domain/placement/fleet.js";
import { place } from "../../../src/domain/placement/place.js";
import { change, inOrder, nodesOf, poolOf, Reference } from "./reference.js";
import { anyHistory, STAGES, stageId } from "./worlds.js";

const RESERVE_AFTER_MS = 40;

interface Passed { readonly fleet: Fleet; readonly reference: Reference; readonly before: { readonly waiting: ReadonlyMap<string, WaitingStage>; readonly held: Reference["held"] }; readonly placements: readonly Placement[] }

/** Runs random histories and checks after each pass, or after each change; the reference mirrors every change. */
function inEveryHistory(checks: { afterPass?: (passed: Passed) => void; afterChange?: (fleet: Fleet, reference: Reference) => void }, numRuns = 300): void {
  fc.assert(fc.property(anyHistory, (history) => {
    const fleet = new Fleet({ reserveAfterMs: RESERVE_AFTER_MS });
    const reference = new Reference(RESERVE_AFTER_MS);
    history.forEach((what, nth) => {
      const before = { waiting: new Map(reference.waiting), held: [...reference.held] };
      const placed = change(fleet, reference, what, nth);
      if (placed !== null) checks.afterPass?.({ fleet, reference, before, placements: placed.fast });
      checks.afterChange?.(fleet, reference);
      if (placed !== null) expect(placed.fast).toEqual(placed.slow);
    });
  }), { numRuns });
}

test("the incremental scheduler does what the slow and obvious one does, whatever happens", { timeout: 60_000 }, () => {
  inEveryHistory({ afterChange: (fleet, reference) => expect(fleet.waitingCount).toBe(reference.waiting.size) }, 2_000);
});

test("what a pass places never takes a slot or a GPU that is taken", () => {
  inEveryHistory({
    afterPass: ({ reference, before, placements }) => {
      const after = [...before.held, ...placements.flatMap((placement) => placement.members.map((member) => ({ agentId: member.agentId, queue: before.waiting.get(placement.stageId)!.queue, gpus: member.gpus })))];
      for (const member of placements.flatMap((placement) => placement.members.map((one) => ({ ...one, queue: before.waiting.get(placement.stageId)!.queue })))) {
        const pool = poolOf(reference.agents.get(member.agentId)!, member.queue)!;
        expect(after.filter((one) => one.agentId === member.agentId && pool.queues.includes(one.queue)).length).toBeLessThanOrEqual(pool.concurrency);
        for (const gpu of member.gpus) expect(after.filter((one) => one.agentId === member.agentId && one.gpus.includes(gpu))).toHaveLength(1);
      }
    },
  });
});

test("no stage is placed before its time, while paused, or on an agent that lacks what it needs", () => {
  inEveryHistory({
    afterPass: ({ reference, before, placements }) => {
      for (const placement of placements) {
        const stage = before.waiting.get(placement.stageId)!;
        expect(stage.paused).toBe(false);
        expect(stage.notBefore ?? 0).toBeLessThanOrEqual(reference.now);
        for (const member of placement.members) {
          const agent = reference.agents.get(member.agentId)!;
          expect(agent.status).toBe("ONLINE");
          expect(agent.capabilities).toContain(stage.capability);
          for (const [name, value] of Object.entries(stage.resources.labels ?? {})) expect(String(agent.labels[name])).toBe(String(value));
          expect(member.gpus).toHaveLength(stage.resources.gpus);
          for (const index of member.gpus) {
            const gpu = agent.gpus.find((one) => one.index === index)!;
            expect(gpu.strangers).toBe(0);
            expect(gpu.model.toLowerCase()).toContain((stage.resources.gpuModel ?? "").toLowerCase());
            expect(gpu.memoryTotalMiB - (gpu.memoryUsedMiB ?? 0)).toBeGreaterThanOrEqual(stage.resources.gpuMemoryMiB ?? 0);
          }
        }
      }
    },
  });
});

test("a stage over several agents gets all of them at once, different ones, pinned ones in their order", () => {
  inEveryHistory({
    afterPass: ({ before, placements }) => {
      expect(new Set(placements.map((placement) => placement.stageId)).size).toBe(placements.length);
      for (const placement of placements) {
        const stage = before.waiting.get(placement.stageId)!;
        expect(new Set(placement.members.map((member) => member.agentId)).size).toBe(nodesOf(stage));
        expect(placement.members.map((member) => member.rank)).toEqual(Array.from({ length: nodesOf(stage) }, (_, rank) => rank));
        if (stage.pinnedTo !== null && stage.pinnedTo.length > 0) expect(placement.members.map((member) => member.agentId)).toEqual(stage.pinnedTo);
      }
    },
  });
});

test("after a pass no waiting stage could be placed, but on agents kept free for one that goes before it", () => {
  inEveryHistory({
    afterPass: ({ fleet, reference }) => {
      const claims = reference.claims();
      for (const stage of reference.ready()) expect(reference.members(stage, claims)).toBeNull();
      expect(place(fleet, reference.now)).toEqual([]);
    },
  });
});

test("among stages that ask the same, one placed goes before every one left waiting", () => {
  const needs = (stage: WaitingStage) => JSON.stringify([stage.queue, stage.capability, stage.resources, stage.pinnedTo]);
  inEveryHistory({
    afterPass: ({ reference, before, placements }) => {
      for (const placement of placements) {
        const stage = before.waiting.get(placement.stageId)!;
        for (const left of reference.ready()) if (needs(left) === needs(stage)) expect(inOrder(stage, left)).toBeLessThan(0);
      }
    },
  });
});

test("there are reasons exactly for stages that wait, and never more than fit a page", () => {
  inEveryHistory({
    afterChange: (fleet, reference) => {
      for (let id = 0; id < STAGES; id++) {
        const reasons = explain(fleet, stageId(id), reference.now);
        expect(reasons.length > 0).toBe(reference.waiting.has(stageId(id)));
        expect(reasons.length).toBeLessThanOrEqual(MAX_REASONS);
        expect(new Set(reasons).size).toBe(reasons.length);
      }
    },
  }, 80);
});

test("reasons do not depend on what was asked before", () => {
  fc.assert(fc.property(anyHistory, (history) => {
    const [asked, silent] = [false, true].map((quiet) => {
      const fleet = new Fleet({ reserveAfterMs: RESERVE_AFTER_MS });
      const reference = new Reference(RESERVE_AFTER_MS);
      const all = () => [...reference.waiting.keys()].map((id) => explain(fleet, id, reference.now));
      history.forEach((what, nth) => {
        change(fleet, reference, what, nth);
        if (!quiet) all();
      });
      return all();
    });
    expect(asked).toEqual(silent);
  }), { numRuns: 100 });
});
