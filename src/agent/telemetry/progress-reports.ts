// Reports how far work inside the agent is, as steps of one byte: at most every PROGRESS_EVERY_MS, and never waiting for room.
//   R1. After `finish` or `stop` resolved nothing more is reported.

import { setImmediate as nextTurn } from "node:timers/promises";
import type { AttemptId } from "../../domain/ids.js";
import type { WorkProgress } from "../data/work-progress.js";
import { JournalFullError } from "../journal/journal-errors.js";
import type { Spool } from "../journal/spool.js";

/** Least time between two progress reports, in milliseconds. */
const PROGRESS_EVERY_MS = 500;

export interface ProgressReports {
  /** The work is done: reports its last state. */
  finish(): Promise<void>;
  stop(): Promise<void>;
}

/** `failed` hears of an error of the journal. */
export function reportProgress(spool: Pick<Spool, "append" | "room">, attempt: { readonly attemptId: AttemptId; readonly fence: number }, progress: Pick<WorkProgress, "done" | "total">, failed: (error: Error) => void): ProgressReports {
  let told = -1;
  let toldTotal = -1;
  let telling: Promise<void> = Promise.resolve();
  let busy = false;
  const tell = async (): Promise<void> => {
    const { done, total } = progress;
    if (done === told && total === toldTotal) return;
    if (!(await Promise.race([spool.room().then(() => true), nextTurn(false)]))) return;
    try {
      await spool.append([{ type: "progress", ...attempt, at: Date.now(), step: done, totalSteps: total > 0 ? total : null }]);
      [told, toldTotal] = [done, total];
    } catch (error) {
      if (!(error instanceof JournalFullError)) failed(error as Error);
    }
  };
  const timer = setInterval(() => {
    if (busy) return;
    busy = true;
    telling = tell().finally(() => { busy = false; });
  }, PROGRESS_EVERY_MS);
  const stop = async (): Promise<void> => {
    clearInterval(timer);
    await telling;
  };
  return {
    stop,
    async finish() {
      await stop();
      await tell();
    },
  };
}
