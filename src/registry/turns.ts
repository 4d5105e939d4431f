// Work of which only so much may go on at a time, and only so much may wait.

import { UnavailableError } from "../domain/errors.js";

export interface Turns {
  /** Waits for a turn; call what it gives when the work is done, once. Throws UnavailableError when too many wait. */
  take(): Promise<() => void>;
  /** Lets all who wait go on at once: to be told that everything ends. */
  release(): void;
}

export function createTurns({ atOnce, waitingAtMost, refusal }: { readonly atOnce: number; readonly waitingAtMost: number; /** Said to whom is not even let wait. */ readonly refusal: string }): Turns {
  const waiting: (() => void)[] = [];
  let free = atOnce;
  const done = (): void => {
    const next = waiting.shift();
    if (next === undefined) free++;
    else next(); // takes this turn over
  };
  return {
    async take() {
      if (free > 0) {
        free--;
        return done;
      }
      if (waiting.length >= waitingAtMost) throw new UnavailableError(refusal);
      await new Promise<void>((resolve) => waiting.push(resolve));
      return done;
    },
    release() {
      for (const go of waiting.splice(0)) go();
    },
  };
}
