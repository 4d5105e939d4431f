// How often each print of 16 bytes occurs, in flat memory.
//   C1. The table is made for a number of prints and never grows: 21 bytes a slot, at most 3 of 4 slots taken.

import { wordAt } from "./fingerprint.js";

const WORDS = 4;
const MAX_LOAD = 0.75;

export interface FingerprintCounts {
  /** Takes a print in. Throws RangeError when the table is full. */
  add(print: Uint8Array): void;
  /** Takes one occurrence away; false when there is none left. */
  take(print: Uint8Array): boolean;
}

/** A table for up to `distinct` different prints. */
export function createFingerprintCounts(distinct: number): FingerprintCounts { // C1
  const capacity = 2 ** Math.max(4, Math.ceil(Math.log2(Math.max(1, distinct) / MAX_LOAD)));
  const prints = new Uint32Array(capacity * WORDS);
  const counts = new Uint32Array(capacity);
  const used = new Uint8Array(capacity); // a count may fall to 0 and its slot stays taken
  const mask = capacity - 1;
  let size = 0;

  /** The slot of a print, or the free one where it would stand. */
  const slotOf = (print: Uint8Array): number => {
    const [a, b, c, d] = [wordAt(print, 0), wordAt(print, 4), wordAt(print, 8), wordAt(print, 12)];
    for (let slot = a & mask; ; slot = (slot + 1) & mask) {
      const at = slot * WORDS;
      if (used[slot] === 0 || (prints[at] === a && prints[at + 1] === b && prints[at + 2] === c && prints[at + 3] === d)) return slot;
    }
  };
  return {
    add(print) {
      const slot = slotOf(print);
      if (used[slot] === 0) {
        if (size >= capacity * MAX_LOAD) throw new RangeError(`more than ${size} different rows; the table was made for ${distinct}`);
        used[slot] = 1;
        size++;
        for (let word = 0; word < WORDS; word++) prints[slot * WORDS + word] = wordAt(print, word * 4);
      }
      counts[slot]!++;
    },
    take(print) {
      const slot = slotOf(print);
      if (used[slot] === 0 || counts[slot] === 0) return false;
      counts[slot]!--;
      return true;
    },
  };
}
