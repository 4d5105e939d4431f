// The way from a tailer into the spool.
//   P1. No room in the spool, or on the disk: the tailer waits and the data stays in its file.
//   P2. Once the program has ended a full disk is waited for only DRAIN_PATIENCE_MS: then its end is worth more than the rest of its log.

import { setTimeout as delay } from "node:timers/promises";
import type { AttemptId } from "../../domain/ids.js";
import { JournalFullError } from "../journal/journal-errors.js";
import type { Sources } from "../journal/records.js";
import type { Draft, Spool } from "../journal/spool.js";

const FULL_PAUSE_MS = 1_000;
const DRAIN_PATIENCE_MS = 10_000;

/** A report less what every report of the attempt has in common. */
export type Telemetry = Draft extends infer D ? (D extends Draft ? Omit<D, "attemptId" | "fence" | "at"> : never) : never;

export interface Publisher {
  /** Records the reports together with how far the files were read. False when they had to be given up (P2, or `abandon`). */
  publish(reports: readonly Telemetry[], sources: Omit<Sources, "attemptId">): Promise<boolean>;
  /** Like `publish`, from the reserve of a full disk. */
  publishVital(reports: readonly Telemetry[], sources: Omit<Sources, "attemptId">): Promise<void>;
  /** The program has ended (P2). */
  hurry(): void;
  /** Another one begins. */
  atLeisure(): void;
  /** Nothing of this attempt is to be reported any more. */
  abandon(): void;
}

export function createPublisher(spool: Spool, attempt: { readonly attemptId: AttemptId; readonly fence: number }): Publisher {
  let hurriedAt: number | null = null;
  let abandoned: () => void = () => undefined;
  let isAbandoned = false;
  const abandonment = new Promise<void>((resolve) => { abandoned = resolve; });
  const draft = (report: Telemetry): Draft => ({ ...report, attemptId: attempt.attemptId, fence: attempt.fence, at: Date.now() }) as Draft;
  const withId = (sources: Omit<Sources, "attemptId">): Sources => ({ attemptId: attempt.attemptId, ...sources });

  return {
    async publish(reports, sources) {
      for (;;) {
        await Promise.race([spool.room(), abandonment]);
        if (isAbandoned) return false;
        try {
          await spool.append(reports.map(draft), withId(sources));
          return true;
        } catch (error) {
          if (!(error instanceof JournalFullError)) throw error;
          if (hurriedAt !== null && performance.now() - hurriedAt > DRAIN_PATIENCE_MS) return false; // P2
          await Promise.race([delay(FULL_PAUSE_MS), abandonment]);
        }
      }
    },
    async publishVital(reports, sources) {
      if (!isAbandoned) await spool.append(reports.map(draft), withId(sources), { vital: true });
    },
    hurry() {
      hurriedAt ??= performance.now();
    },
    atLeisure() {
      hurriedAt = null;
    },
    abandon() {
      isAbandoned = true;
      abandoned();
    },
  };
}
