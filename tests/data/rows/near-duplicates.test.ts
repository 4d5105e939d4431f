import fc from "fast-check";
import { expect, test } from "vitest";
import { createSketcher } from "../../../src/data/rows/minhash.js";
import { bandsFor, createNearDuplicates } from "../../../src/data/rows/near-duplicates.js";
import { rowWith, sftRow } from "./recipes.js";

const OPTIONS = { threshold: 0.8, shingleChars: 8, permutations: 128 as const };

/** Text by chance, the same every time. */
function words(seed: number, count: number): string {
  let state = (seed * 2_654_435_761 + 1) >>> 0;
  return Array.from({ length: count }, () => (state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0).toString(36)).join(" ");
}

function similarity(left: string, right: string, k: number): number {
  const pieces = (text: string) => new Set(Array.from({ length: Math.max(1, text.length - k + 1) }, (_, at) => text.slice(at, at + k)));
  const [one, other] = [pieces(left), pieces(right)];
  const shared = [...one].filter((piece) => other.has(piece)).length;
  return shared / (one.size + other.size - shared);
}

test("the share of equal places estimates the Jaccard similarity, for short texts and long ones", () => {
  for (const [count, places] of [[3, 256], [12, 128], [80, 128], [400, 256], [2_000, 32]] as const) {
    const sketch = createSketcher(5, places);
    let [error, bias] = [0, 0];
    const runs = 40;
    for (let run = 0; run < runs; run++) {
      const left = words(run, count);
      const right = `${left.slice(0, Math.floor(left.length * (run + 1) / runs))} ${words(run + 1_000, Math.ceil(count / 4))}`;
      const [one, other] = [new Uint16Array(places), new Uint16Array(places)];
      sketch(left, one);
      sketch(right, other);
      const estimate = one.filter((value, at) => value === other[at]).length / places;
      const off = estimate - similarity(left, right, 5);
      error += off * off;
      bias += off;
    }
    expect(Math.sqrt(error / runs)).toBeLessThan(0.6 / Math.sqrt(places)); // one hash function a place: at most 0.5 / √places
    expect(Math.abs(bias / runs)).toBeLessThan(0.25 / Math.sqrt(places));
  }
});

test("nearly equal rows are found, and the first stays", () => {
  const near = createNearDuplicates(OPTIONS);
  let missed = 0;
  for (let n = 0; n < 400; n++) {
    const text = words(n, 60);
    expect(near.seenBefore(sftRow(`u: ${text}`, "a: Yes."))).toBe(false);
    if (!near.seenBefore(sftRow(`u: ${text.toUpperCase()}!`, "a: Yes."))) missed += 100; // normalised they are equal
    if (!near.seenBefore(sftRow(`u: ${text} indeed`, "a: Yes."))) missed++;
  }
  expect(missed).toBeLessThanOrEqual(4);
});

test("rows that share nothing are never taken for each other, however short", () => {
  fc.assert(fc.property(fc.constantFrom(0.3, 0.8, 1), fc.constantFrom<32 | 256>(32, 256), fc.integer({ min: 1, max: 30 }), (threshold, permutations, length) => {
    const near = createNearDuplicates({ threshold, permutations, shingleChars: 3 });
    for (let n = 0; n < 200; n++) {
      // characters that no other row has
      const alphabet = String.fromCodePoint(0x4e00 + n * 3, 0x4e01 + n * 3, 0x4e02 + n * 3);
      const own = Array.from({ length }, (_, at) => alphabet[(at * at + n) % 3]!).join("");
      expect(near.seenBefore(rowWith({ task: "rl", customReward: true }, { prompt: own }))).toBe(false);
    }
  }), { numRuns: 20 });
});

test("rows well below the threshold stay", () => {
  const near = createNearDuplicates(OPTIONS);
  let lost = 0;
  for (let n = 0; n < 300; n++) {
    const text = words(n, 60);
    near.seenBefore(sftRow(`u: ${text}`, "a: Yes."));
    if (near.seenBefore(sftRow(`u: ${text.slice(0, text.length / 2)} ${words(n + 5_000, 30)}`, "a: Yes."))) lost++;
  }
  expect(lost).toBe(0);
});

test("what template and system prompt add to every row does not make rows alike", () => {
  const near = createNearDuplicates(OPTIONS);
  const over = { task: "sft", systemPrompt: words(1, 300), promptTemplate: `${words(2, 300)} {question}` };
  for (let n = 0; n < 50; n++) expect(near.seenBefore(rowWith(over, { question: words(n + 10, 8), answer: words(n + 100, 8) }))).toBe(false);
  expect(near.seenBefore(rowWith(over, { question: words(10, 8), answer: words(100, 8) }))).toBe(true);
});

test("rows without a letter or digit are left to exact comparison", () => {
  const near = createNearDuplicates(OPTIONS);
  expect([near.seenBefore(sftRow("u: ?!", "a: …")), near.seenBefore(sftRow("u: !?", "a: …"))]).toEqual([false, false]);
});

test("memory is found again after it has grown over many pages", () => {
  const near = createNearDuplicates({ ...OPTIONS, permutations: 32 });
  const rows = Array.from({ length: 9_000 }, (_, n) => sftRow(`u: ${words(n, 6)}`, "a: Yes."));
  expect(rows.filter((row) => near.seenBefore(row)).length).toBe(0);
  expect(rows.filter((row) => near.seenBefore(row)).length).toBe(rows.length);
});

test("bands find rows as similar as the threshold, and are no narrower than they must be", () => {
  for (const permutations of [32, 64, 128, 256]) {
    for (let threshold = 0.3; threshold <= 1; threshold += 0.05) {
      const { bands, rows } = bandsFor(threshold, permutations);
      const found = (width: number) => 1 - (1 - threshold ** width) ** Math.floor(permutations / width);
      expect(bands * rows).toBeLessThanOrEqual(permutations);
      expect(found(rows)).toBeGreaterThanOrEqual(0.97);
      if (rows < permutations) expect(found(rows + 1)).toBeLessThan(0.97);
    }
  }
  expect(bandsFor(0.8, 128)).toEqual({ bands: 18, rows: 7 });
});
