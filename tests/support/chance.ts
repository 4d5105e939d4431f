// The chances that chaos tests take: drawn from one seed per test file, printed when a test of the file fails and given back by TRAINYARD_CHAOS_SEED. What is drawn repeats; when processes get to
// run does not.

import { afterEach } from "vitest";

const SEED_VARIABLE = "TRAINYARD_CHAOS_SEED";

export interface Chance {
  /** At least 0, less than 1. */
  next(): number;
  /** At least `from`, less than `to`. */
  between(from: number, to: number): number;
  /** A whole number of 0 … n − 1. */
  below(n: number): number;
  /** Chances of their own for what has this name: independent of how often others drew before. */
  of(name: string): Chance;
}

/** The seed of this test file. */
export const CHAOS_SEED = seedFrom(process.env[SEED_VARIABLE]);

afterEach(({ task }) => {
  if (task.result?.state === "fail") console.error(`The chances of this file came from ${SEED_VARIABLE}=${CHAOS_SEED}; with it set, the same are taken again.`);
});

export function createChance(seed: number): Chance {
  let state = seed >>> 0;
  const chance: Chance = {
    next() { // mulberry32
      state = (state + 0x6d2b79f5) >>> 0;
      let t = state;
      t = Math.imul(t ^ (t >>> 15), t | 1);
      t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
      return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
    },
    between: (from, to) => from + chance.next() * (to - from),
    below: (n) => Math.floor(chance.next() * n),
    of: (name) => createChance([...name].reduce((hash, char) => Math.imul(hash ^ char.codePointAt(0)!, 0x01000193), seed ^ 0x811c9dc5)),
  };
  return chance;
}

function seedFrom(given: string | undefined): number {
  if (given === undefined || given === "") return Math.floor(Math.random() * 2 ** 31);
  if (!/^\d{1,10}$/.test(given)) throw new Error(`${SEED_VARIABLE}=${given} is no seed: give a whole number, as a failed run printed it.`);
  return Number(given);
}
