// Attempts that code hands in to be run inside the agent, through the same journal, spool and reports as programs. Only benchmarks do that.

import type { Assignment } from "../../protocol/messages.js";
import type { HeldAttempt } from "../journal/records.js";
import type { AttemptHost } from "./attempt-host.js";
import { runInside } from "./inside-attempt.js";
import type { Outcome, RunningAttempt } from "./running-attempt.js";

export interface InProcessRunner {
  /** Whether this assignment is run here instead of as a program. */
  takes(assignment: Assignment): boolean;
  /** Runs it. May be called again for the same attempt after a crash. */
  run(assignment: Assignment): Outcome | Promise<Outcome>;
}

export function runInProcess(host: AttemptHost, held: HeldAttempt, runner: InProcessRunner): RunningAttempt {
  const { attemptId, fence } = held.assignment;
  return runInside(host, async (asked) => {
    const started = held.started ? Promise.resolve() : host.spool.append([{ attemptId, fence, at: Date.now(), type: "started", command: null }]);
    const outcome = await runner.run(held.assignment);
    const ended = asked.silent ? Promise.resolve() : host.spool.append([{ attemptId, fence, at: Date.now(), type: "ended", outcome: asked.stopped ?? outcome }]);
    await Promise.all([started, ended]); // both in one write when the runner took no time
  });
}
