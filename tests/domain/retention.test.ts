import fc from "fast-check";
import { expect, test } from "vitest";
import type { CheckpointId, StageId } from "../../src/domain/ids.js";
import { bestFirst, byAge, checkpointsPastAge, checkpointsToDelete, DAY_MS, defaultMetric, isInUse, textsWithin, type CleanupPolicy, type KeptCheckpoint, type StageSituation } from "../../src/domain/retention.js";

const NOW = 100 * DAY_MS;
const STAGES = ["stg_a", "stg_b", "stg_c"] as StageId[];

const value = fc.oneof(fc.integer({ min: -5, max: 5 }), fc.constantFrom("NaN", "Infinity", "-Infinity"));
const checkpoint = fc.record({
  attempt: fc.integer({ min: 1, max: 3 }), step: fc.integer({ min: 0, max: 20 }), loss: fc.option(value), auxLoss: fc.option(value),
  pinned: fc.boolean(), ageDays: fc.integer({ min: 0, max: 50 }), stage: fc.constantFrom(...STAGES),
});
const checkpoints = fc.array(checkpoint, { maxLength: 25 }).map((rows) => rows.map((row, index): KeptCheckpoint => ({
  id: `ckp_${String(index).padStart(2, "0")}` as CheckpointId, stageId: row.stage, attempt: row.attempt, step: row.step, path: `/out/${index}`,
  metrics: { ...(row.loss === null ? {} : { loss: row.loss }), ...(row.auxLoss === null ? {} : { "aux/loss": row.auxLoss }) }, pinned: row.pinned, createdAt: NOW - row.ageDays * DAY_MS,
})));
const policy: fc.Arbitrary<CleanupPolicy> = fc.record({
  keepBest: fc.integer({ min: 0, max: 4 }), metric: fc.option(fc.constantFrom("loss", "absent"), { nil: undefined }), mode: fc.constantFrom("min", "max"),
  keepLast: fc.integer({ min: 0, max: 4 }), olderThanDays: fc.option(fc.integer({ min: 0, max: 40 }), { nil: undefined }),
});
const situation: fc.Arbitrary<StageSituation> = fc.record({ open: fc.boolean(), pathsInUse: fc.array(fc.integer({ min: 0, max: 25 })).map((some) => new Set(some.map((i) => `/out/${i}/`))), now: fc.constant(NOW) });

test("what a cleanup deletes is never pinned, young, in use, among the last, or among the best", () => {
  fc.assert(fc.property(checkpoints, policy, situation, (all, rules, at) => {
    const going = new Set(checkpointsToDelete(all, rules, at));
    const kept = new Set(all.filter(({ id }) => !going.has(id)).map(({ id }) => id));
    for (const c of all.filter(({ id }) => going.has(id))) {
      expect(c.pinned).toBe(false);
      expect(at.pathsInUse.has(`${c.path}/`)).toBe(false);
      if (rules.olderThanDays !== undefined) expect(NOW - c.createdAt).toBeGreaterThan(rules.olderThanDays * DAY_MS);
    }
    const newest = [...all].sort(byAge).reverse();
    for (const c of newest.slice(0, rules.keepLast)) expect(kept).toContain(c.id);
    if (at.open && newest.length > 0) expect(kept).toContain(newest[0]!.id);
    const chosen = rules.metric === undefined ? defaultMetric(all) : { metric: rules.metric, mode: rules.mode };
    if (chosen !== null) for (const c of bestFirst(all, chosen.metric, chosen.mode).slice(0, rules.keepBest)) expect(kept).toContain(c.id);
  }));
});

test("a cleanup deletes everything that no rule keeps", () => {
  fc.assert(fc.property(checkpoints, (all) => {
    expect(checkpointsToDelete(all, { keepBest: 0, keepLast: 0, mode: "min", metric: "loss" }, { open: false, pathsInUse: new Set(), now: NOW })).toEqual([...all].sort(byAge).filter(({ pinned }) => !pinned).map(({ id }) => id));
  }));
});

test("done twice it deletes nothing more", () => {
  fc.assert(fc.property(checkpoints, policy, situation, (all, rules, at) => {
    const going = new Set(checkpointsToDelete(all, rules, at));
    expect(checkpointsToDelete(all.filter(({ id }) => !going.has(id)), rules, at)).toEqual([]);
  }));
});

