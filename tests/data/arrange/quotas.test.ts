import fc from "fast-check";
import { expect, test } from "vitest";
import { quotasOf } from "../../../src/data/arrange/quotas.js";

const sum = (numbers: readonly number[]) => numbers.reduce((total, number) => total + number, 0);

test("without weights and caps every row stays", () => {
  expect(quotasOf([{ available: 5 }, { available: 7 }], undefined)).toEqual({ perGroup: [5, 7], total: 12 });
});

test("a cap on one input holds for that input, a cap on all for the whole", () => {
  expect(quotasOf([{ available: 50, maxRows: 10 }, { available: 7 }], 12)).toEqual({ perGroup: [10, 7], total: 12 });
});

test("the input that is scarcest for its weight bounds the mixture", () => {
  expect(quotasOf([{ available: 100, weight: 3 }, { available: 10, weight: 1 }], undefined)).toEqual({ perGroup: [30, 10], total: 40 });
  expect(quotasOf([{ available: 100, weight: 3 }, { available: 1_000, weight: 1 }], undefined)).toEqual({ perGroup: [100, 33], total: 133 });
});

test("a cap of an input counts as its size in the mixture", () => {
  expect(quotasOf([{ available: 100, weight: 1, maxRows: 20 }, { available: 100, weight: 2 }], undefined).perGroup).toEqual([20, 40]);
});

test("a cap on the whole keeps the shares and is used up", () => {
  expect(quotasOf([{ available: 100, weight: 2 }, { available: 100, weight: 1 }], 10).perGroup).toEqual([7, 3]);
});

test("an input without rows bounds the mixture to nothing", () => {
  expect(quotasOf([{ available: 100, weight: 2 }, { available: 0, weight: 1 }], undefined).total).toBe(0);
});

const group = fc.record({ available: fc.nat(5_000), weight: fc.double({ min: 0.01, max: 100, noNaN: true }), maxRows: fc.option(fc.integer({ min: 1, max: 5_000 }), { nil: undefined }) });

test("no quota exceeds what is there, the caps hold, and shares are within one row of their weights", () => {
  fc.assert(fc.property(fc.array(group, { minLength: 1, maxLength: 6 }), fc.option(fc.integer({ min: 1, max: 8_000 }), { nil: undefined }), (groups, maxRows) => {
    const { perGroup, total } = quotasOf(groups, maxRows);
    const weights = sum(groups.map(({ weight }) => weight));
    const most = Math.min(...groups.map(({ available, maxRows: cap, weight }) => (Math.min(available, cap ?? Infinity) / weight) * weights), maxRows ?? Infinity);
    expect(total).toBe(sum(perGroup));
    expect(total).toBeLessThanOrEqual(most + 1e-3);
    expect(total).toBeGreaterThan(most - groups.length - 1e-3);
    for (const [index, quota] of perGroup.entries()) {
      expect(quota).toBeLessThanOrEqual(Math.min(groups[index]!.available, groups[index]!.maxRows ?? Infinity));
      expect(Math.abs(quota - (most * groups[index]!.weight) / weights)).toBeLessThanOrEqual(1 + 1e-3);
    }
  }));
});
