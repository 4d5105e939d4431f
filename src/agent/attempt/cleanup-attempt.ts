// A cleanup stage: deletes the checkpoints that the control plane chose, one report each. Repeating it is harmless: what is gone stays gone.

import type { HeldAttempt } from "../journal/records.js";
import type { AttemptHost } from "./attempt-host.js";
import { runInside } from "./inside-attempt.js";
import type { RunningAttempt } from "./running-attempt.js";

/** Runs the attempt. A stop takes effect between two checkpoints. */
export function runCleanup(host: AttemptHost, held: HeldAttempt): RunningAttempt {
  const { attemptId, fence, deletions } = held.assignment;
  return runInside(host, async (asked) => {
    if (!held.started) await host.spool.append([{ attemptId, fence, at: Date.now(), type: "started", command: null }]);
    let deleted = 0;
    let freedBytes = 0;
    const failed: string[] = [];
    for (const { checkpointId, path } of deletions) {
      if (asked.stopped !== null || asked.silent) break;
      let freed = 0;
      let error: string | null = null;
      try {
        freed = await host.place.deleteArtifact(path);
        deleted++;
        freedBytes += freed;
      } catch (thrown) {
        error = (thrown as Error).message.slice(0, 2_000);
        failed.push(checkpointId);
      }
      if (!asked.silent) await host.spool.append([{ attemptId, fence, at: Date.now(), type: "checkpoint-deleted", checkpointId, freedBytes: freed, error }]);
    }
    if (asked.silent) return;
    await host.spool.append([{ attemptId, fence, at: Date.now(), type: "ended", outcome: asked.stopped ?? { kind: "COMPLETED", outputs: { deleted, freedBytes, failed: failed.length } } }]);
  });
}
