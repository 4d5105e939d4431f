// Waiting between tries: longer each time, never in step with others.

import { setTimeout as delay } from "node:timers/promises";

export interface Backoff {
  /** Waits for the next try; returns early when the signal aborts. */
  wait(signal: AbortSignal): Promise<void>;
  /** The last try succeeded. */
  reset(): void;
  /** There is reason to try now: ends the wait that is under way. The waits after it are as long as they would have been. */
  hurry(): void;
}

/** Waits from `firstMs` doubling to `longestMs`, each with ± 25 % of chance. */
export function backoff(firstMs: number, longestMs: number): Backoff {
  let nextMs = firstMs;
  let waiting: AbortController | null = null;
  return {
    async wait(signal) {
      const ms = nextMs * (0.75 + Math.random() / 2);
      nextMs = Math.min(longestMs, nextMs * 2);
      const hurried = new AbortController();
      waiting = hurried;
      await delay(ms, undefined, { signal: AbortSignal.any([signal, hurried.signal]) }).catch(() => undefined);
      waiting = null;
    },
    hurry: () => waiting?.abort(),
    reset() {
      nextMs = firstMs;
    },
  };
}
