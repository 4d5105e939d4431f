// Identity of rows by content: 128 bits of SHA-256. What is compared is the row's training content; extra, categories and the file it came from do not count.
//   F1. Equal content gives equal bytes on every machine and version: orders, samples and manifests follow from them.

import { hash } from "node:crypto";
import { normalizedText } from "./normalized-text.js";
import type { Message, TrainingRow } from "./training-row.js";

const PRINT_BYTES = 16;
const EXACT = (text: string): string => text;

/** 16 bytes that equal rows share; `normalized` as normalizedText has it. */
export function contentFingerprint(row: TrainingRow, mode: "exact" | "normalized"): Uint8Array {
  return hash("sha256", identityOf(row, mode === "exact" ? EXACT : normalizedText), "buffer").subarray(0, PRINT_BYTES);
}

/** Every text with its length before it, so that no two rows run together to the same text. */
function identityOf(row: TrainingRow, form: (text: string) => string): string {
  switch (row.task) {
    case "sft": return dialogue("sft", row.messages, form);
    case "rl": return `${dialogue("rl", row.prompt, form)}${counted(row.dataSource)}${row.style}${counted(form(row.groundTruth))}`;
    case "preference": return `${dialogue("preference", row.prompt, form)}${dialogue("chosen", row.chosen, form)}${dialogue("rejected", row.rejected, form)}`;
  }
}

function dialogue(name: string, messages: readonly Message[], form: (text: string) => string): string {
  let text = `${name}${messages.length}`;
  for (const { role, content } of messages) text += role + counted(form(content));
  return text;
}

function counted(text: string): string {
  return ` ${text.length}:${text}`;
}

export interface FingerprintSet {
  /** Adds a print of 16 bytes; false when it was there. */
  add(print: Uint8Array): boolean;
  readonly size: number;
}

const WORDS = 4;
const FIRST_CAPACITY = 1_024;
const MAX_LOAD = 0.6;

/** A set of prints in flat memory: 27 to 54 bytes each, twice that for the moment in which it grows. */
export function createFingerprintSet(): FingerprintSet {
  let capacity = FIRST_CAPACITY;
  let slots = new Uint32Array(capacity * WORDS);
  let size = 0;
  let hasZero = false; // four zero words mark a free slot

  /** Puts a print into `table`; false when it was there. */
  const put = (table: Uint32Array, mask: number, a: number, b: number, c: number, d: number): boolean => {
    for (let slot = a & mask; ; slot = (slot + 1) & mask) {
      const at = slot * WORDS;
      if ((table[at]! | table[at + 1]! | table[at + 2]! | table[at + 3]!) === 0) {
        table[at] = a;
        table[at + 1] = b;
        table[at + 2] = c;
        table[at + 3] = d;
        return true;
      }
      if (table[at] === a && table[at + 1] === b && table[at + 2] === c && table[at + 3] === d) return false;
    }
  };
  const grow = (): void => {
    const larger = new Uint32Array(capacity * 2 * WORDS);
    for (let at = 0; at < slots.length; at += WORDS) {
      if ((slots[at]! | slots[at + 1]! | slots[at + 2]! | slots[at + 3]!) !== 0) put(larger, capacity * 2 - 1, slots[at]!, slots[at + 1]!, slots[at + 2]!, slots[at + 3]!);
    }
    [slots, capacity] = [larger, capacity * 2];
  };

  return {
    get size() {
      return size;
    },
    add(print) {
      const [a, b, c, d] = [wordAt(print, 0), wordAt(print, 4), wordAt(print, 8), wordAt(print, 12)];
      if ((a | b | c | d) === 0) {
        if (hasZero) return false;
        hasZero = true;
      } else {
        if (size >= capacity * MAX_LOAD) grow();
        if (!put(slots, capacity - 1, a, b, c, d)) return false;
      }
      size++;
      return true;
    },
  };
}

/** 32 bits of a print. */
export function wordAt(print: Uint8Array, at: number): number {
  return (print[at]! | (print[at + 1]! << 8) | (print[at + 2]! << 16) | (print[at + 3]! << 24)) >>> 0;
}

/** Where a row stands in an order by chance that only its content and the seed decide: a whole number, uniform in [0, 2^53). `purpose` keeps orders for different
 *  ends independent. Equal rows have equal keys: break ties by their place in the input. */
export function orderKey(print: Uint8Array, seed: number, purpose: string): number {
  let text = `${purpose}\0${seed}\0`;
  for (let at = 0; at < PRINT_BYTES; at++) text += String.fromCharCode(print[at]!);
  return uniform53(text);
}

/** The first 53 bits of a text's SHA-256. */
export function uniform53(text: string): number {
  const digest = hash("sha256", text, "buffer");
  return digest.readUInt32BE(0) * 2 ** 21 + (digest.readUInt32BE(4) >>> 11);
}
