// Comparing versions of data sets, from files of this machine that have exactly their content.
//   M1. One comparison at a time, in a thread of its own; who asks for the same one again, after a broken connection for instance, gets the one that is under way or was
//       made lately. What two contents have in common never changes.
//   M2. A comparison counts only if both files stood still meanwhile.

import { columnChanges, type DatasetDiff } from "../domain/data/dataset-diff.js";
import { ConflictError, UnavailableError } from "../domain/errors.js";
import type { Db } from "../db/database.js";
import { readFiles, type DatasetRow } from "../db/datasets.js";
import { createDataThread, FileRefusedError } from "./data-thread.js";
import { sameStamp, stampOf, type FileStamp, type ReachableFiles } from "./reachable-files.js";
import { createTurns } from "./turns.js";

export interface Comparisons {
  /** Throws ConflictError (ROWS_NOT_REACHABLE, FILE_CHANGED), UnavailableError. */
  compare(from: DatasetRow, to: DatasetRow): Promise<DatasetDiff>;
  /** Ends what is under way. May be called twice. */
  stop(): Promise<void>;
}

/** How long a file may take to be hashed before it is compared, in milliseconds. */
const PATIENCE_MS = 3_600_000;
const WAITING_AT_MOST = 8;
const KEPT = 16;

export function createComparisons({ db, reachable }: { readonly db: Db; readonly reachable: Pick<ReachableFiles, "find"> }): Comparisons {
  const thread = createDataThread();
  const turns = createTurns({ atOnce: 1, waitingAtMost: WAITING_AT_MOST, refusal: `${WAITING_AT_MOST} comparisons of data sets are waiting. Try again when some are done.` });
  const made = new Map<string, Promise<DatasetDiff>>();
  let stopped = false;

  function compare(from: DatasetRow, to: DatasetRow): Promise<DatasetDiff> {
    if (from.contentHash === to.contentHash) return Promise.resolve(nothingChanged(from, to));
    const key = `${from.contentHash} ${to.contentHash}`; // M1
    const begun = made.get(key) ?? perform(from, to);
    made.delete(key);
    made.set(key, begun);
    begun.catch(() => made.delete(key));
    if (made.size > KEPT) made.delete(made.keys().next().value!);
    return begun;
  }

  async function perform(from: DatasetRow, to: DatasetRow): Promise<DatasetDiff> {
    const done = await turns.take();
    try {
      if (stopped) throw new UnavailableError("The server is stopping.");
      const [before, after] = [await locate(from), await locate(to)];
      const diff = await thread.diff({ path: before.path, format: from.format, rows: from.rows, columns: from.columns }, { path: after.path, format: to.format, rows: to.rows, columns: to.columns });
      for (const { path, stamp } of [before, after]) {
        const now = await stampOf(path);
        if (now === null || !sameStamp(now, stamp)) throw changed(path); // M2
      }
      return diff;
    } catch (error) {
      throw error instanceof FileRefusedError ? new ConflictError("ROWS_NOT_REACHABLE", `The rows cannot be compared: ${error.message}.`) : error;
    } finally {
      done();
    }
  }

  async function locate(dataset: DatasetRow): Promise<{ path: string; stamp: FileStamp }> {
    const reach = await reachable.find(dataset, await readFiles(db, [dataset.id]), PATIENCE_MS);
    if (reach.path === null) {
      throw new ConflictError("ROWS_NOT_REACHABLE", `The rows of ${dataset.name}@${dataset.version} cannot be read here, so they cannot be compared: ${reach.why}. Upload the file, or put it into a data directory of the control plane, and register it under the same name.`);
    }
    const stamp = await stampOf(reach.path);
    if (stamp === null) throw changed(reach.path);
    return { path: reach.path, stamp };
  }

  return {
    compare,
    async stop() {
      stopped = true;
      turns.release();
      await thread.stop();
    },
  };
}

function changed(path: string): ConflictError {
  return new ConflictError("FILE_CHANGED", `${path} was changed while it was read. Compare again when whoever writes it has finished.`, { retryable: true });
}

function nothingChanged(from: DatasetRow, to: DatasetRow): DatasetDiff {
  return { sameContent: true, rowsSame: to.rows - to.unreadableRows, rowsAdded: 0, rowsRemoved: 0, columns: columnChanges(from.columns, to.columns), lengths: [], categories: [], added: [], removed: [] };
}
