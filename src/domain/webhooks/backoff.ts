// When a delivery that failed is tried again. Pure.

/** Tries after which a delivery is dead: about 17 hours after the first. */
export const MOST_TRIES = 12;
const FIRST_WAIT_MS = 5_000;
const LONGEST_WAIT_MS = 4 * 3_600_000;

/** Milliseconds from try number `tries` (from 1) to the next; null: it is dead. `asked`: what the receiver asked for. */
export function waitAfter(tries: number, asked: number | null = null): number | null {
  if (tries >= MOST_TRIES) return null;
  const wait = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 3 ** (tries - 1));
  return Math.min(LONGEST_WAIT_MS, Math.max(wait, asked ?? 0));
}
