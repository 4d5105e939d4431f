// The spread of many whole numbers in bounded memory: every value below EXACT_BELOW has a counter of its own, larger ones share counters of at most 0.4 % width.
// Count, smallest, largest and mean are exact always.

import type { Distribution } from "../../domain/data/dataset.js";

const EXACT_BELOW = 16_384;
const STEPS_PER_OCTAVE = 256;

export interface DistributionCounter {
  /** Takes a whole number from 0 to 2^53 in. */
  add(value: number): void;
  /** Null before the first number. A percentile is the smallest counted value that at least so many of the values do not exceed (nearest rank). */
  result(): Distribution | null;
}

/** A counter of at most 0.25 MiB. */
export function createDistribution(): DistributionCounter {
  let counters = new Uint32Array(256);
  let [count, sum, min, max] = [0, 0, Infinity, -Infinity];
  return {
    add(value) {
      const at = value < EXACT_BELOW ? value : slotOf(value);
      if (at >= counters.length) counters = grown(counters, at);
      counters[at]!++;
      count++;
      sum += value;
      if (value < min) min = value;
      if (value > max) max = value;
    },
    result() {
      if (count === 0) return null;
      const at = percentiles(counters, count, [0.05, 0.25, 0.5, 0.75, 0.95, 0.99]).map((value) => Math.min(Math.max(value, min), max));
      return { count, min, p5: at[0]!, p25: at[1]!, p50: at[2]!, p75: at[3]!, p95: at[4]!, p99: at[5]!, max, mean: Math.round(sum / count * 1_000) / 1_000 };
    },
  };
}

/** Above EXACT_BELOW: 256 slots between a power of two and the next. */
function slotOf(value: number): number {
  const octave = Math.floor(Math.log2(value)) - LOG_EXACT;
  return EXACT_BELOW + octave * STEPS_PER_OCTAVE + Math.floor((value / (EXACT_BELOW * 2 ** octave) - 1) * STEPS_PER_OCTAVE);
}
const LOG_EXACT = Math.log2(EXACT_BELOW);

/** The smallest value that a slot stands for. */
function valueAt(slot: number): number {
  if (slot < EXACT_BELOW) return slot;
  const octave = Math.floor((slot - EXACT_BELOW) / STEPS_PER_OCTAVE);
  return Math.floor(EXACT_BELOW * 2 ** octave * (1 + ((slot - EXACT_BELOW) % STEPS_PER_OCTAVE) / STEPS_PER_OCTAVE));
}

function grown(counters: Uint32Array, slot: number): Uint32Array<ArrayBuffer> {
  const larger = new Uint32Array(Math.max(slot + 1, counters.length * 2));
  larger.set(counters);
  return larger;
}

function percentiles(counters: Uint32Array, count: number, shares: readonly number[]): number[] {
  const found: number[] = [];
  let seen = 0;
  for (let slot = 0; slot < counters.length && found.length < shares.length; slot++) {
    seen += counters[slot]!;
    while (found.length < shares.length && seen >= Math.max(1, Math.ceil(shares[found.length]! * count - 1e-9))) found.push(valueAt(slot));
  }
  return found;
}
