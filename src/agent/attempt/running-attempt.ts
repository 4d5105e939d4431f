// What the agent may do with an attempt that is under way, however it is run.

import type { z } from "zod";
import type { outcomeSchema } from "../../protocol/messages.js";

export type Outcome = z.infer<typeof outcomeSchema>;

export interface StopRequest {
  /** Between TERM and KILL, in milliseconds. */
  readonly graceMs: number;
  /** How the attempt is then said to have ended. */
  readonly outcome: Outcome;
}

export interface RunningAttempt {
  /** Resolves when the end is recorded, or the attempt was disowned or left. Never rejects. */
  readonly done: Promise<void>;
  /** Ends the program with everything it started. The first request decides the outcome; repeats are harmless. */
  stop(request: StopRequest): void;
  /** Its fence is over: ends the program and reports nothing more. */
  disown(graceMs: number): void;
  /** Leaves the program running and the attempt unreported: the next agent process goes on with it. */
  leave(): Promise<void>;
  /** Processes that belong to it, by their numbers where they run. */
  pids(): Promise<readonly number[]>;
}
