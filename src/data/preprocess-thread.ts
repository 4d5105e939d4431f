// A preprocess run in a thread of its own, so that the agent goes on renewing leases while rows are read.
//   T1. The thread makes everything in the work folder; only this side moves files out of it. Ending the thread at any moment leaves nothing under a final name.
//   T2. The work folder is gone before `done` settles, however the run ends.

import { Worker } from "node:worker_threads";
import { workerProgram } from "../worker-program.js";
import { publishRejects, publishResult, type PreprocessRequest, type PreprocessResult } from "./preprocess.js";
import type { ToldError, WorkMessage, WorkOrder } from "./preprocess-messages.js";
import type { ProgressReport } from "./preprocess-progress.js";
import { abortError, PreprocessRefusedError } from "./preprocess-refused.js";
import { createWorkFolder, removeWorkFolder } from "./write/work-folder.js";

export interface PreprocessRun {
  /** Rejects with PreprocessRefusedError, an AbortError after `cancel`, or an Error with the `code` of the file system (ENOSPC) or of the thread (ERR_WORKER_OUT_OF_MEMORY). */
  readonly done: Promise<PreprocessResult>;
  /** Ends the thread at once; tolerates being called again, and after the end, when the files stay. */
  cancel(): void;
  /** Called with every report until the end, about ten times a second. */
  onProgress(listener: (at: ProgressReport) => void): void;
}

/** The thread's heap, in MiB, beside what one row of `maxRowBytes` needs. The rows themselves take far less; tokenizers and near-duplicate tables are the rest. */
const HEAP_MIB = 1_024;
/** A small young generation is collected often and keeps the process small: rows die young. */
const YOUNG_MIB = 24;
const HEAP_BYTES_PER_ROW_BYTE = 24;

/** Starts at once. */
export function startPreprocess(request: PreprocessRequest): PreprocessRun {
  const listeners: ((at: ProgressReport) => void)[] = [];
  const cancelled = new AbortController();
  const done = run(request, cancelled.signal, (at) => {
    for (const listener of listeners) listener(at);
  });
  done.catch(() => undefined); // whoever awaits `done` hears of it; a starter that was itself ended must not end the process
  return { done, cancel: () => cancelled.abort(), onProgress: (listener) => void listeners.push(listener) };
}

async function run(request: PreprocessRequest, cancelled: AbortSignal, onProgress: (at: ProgressReport) => void): Promise<PreprocessResult> {
  const folder = await createWorkFolder(request.outputDir);
  try {
    const result = await work({ request, folder }, cancelled, onProgress);
    if (cancelled.aborted) throw abortError();
    await publishResult(result, folder, request.outputDir);
    return result;
  } catch (error) {
    if (error instanceof PreprocessRefusedError) await publishRejects(folder, request.outputDir);
    throw error;
  } finally {
    await removeWorkFolder(folder);
  }
}

/** Resolves or rejects once the thread is gone. */
async function work(order: WorkOrder, cancelled: AbortSignal, onProgress: (at: ProgressReport) => void): Promise<PreprocessResult> {
  if (cancelled.aborted) throw abortError();
  const { file, argv } = workerProgram("data/preprocess.worker");
  const worker = new Worker(file, {
    argv,
    execArgv: [],
    workerData: order,
    resourceLimits: { maxOldGenerationSizeMb: HEAP_MIB + Math.ceil((order.request.params.maxRowBytes * HEAP_BYTES_PER_ROW_BYTE) / 1_048_576), maxYoungGenerationSizeMb: YOUNG_MIB },
  });
  let result: PreprocessResult | null = null;
  let failure: Error | null = null;
  const end = (): void => void worker.terminate();
  cancelled.addEventListener("abort", end);
  worker.on("message", (message: WorkMessage) => {
    if (message.type === "progress") return cancelled.aborted ? undefined : onProgress(message.at);
    if (message.type === "prepared") result = message.result;
    else failure = revived(message.error);
  });
  worker.on("error", (error: Error) => void (failure ??= error));
  const code = await new Promise<number>((resolve) => worker.once("exit", resolve));
  cancelled.removeEventListener("abort", end);
  if (cancelled.aborted) throw abortError();
  if (failure !== null) throw failure as Error;
  if (result === null) throw new Error(`The thread of the preprocess stage ended with code ${code} before it was done.`);
  return result;
}

function revived(told: ToldError): Error {
  if (told.refused) return new PreprocessRefusedError(told.message, told.firstRejects);
  const error = new Error(told.message);
  error.name = told.name;
  if (told.stack !== null) error.stack = told.stack;
  return told.code === null ? error : Object.assign(error, { code: told.code });
}
