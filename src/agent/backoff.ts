// Waiting between tries: longer each time, never in step with others.

import { setTimeout as delay } from "node:timers/promises";

export interface Backoff {
  /** Waits for the next try; returns early when the signal aborts. */
  wait(signal: AbortSignal): Promise<void>;
  /** The last try succeeded. */
  reset(): void;
}

/** Waits from `firstMs` doubling to `longestMs`, each with ± 25 % of chance. */
export function backoff(firstMs: number, longestMs: number): Backoff {
  let nextMs = firstMs;
  return {
    async wait(signal) {
      const ms = nextMs * (0.75 + Math.random() / 2);
      nextMs = Math.min(longestMs, nextMs * 2);
      await delay(ms, undefined, { signal }).catch(() => undefined);
    },
    reset() {
      nextMs = firstMs;
    },
  };
}
