// The thread in which a preprocess run does its work. It ends when it has told how that went; whoever started it publishes or removes the files, so that it may
// be ended at any moment.

import { parentPort, workerData } from "node:worker_threads";
import { prepareFiles } from "./preprocess.js";
import type { ToldError, WorkMessage, WorkOrder } from "./preprocess-messages.js";
import type { ProgressReport } from "./preprocess-progress.js";
import { PreprocessRefusedError } from "./preprocess-refused.js";

const PROGRESS_EVERY_MS = 100;

const { request, folder } = workerData as WorkOrder;
const tell = (message: WorkMessage): void => parentPort!.postMessage(message);

try {
  tell({ type: "prepared", result: await prepareFiles(request, folder, { signal: new AbortController().signal, onProgress: seldom((at) => tell({ type: "progress", at })) }) });
} catch (error) {
  tell({ type: "failed", error: told(error) });
}

/** The first report, each new phase, and otherwise one in PROGRESS_EVERY_MS. */
function seldom(report: (at: ProgressReport) => void): (at: ProgressReport) => void {
  let phase = "";
  let last = 0;
  return (at) => {
    const now = performance.now();
    if (at.phase === phase && now - last < PROGRESS_EVERY_MS) return;
    phase = at.phase;
    last = now;
    report(at);
  };
}

function told(error: unknown): ToldError {
  const refused = error instanceof PreprocessRefusedError;
  if (!(error instanceof Error)) return { refused, name: "Error", message: String(error), code: null, stack: null, firstRejects: [] };
  const { code } = error as { code?: unknown };
  return { refused, name: error.name, message: error.message, code: typeof code === "string" ? code : null, stack: error.stack ?? null, firstRejects: refused ? error.firstRejects : [] };
}