test("the order in which checkpoints are listed does not matter", () => {
  fc.assert(fc.property(checkpoints.chain((all) => fc.tuple(fc.constant(all), fc.shuffledSubarray(all, { minLength: all.length }))), policy, situation, ([all, shuffled], rules, at) => {
    expect(checkpointsToDelete(shuffled, rules, at)).toEqual(checkpointsToDelete(all, rules, at));
  }));
});

test("age retention keeps best, newest and pinned ones of each stage, what is young or in use, and leaves open stages alone", () => {
  fc.assert(fc.property(checkpoints, fc.integer({ min: 1, max: 40 }), fc.subarray(STAGES), (all, days, open) => {
    const going = new Set(checkpointsPastAge(all, { days, openStages: new Set(open), pathsInUse: new Set(["/out/3"]), metrics: new Map([[STAGES[0]!, { metric: "loss", mode: "max" }]]), now: NOW }));
    for (const stage of STAGES) {
      const own = all.filter(({ stageId }) => stageId === stage);
      const gone = own.filter(({ id }) => going.has(id));
      if (open.includes(stage)) expect(gone).toEqual([]);
      for (const c of gone) expect([c.pinned, c.path === "/out/3", NOW - c.createdAt > days * DAY_MS]).toEqual([false, false, true]);
      if (own.length > 0) expect(going.has([...own].sort(byAge).at(-1)!.id)).toBe(false);
      const chosen = stage === STAGES[0] ? { metric: "loss", mode: "max" as const } : defaultMetric(own);
      const best = chosen === null ? undefined : bestFirst(own, chosen.metric, chosen.mode)[0];
      if (best !== undefined) expect(going.has(best.id)).toBe(false);
    }
  }));
});

test("NaN and infinities are never best, and of equal values the newer one is", () => {
  const of = (step: number, loss: unknown): KeptCheckpoint => ({ id: `ckp_${step}` as CheckpointId, stageId: STAGES[0]!, attempt: 1, step, path: "", metrics: { loss }, pinned: false, createdAt: 0 });
  expect(bestFirst([of(1, 2), of(2, "-Infinity"), of(3, 2), of(4, "NaN"), of(5, 3)], "loss", "min").map(({ step }) => step)).toEqual([3, 1, 5]);
  expect(bestFirst([of(1, 2)], "constructor", "min")).toEqual([]);
});

test.each([
  [["train/loss", "val/loss"], "val/loss"], [["eval_loss", "loss"], "eval_loss"], [["loss", "lr"], "loss"], [["actor/pg_loss"], "actor/pg_loss"], [["held_out/nll_loss"], "held_out/nll_loss"],
  [["accuracy"], null], [["glossary", "closs"], null], [[], null],
])("of %j the default metric is %s", (names, expected) => {
  expect(defaultMetric([{ metrics: Object.fromEntries(names.map((name) => [name, 1])) }])?.metric ?? null).toBe(expected);
});

test("a path is in use when a running stage names it, something within it, or a folder around it", () => {
  const used = new Set(["/a/b/step-1/", "/a/c/step-2/model.bin", "/shared/runs", "relative"]);
  expect(["/a/b/step-1", "/a/c/step-2", "/shared/runs/9/step-3"].map((path) => isInUse(path, used))).toEqual([true, true, true]);
  expect(["/a/b/step-10", "/a/c/step", "/shared/runs-2", "/relative/x"].map((path) => isInUse(path, used))).toEqual([false, false, false, false]);
  expect(textsWithin({ run: ["eval.py", "--model=/m"], env: { A: { B: 1, C: "/c" } } })).toEqual(["eval.py", "--model=/m", "/m", "/c"]);
});

test("without a word from anybody, held-out loss tells good from bad, then verl's rewards, then any loss; a policy loss never before a reward", () => {
  const metricOf = (...names: string[]) => defaultMetric([{ metrics: Object.fromEntries(names.map((name) => [name, 1])) }]);
  expect(metricOf("train/loss", "val/loss")).toEqual({ metric: "val/loss", mode: "min" });
  expect(metricOf("actor/pg_loss", "critic/rewards/mean", "val-core/openai/gsm8k/reward/mean@1", "val-core/openai/gsm8k/reward/best@4/mean")).toEqual({ metric: "val-core/openai/gsm8k/reward/mean@1", mode: "max" });
  expect(metricOf("actor/pg_loss", "critic/score/mean")).toEqual({ metric: "critic/score/mean", mode: "max" });
  expect(metricOf("actor/pg_loss")).toEqual({ metric: "actor/pg_loss", mode: "min" });
  expect(metricOf("perf/mfu")).toBeNull();
});
