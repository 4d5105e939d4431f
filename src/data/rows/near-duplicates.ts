// Finds rows that nearly repeat an earlier one, in one pass: MinHash signatures, looked up by LSH bands and verified by the signatures' own estimate. Compared is
// what the row asks and answers (normalizedText), without system prompt and template: what all rows share says nothing.
//   N1. Only rows that were new are remembered, so that the first of a cluster stays and a chain of small changes does not swallow everything.
//   N2. Memory per remembered row: 2 bytes a permutation and 8 to 12 bytes a band; with the default 128 permutations and threshold 0.8 (18 bands) 400 to 470 bytes.
//   N3. Order decides: the same rows in the same order give the same answers on every machine.

import type { PreprocessParams } from "../../domain/data/preprocess-params.js";
import { createSketcher, mixed } from "./minhash.js";
import { normalizedText } from "./normalized-text.js";
import type { Message, TrainingRow } from "./training-row.js";

export interface NearDuplicates {
  /** Whether an earlier row is nearly equal; a row that is new is remembered. */
  seenBefore(row: TrainingRow): boolean;
}

type Options = NonNullable<PreprocessParams["nearDuplicates"]>;

const PAGE_ROWS = 8_192;
/** Of one band only so many remembered rows are compared, the latest first: boilerplate must not make the pass quadratic. */
const MAX_CANDIDATES = 200;

/** A memory for one stage. */
export function createNearDuplicates({ threshold, shingleChars, permutations }: Options): NearDuplicates {
  const { bands, rows: bandWidth } = bandsFor(threshold, permutations);
  const sketch = createSketcher(shingleChars, permutations);
  const signature = new Uint16Array(permutations);
  const maxUnequal = Math.floor((1 - threshold) * permutations + 1e-9);
  const signatures: Uint16Array[] = [];
  /** Entry (row × bands + band) → the entry before it with the same slot, plus one; 0 ends. */
  const earlier: Int32Array[] = [];
  let heads = new Int32Array(1_024);
  let count = 0;

  const slotOf = (words: Uint16Array, at: number, band: number): number => {
    let hash = mixed(band + 1);
    for (let index = at + band * bandWidth; index < at + (band + 1) * bandWidth; index++) hash = mixed(hash ^ Math.imul(words[index]! + 1, 0x9e3779b1));
    return hash & (heads.length - 1);
  };
  const isNear = (row: number): boolean => {
    const page = signatures[Math.floor(row / PAGE_ROWS)]!;
    const at = (row % PAGE_ROWS) * permutations;
    let unequal = 0;
    for (let index = 0; index < permutations; index++) if (page[at + index] !== signature[index] && ++unequal > maxUnequal) return false;
    return true;
  };
  const link = (row: number, band: number, slot: number): void => {
    earlier[Math.floor(row / PAGE_ROWS)]![(row % PAGE_ROWS) * bands + band] = heads[slot]!;
    heads[slot] = row * bands + band + 1;
  };
  const remember = (): void => {
    const row = count++;
    if (row % PAGE_ROWS === 0) {
      signatures.push(new Uint16Array(PAGE_ROWS * permutations));
      earlier.push(new Int32Array(PAGE_ROWS * bands));
    }
    signatures.at(-1)!.set(signature, (row % PAGE_ROWS) * permutations);
    const full = count * bands > heads.length;
    if (full) heads = new Int32Array(heads.length * 2);
    for (let again = full ? 0 : row; again < count; again++) {
      const page = signatures[Math.floor(again / PAGE_ROWS)]!;
      for (let band = 0; band < bands; band++) link(again, band, slotOf(page, (again % PAGE_ROWS) * permutations, band));
    }
  };

  return {
    seenBefore(row) {
      const text = comparedText(row);
      if (text === "") return false;
      sketch(text, signature);
      for (let band = 0; band < bands; band++) {
        let left = MAX_CANDIDATES;
        for (let entry = heads[slotOf(signature, 0, band)]!; entry !== 0 && left > 0; left--) {
          const other = Math.floor((entry - 1) / bands);
          if ((entry - 1) % bands === band && isNear(other)) return true;
          entry = earlier[Math.floor(other / PAGE_ROWS)]![(other % PAGE_ROWS) * bands + (entry - 1) % bands]!;
        }
      }
      remember();
      return false;
    },
  };
}

/** Rows that similar are to be found with at least this probability. */
const RECALL = 0.97;

/** How a signature is cut: the widest bands with which two rows just as similar as the threshold still share one with a probability of RECALL. */
export function bandsFor(threshold: number, permutations: number): { bands: number; rows: number } {
  for (let rows = permutations; rows > 1; rows--) {
    const bands = Math.floor(permutations / rows);
    if (1 - (1 - threshold ** rows) ** bands >= RECALL) return { bands, rows };
  }
  return { bands: permutations, rows: 1 };
}

/** The question as asked, and what answers it. */
function comparedText(row: TrainingRow): string {
  return normalizedText([row.promptKey.replaceAll("\0", " "), ...answersOf(row)].join("\n"));
}

function answersOf(row: TrainingRow): string[] {
  switch (row.task) {
    case "sft": return row.messages.slice(row.messages.findLastIndex((message) => message.role === "user") + 1).map(contentOf);
    case "rl": return [row.groundTruth];
    case "preference": return [...row.chosen, ...row.rejected].map(contentOf);
  }
}

function contentOf({ content }: Message): string {
  return content;
}
