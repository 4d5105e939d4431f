// The attempts under way on this host.
//   A1. An attempt is begun once: the ledger knows whether it was.
//   A2. Losing one lease ends that attempt only.
//   A3. Programs of users and of what they install run in the agent's place. Programs of ours that need Node (reading rows, asking an endpoint, scoring, the stand-in
//       for a trainer) run at home, beside the agent.

import type { AttemptId } from "../domain/ids.js";
import type { RefusedLease } from "../protocol/messages.js";
import type { AttemptHost } from "./attempt/attempt-host.js";
import { runCleanup } from "./attempt/cleanup-attempt.js";
import { commandRole } from "./attempt/command-role.js";
import { runInProcess, type InProcessRunner } from "./attempt/in-process-attempt.js";
import { runPreprocess } from "./attempt/preprocess-attempt.js";
import { evaluationRole } from "./attempt/evaluation-role.js";
import { rehearsalHost } from "./attempt/rehearsal-host.js";
import { graceOf, runProgram } from "./attempt/program-attempt.js";
import type { Outcome, RunningAttempt } from "./attempt/running-attempt.js";
import { trainerCapabilities, type Versions } from "./host/versions.js";
import type { Ledger } from "./journal/ledger.js";
import { encodeRecord, type HeldAttempt, type StopOrder } from "./journal/records.js";
import { mergeRole } from "./training/merge-role.js";
import { trainingRole } from "./training/training-role.js";

/** What an agent can run (capabilityOf), whatever is installed in its place. */
export const CAPABILITIES = ["command", "evaluate", "evaluate:endpoint", "cleanup", "preprocess", "train:simulate", "merge:simulate", "evaluate:simulate", "evaluate:python", "python"] as const;
/** What an agent offers. */
export function capabilitiesOf(versions: Versions): readonly string[] {
  return [...CAPABILITIES, ...trainerCapabilities(versions)];
}

export interface Attempts {
  /** Runs a held attempt, or goes on with it. */
  begin(held: HeldAttempt): void;
  /** Carries a stop order out; the order is recorded already. */
  stop(order: StopOrder): void;
  /** Ends every program with the same outcome; resolves when all ends are recorded. `longestGraceMs` caps each stage's own grace. */
  stopAll(outcome: Outcome, longestGraceMs?: number): Promise<void>;
  /** Fences that are over: ends those programs and forgets the attempts. */
  disown(refused: readonly RefusedLease[]): void;
  /** Leaves every program running. */
  leaveAll(): Promise<void>;
  /** Resolves when nothing is under way. */
  idle(): Promise<void>;
  readonly size: number;
  /** Which of these processes belong to one of the attempts. */
  ours(pids: readonly number[]): Promise<ReadonlySet<number>>;
}

export function createAttempts(host: AttemptHost, ledger: Ledger, runner: InProcessRunner | null): Attempts {
  const running = new Map<AttemptId, RunningAttempt>();
  const idleWaiters: (() => void)[] = [];

  const run = (held: HeldAttempt): RunningAttempt => {
    if (runner !== null && runner.takes(held.assignment)) return runInProcess(host, held, runner);
    switch (held.assignment.kind) {
      case "preprocess": return runPreprocess(host, held);
      case "cleanup": return runCleanup(host, held);
      case "evaluate":
        if ("run" in held.assignment.params) return runProgram(host, held, commandRole, host.place);
        return runProgram(host, held, evaluationRole, host.place, host.home); // A3
      case "train":
      case "merge": {
        const where = held.assignment.params["simulate"] === true ? rehearsalHost(host) : host; // A3
        return runProgram(where, held, held.assignment.kind === "train" ? trainingRole : mergeRole, where.place);
      }
      case "command": return runProgram(host, held, commandRole, host.place);
      default: return runUnable(host, held);
    }
  };

  return {
    begin(held) {
      const { attemptId } = held.assignment;
      if (running.has(attemptId) || held.ended !== null) return; // A1
      const attempt = run(held);
      running.set(attemptId, attempt);
      if (held.stop !== null) attempt.stop({ graceMs: graceOf(held), outcome: { kind: "STOPPED" } });
      void attempt.done.then(() => {
        running.delete(attemptId);
        if (running.size === 0) for (const go of idleWaiters.splice(0)) go();
      });
    },
    stop(order) {
      const held = ledger.attempts.get(order.attemptId);
      if (held === undefined) return;
      running.get(order.attemptId)?.stop({ graceMs: graceOf(held), outcome: { kind: "STOPPED" } });
    },
    async stopAll(outcome, longestGraceMs = Number.POSITIVE_INFINITY) {
      const stopped = [...running].map(([attemptId, attempt]) => {
        const held = ledger.attempts.get(attemptId);
        attempt.stop({ graceMs: Math.min(longestGraceMs, held === undefined ? 30_000 : graceOf(held)), outcome });
        return attempt.done;
      });
      await Promise.all(stopped);
    },
    disown(refused) {
      for (const { attemptId, fence, message } of refused) {
        const held = ledger.attempts.get(attemptId);
        if (held === undefined || held.assignment.fence !== fence || held.ended !== null) continue; // an end that is on its way is let go of when it is committed
        host.log.warn({ attemptId, stage: held.assignment.stage }, message);
        running.get(attemptId)?.disown(graceOf(held)); // A2
        ledger.apply({ kind: "forget", body: { attemptId } }); // at once: nothing may begin it any more
        host.journal.append([{ vital: true, line: () => encodeRecord("forget", JSON.stringify({ attemptId })) }]).catch((error: unknown) => host.fatal(error as Error));
      }
    },
    async leaveAll() {
      await Promise.all([...running.values()].map((attempt) => attempt.leave()));
    },
    idle: () => (running.size === 0 ? Promise.resolve() : new Promise((resolve) => { idleWaiters.push(resolve); })),
    get size() { return running.size; },
    async ours(pids) {
      const members = new Set((await Promise.all([...running.values()].map((attempt) => attempt.pids()))).flat());
      return new Set(pids.filter((pid) => members.has(pid)));
    },
  };
}

/** A kind this agent never said it can run: the control plane is newer, or mistaken. */
function runUnable(host: AttemptHost, held: HeldAttempt): RunningAttempt {
  const { attemptId, fence, kind } = held.assignment;
  const done = host.spool
    .append([{ attemptId, fence, at: Date.now(), type: "ended", outcome: { kind: "REFUSED", reason: `This agent cannot run stages of kind ${kind}.` } }])
    .catch((error: unknown) => host.fatal(error as Error));
  return { done, stop: () => undefined, disown: () => undefined, leave: () => done, pids: async () => [] };
}
