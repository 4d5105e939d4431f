// An attempt that the agent carries out itself: there is no process to end, so a stop only decides what its end is called, and whoever carries it out looks at it.

import type { AttemptHost } from "./attempt-host.js";
import type { Outcome, RunningAttempt } from "./running-attempt.js";

/** What was asked of the attempt meanwhile. */
export interface Asked {
  /** How it is to be said to have ended; null while nobody stopped it. */
  readonly stopped: Outcome | null;
  /** Nothing of it is to be reported any more. */
  readonly silent: boolean;
}

/** `carryOut` reports the start and the end itself. An error of it is one that the agent cannot live with. */
export function runInside(host: AttemptHost, carryOut: (asked: Asked) => Promise<void>): RunningAttempt {
  const asked: { stopped: Outcome | null; silent: boolean } = { stopped: null, silent: false };
  const done = carryOut(asked).catch((error: unknown) => host.fatal(error as Error));
  return {
    done,
    stop: (request) => { asked.stopped ??= request.outcome; },
    disown: () => { asked.silent = true; },
    leave: async () => {
      asked.silent = true;
      await done;
    },
    pids: async () => [],
  };
}
