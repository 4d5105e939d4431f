// What the thread of a preprocess run and its starter say to each other.

import type { PreprocessRequest, PreprocessResult } from "./preprocess.js";
import type { ProgressReport } from "./preprocess-progress.js";

/** The thread's `workerData`. */
export interface WorkOrder {
  readonly request: PreprocessRequest;
  /** Work folder in which the files are made. */
  readonly folder: string;
}

/** An error as it crosses between threads, where classes do not. */
export interface ToldError {
  readonly refused: boolean;
  readonly name: string;
  readonly message: string;
  readonly code: string | null;
  readonly stack: string | null;
  readonly firstRejects: readonly string[];
}

export type WorkMessage =
  | { readonly type: "progress"; readonly at: ProgressReport }
  | { readonly type: "prepared"; readonly result: PreprocessResult }
  | { readonly type: "failed"; readonly error: ToldError };
