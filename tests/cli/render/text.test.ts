import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { bytes, duration, elapsed, metricValue, progressBar, shortDuration } from "../../../src/cli/render/quantities.js";
import { renderTable } from "../../../src/cli/render/table.js";
import { cut, fill, harmless, stripColours, widthOf } from "../../../src/cli/render/text-width.js";
import { createStyle, wantsColour } from "../../../src/cli/style.js";

describe("text on a terminal", () => {
  const coloured = createStyle(true);
  const text = fc.array(fc.oneof(fc.constantFrom("a", "é", "表", "🚂", coloured.red("x"), " "), fc.string({ maxLength: 2 }).map(harmless)), { maxLength: 20 }).map((parts) => parts.join(""));

  test("what is cut fits, and what fits is not cut", () => {
    fc.assert(fc.property(text, fc.integer({ min: 1, max: 30 }), (value, width) => {
      expect(widthOf(cut(value, width))).toBeLessThanOrEqual(width);
      if (widthOf(value) <= width) expect(cut(value, width)).toBe(value);
    }));
  });
  test("a cut keeps the code that ends a colour", () => expect(cut(coloured.red("abcdef"), 3)).toBe("\u001b[31mab…\u001b[39m"));
  test("what is filled has exactly the width", () => {
    fc.assert(fc.property(text, fc.integer({ min: 0, max: 60 }), (value, width) => {
      expect(widthOf(fill(value, width))).toBe(Math.max(width, widthOf(value)));
    }));
  });
  test("East Asian characters take two columns, colours none", () => expect([widthOf("表示"), widthOf(coloured.bold("ab"))]).toEqual([4, 2]));
  test("control characters of strangers become visible", () => expect(harmless("a\u001b[2Jb\rc\u009b")).toBe("a\\x1b[2Jb\\x0dc\\x9b"));
});

describe("tables", () => {
  const plain = createStyle(false);
  test("columns line up, numbers to the right, nothing after the last column", () => {
    expect(renderTable([{ title: "NAME" }, { title: "N", align: "right" }, { title: "REST" }], [["a", "1", "x"], ["longer", "100", ""]], plain, null)).toEqual([
      "NAME      N  REST",
      "a         1  x",
      "longer  100  ",
    ]);
  });
  test("no line is wider than the terminal while columns can give way", () => {
    fc.assert(fc.property(fc.array(fc.array(fc.string({ maxLength: 60 }).map(harmless), { minLength: 3, maxLength: 3 }), { maxLength: 5 }), fc.integer({ min: 30, max: 120 }), (rows, width) => {
      const lines = renderTable([{ title: "ONE" }, { title: "TWO" }, { title: "THREE" }], rows, plain, width);
      for (const line of lines) expect(widthOf(line)).toBeLessThanOrEqual(width);
    }));
  });
  test("colours do not disturb the columns", () => {
    const [, row] = renderTable([{ title: "A" }, { title: "B" }], [[createStyle(true).green("ok"), "x"]], plain, null);
    expect(stripColours(row!)).toBe("ok  x");
  });
});

describe("quantities", () => {
  test.each([[0, "0.0 s"], [400, "0.4 s"], [9_949, "9.9 s"], [9_951, "10 s"], [59_400, "59 s"], [65_000, "1 min 05 s"], [3_599_000, "59 min 59 s"], [7_620_000, "2 h 07 min"], [273_600_000, "3 d 4 h"], [-5, "0.0 s"]])("%d ms is %s", (ms, said) => expect(duration(ms)).toBe(said));
  test.each([[59_000, "59s"], [120_000, "2m"], [7_200_000, "2h"], [172_800_000, "2d"]])("%d ms is %s in short", (ms, said) => expect(shortDuration(ms)).toBe(said));
  test("elapsed time counts to now while there is no end", () => {
    expect(elapsed("2026-01-01T00:00:00.000Z", null, Date.parse("2026-01-01T00:00:30.000Z"))).toBe("30 s");
    expect(elapsed(null, null, 0)).toBe("");
  });
  test.each([[512, "512 B"], [3_500, "3.4 KiB"], [1_300_000_000, "1.2 GiB"], [50_000_000_000, "47 GiB"]])("%d bytes are %s", (count, said) => expect(bytes(count)).toBe(said));
  test.each([[2.13456, "2.135"], [0, "0"], [14_000, "14000"], [0.0000123, "1.2e-5"], [3.2e9, "3.2e9"], [-0.5, "-0.5"]])("the metric %d is shown as %s", (value, said) => expect(metricValue(value, null)).toBe(said));
  test("a value that is not finite is shown by name", () => expect(metricValue(null, "-Infinity")).toBe("-Infinity"));
  test("a bar is as wide as asked for, whatever the share", () => {
    fc.assert(fc.property(fc.double({ noNaN: true }), fc.integer({ min: 1, max: 40 }), (share, width) => {
      expect(widthOf(progressBar(share, width))).toBe(width);
    }));
  });
});

describe("colours", () => {
  const terminal = { isTTY: true }, file = { isTTY: false };
  test("only a terminal gets them", () => expect([wantsColour(terminal, {}, true), wantsColour(file, {}, true), wantsColour(terminal, { TERM: "dumb" }, true)]).toEqual([true, false, false]));
  test("NO_COLOR and --no-color win over everything", () => expect([wantsColour(terminal, { NO_COLOR: "1", FORCE_COLOR: "1" }, true), wantsColour(terminal, { FORCE_COLOR: "1" }, false)]).toEqual([false, false]));
  test("FORCE_COLOR gives them to a file, and 0 takes them from a terminal", () => expect([wantsColour(file, { FORCE_COLOR: "1" }, true), wantsColour(terminal, { FORCE_COLOR: "0" }, true)]).toEqual([true, false]));
});
