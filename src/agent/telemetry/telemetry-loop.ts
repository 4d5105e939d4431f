// Keeps publishing what a program writes until it has ended, then everything that is left.
//   T1. `finish` resolves when all of it is recorded: whoever reports the end afterwards reports it last.

import { watchFolder } from "./file-watch.js";
import type { LogTailer } from "./log-tailer.js";
import type { MetricsTailer } from "./metrics-tailer.js";

export interface TelemetryLoop {
  /** The program has ended (T1). */
  finish(): Promise<void>;
  /** Stops where it is: another agent process goes on from what is recorded. */
  halt(): Promise<void>;
}

/** `failed` hears of an error that ends the loop; it is never thrown at nobody. */
export function startTelemetryLoop(options: { folder: string; log: LogTailer; metrics: MetricsTailer; failed: (error: Error) => void }): TelemetryLoop {
  const watch = watchFolder(options.folder);
  let ending = false;
  const run = async (): Promise<void> => {
    while (!ending) {
      await watch.next();
      if (ending) return;
      await options.metrics.advance();
      await options.log.advance();
    }
  };
  const loop = run().catch(options.failed);
  const stop = async (): Promise<void> => {
    ending = true;
    watch.close();
    await loop;
  };
  return {
    async finish() {
      await stop();
      await options.metrics.finish();
      await options.log.finish();
    },
    halt: stop,
  };
}
