import fc from "fast-check";
import { expect, test } from "vitest";
import { createSelection } from "../../../src/data/arrange/selection.js";

test("a selection knows its rows and how many come before each", () => {
  fc.assert(fc.property(fc.array(fc.boolean(), { maxLength: 200 }), (taken) => {
    const builder = createSelection(taken.length);
    for (const [seq, take] of taken.entries()) if (take) builder.take(seq);
    const selection = builder.build();
    expect(selection.count).toBe(taken.filter(Boolean).length);
    for (const [seq, take] of taken.entries()) {
      expect(selection.has(seq)).toBe(take);
      expect(selection.rank(seq)).toBe(taken.slice(0, seq).filter(Boolean).length);
    }
  }));
});
