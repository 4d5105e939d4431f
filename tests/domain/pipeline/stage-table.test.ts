import fc from "fast-check";
import { expect, test } from "vitest";
import { StageTable } from "../../../src/domain/pipeline/stage-table.js";

test("a table changed in random places equals a plain list changed the same way, and the tables before it stay as they were", () => {
  fc.assert(fc.property(fc.integer({ min: 1, max: 400 }), fc.array(fc.tuple(fc.nat(), fc.nat()), { maxLength: 30 }), (length, changes) => {
    const list = Array.from({ length }, (_, index) => index);
    let table = StageTable.of(list);
    for (const [where, value] of changes) {
      const before = table;
      const frozen = [...before];
      table = table.with(where % length, value);
      list[where % length] = value;
      expect([...before]).toEqual(frozen);
    }
    expect([...table]).toEqual(list);
    expect(JSON.parse(JSON.stringify(table))).toEqual(list);
    expect(list.map((_, index) => table.at(index))).toEqual(list);
    expect(table.length).toBe(length);
  }), { numRuns: 200 });
});

test.each([-1, 3, 128, 0.5])("position %d of three throws", (index) => {
  expect(() => StageTable.of(["a", "b", "c"]).at(index)).toThrow(RangeError);
  expect(() => StageTable.of(["a", "b", "c"]).with(index, "x")).toThrow(RangeError);
});
