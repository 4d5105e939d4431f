import fc from "fast-check";
import { expect, test } from "vitest";
import { cutText, verdictOf } from "../../src/domain/samples.js";

test("a text within the limit stays; of a longer one both ends stay, the limit is kept, and what is missing is counted where it stood", () => {
  fc.assert(fc.property(fc.string({ unit: fc.constantFrom("a", "é", "🙂", "\n"), maxLength: 300 }), fc.integer({ min: 80, max: 200 }), (text, limit) => {
    const cut = cutText(text, limit);
    expect(cut.length).toBeLessThanOrEqual(limit);
    expect(cut.isWellFormed()).toBe(true);
    if (text.length <= limit) {
      expect(cut).toBe(text);
      return;
    }
    const [, head, left, tail] = /^([^]*)\n\[… (\d+) characters left out …\]\n([^]*)$/.exec(cut)!;
    expect(text.startsWith(head!) && text.endsWith(tail!)).toBe(true);
    expect(head!.length + Number(left) + tail!.length).toBe(text.length);
  }));
});

test.each([
  [{ score: 1, error: null }, "CORRECT"], [{ score: 7, error: null }, "CORRECT"], [{ score: Infinity, error: null }, "CORRECT"], [{ score: 0.99, error: null }, "WRONG"], [{ score: NaN, error: null }, "WRONG"],
  [{ score: null, error: null }, "UNSCORED"], [{ score: null, error: "x" }, "ERROR"], [{ score: 1, error: "x" }, "ERROR"],
])("the verdict on %j is %s", (facts, verdict) => {
  expect(verdictOf(facts)).toBe(verdict);
});
