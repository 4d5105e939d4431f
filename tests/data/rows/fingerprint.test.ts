import fc from "fast-check";
import { expect, test } from "vitest";
import { contentFingerprint, createFingerprintSet, orderKey } from "../../../src/data/rows/fingerprint.js";
import { normalizedText, normalizedUnicode } from "../../../src/data/rows/normalized-text.js";
import { RL, rowWith, sftRow } from "./recipes.js";

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
const exact = (...args: Parameters<typeof sftRow>) => hex(contentFingerprint(sftRow(...args), "exact"));
const normalized = (...args: Parameters<typeof sftRow>) => hex(contentFingerprint(sftRow(...args), "normalized"));

test("prints never change: manifests and orders follow from them", () => {
  expect(exact("u: Hello, World!", "a: Hi 😀")).toBe("6d837e9a6c0284d708379dcc3151cf2d");
  expect(normalized("u: Hello, World!", "a: Hi 😀")).toBe("aa16bfef32d0efe36d4f79e17a120024");
  expect(orderKey(contentFingerprint(sftRow("u: a", "a: b"), "exact"), 1, "shuffle")).toBe(5_405_292_868_864_118);
});

test("rows are equal when what is trained on is equal, whatever is carried along", () => {
  const value = { question: "q", answer: "1", level: 3 };
  const print = (over: object, row = value) => hex(contentFingerprint(rowWith({ ...RL, ...over }, row), "exact"));
  expect(print({ keepColumns: ["level"] })).toBe(print({ countBy: ["level"] }, { ...value, level: 4 }));
  expect(print({})).not.toBe(print({}, { ...value, answer: "2" }));
  expect(print({})).not.toBe(print({ dataSource: "math" }));
  expect(print({})).not.toBe(print({ systemPrompt: "s" }));
});

test("texts cannot run together to the print of another row", () => {
  const prints = [exact("u: a", "a: bc"), exact("u: ab", "a: c"), exact("u: a", "a: b", "u: c", "a: d"), exact("u: a 1:b", "a: c"), exact("s: a", "u: b", "a: c")];
  expect(new Set(prints).size).toBe(prints.length);
});

test("normalized rows differ in case, width, punctuation and space only", () => {
  expect(normalized("u: Hello,  World!", "a: It's “fine”.")).toBe(normalized("u: ｈｅｌｌｏ world", "a: it s fine"));
  expect(normalized("u: a", "a: b")).not.toBe(normalized("u: a b", "a: b"));
  expect(exact("u: A", "a: b")).not.toBe(exact("u: a", "a: b"));
});

test("signs that calculate stay", () => {
  const questions = ["12-5", "12/5", "12*5", "125", "1.25", "1,25", "12 5", "-125", "30%", "30", "12 - 5", "12 / 5"];
  expect(new Set(questions.map(normalizedText)).size).toBe(questions.length);
  expect(normalizedText("It costs 5.")).toBe("it costs 5");
});

test("plain ASCII is normalised as any text is", () => {
  const unit = fc.oneof(fc.constantFrom(..." \t\n-*/.,:%'\"!?09aZ"), fc.string({ unit: "grapheme-ascii", minLength: 1, maxLength: 1 }), fc.nat(127).map((code) => String.fromCharCode(code)));
  fc.assert(fc.property(fc.string({ unit, maxLength: 30 }), (text) => {
    expect(normalizedText(text)).toBe(normalizedUnicode(text));
  }), { numRuns: 3_000 });
});

test("the set knows exactly what was added, the print of zeros too, while it grows", () => {
  fc.assert(fc.property(fc.array(fc.uint8Array({ minLength: 16, maxLength: 16, max: 2 }), { maxLength: 60 }), fc.nat(3_000), (prints, more) => {
    const set = createFingerprintSet();
    const reference = new Set<string>();
    const many = Array.from({ length: more }, (_, n) => contentFingerprint(sftRow(`u: ${n % 2_000}`, "a: b"), "exact"));
    for (const print of [new Uint8Array(16), ...prints, ...many, ...prints]) {
      expect(set.add(print)).toBe(!reference.has(hex(print)));
      reference.add(hex(print));
    }
    expect(set.size).toBe(reference.size);
  }), { numRuns: 20 });
});

test("order keys are uniform whole numbers, independent between seeds and purposes", () => {
  const prints = Array.from({ length: 2_000 }, (_, n) => contentFingerprint(sftRow(`u: ${n}`, "a: b"), "exact"));
  const keys = (seed: number, purpose: string) => prints.map((print) => orderKey(print, seed, purpose) / 2 ** 53);
  const [one, seeded, other] = [keys(1, "shuffle"), keys(2, "shuffle"), keys(1, "sample")];
  for (const list of [one, seeded, other]) {
    expect(list.every((key) => key >= 0 && key < 1 && Number.isInteger(key * 2 ** 53))).toBe(true);
    for (const quarter of [0, 1, 2, 3]) expect(Math.abs(list.filter((key) => Math.floor(key * 4) === quarter).length - 500)).toBeLessThan(100);
  }
  const together = (left: number[], right: number[]) => left.filter((key, n) => key < 0.5 && right[n]! < 0.5).length;
  for (const pair of [[one, seeded], [one, other]] as const) expect(Math.abs(together(...pair) - 500)).toBeLessThan(100);
});
