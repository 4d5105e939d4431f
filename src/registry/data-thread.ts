// A thread for work on data files, started when there is work and ended when there has been none for a while.
//   T1. Whatever a file does to the thread (its heap used up, an endless loop), the work under way is refused and the next work gets a new thread.
//   T2. It never keeps the process alive.

import { Worker } from "node:worker_threads";
import type { DiffedFile } from "../data/diff.js";
import type { DatasetFacts } from "../domain/data/dataset.js";
import type { DatasetDiff } from "../domain/data/dataset-diff.js";
import type { DataFormat } from "../domain/data/preprocess-params.js";
import { UnavailableError } from "../domain/errors.js";
import type { Json } from "../domain/pipeline/state.js";
import { workerProgram } from "../worker-program.js";

export type Work =
  | { readonly kind: "inspect"; readonly path: string; /** Null: by the file's ending. */ readonly format: DataFormat | null }
  | { readonly kind: "page"; readonly path: string; readonly format: DataFormat; readonly from: number; readonly count: number }
  | { readonly kind: "hash"; readonly path: string }
  | { readonly kind: "diff"; /** Of `from`. */ readonly path: string; readonly from: DiffedFile; readonly to: DiffedFile };

export interface ThreadRequest { readonly id: number; readonly work: Work }
export type ThreadAnswer = { readonly id: number; readonly value: unknown; readonly failure?: undefined } | { readonly id: number; readonly failure: { readonly code: string | null; readonly message: string } };

/** The file is to blame: it cannot be read as what it claims to be. */
export class FileRefusedError extends Error {
  readonly code: string;
  constructor(code: string | null, message: string) {
    super(message);
    this.name = "FileRefusedError";
    this.code = code ?? "UNREADABLE_FILE";
  }
}

export type FileFacts = DatasetFacts & { readonly unreadableRows: number };

export interface DataThread {
  /** Facts of a file; reads all of it. Throws FileRefusedError, UnavailableError. */
  inspect(path: string, format: DataFormat | null): Promise<FileFacts>;
  /** Rows of a file, counted from 0. Throws FileRefusedError, UnavailableError. */
  page(path: string, format: DataFormat, from: number, count: number): Promise<Json[]>;
  hash(path: string): Promise<{ sha256: string; sizeBytes: number }>;
  /** What the rows of two files have in common and what not; reads all of both. Throws FileRefusedError, UnavailableError. */
  diff(from: DiffedFile, to: DiffedFile): Promise<DatasetDiff>;
  /** Ends it now; work under way is refused. May be called twice. */
  stop(): Promise<void>;
}

const IDLE_MS = 60_000;
/** A page that takes longer ends the thread, in milliseconds. */
const PAGE_PATIENCE_MS = 20_000;
/** A heap beyond this ends the thread instead of the process. */
const HEAP_MIB = 1_024;

export function createDataThread(options: { readonly pagePatienceMs?: number } = {}): DataThread {
  interface Waiting { resolve(value: unknown): void; reject(error: Error): void; readonly timer: NodeJS.Timeout | null }
  let worker: Worker | null = null;
  let idle: NodeJS.Timeout | undefined;
  let ids = 0;
  const waiting = new Map<number, Waiting>();

  function started(): Worker {
    clearTimeout(idle);
    if (worker !== null) return worker;
    const { file, argv } = workerProgram("registry/data.worker");
    const made = new Worker(file, { argv, execArgv: [], name: "data files", resourceLimits: { maxOldGenerationSizeMb: HEAP_MIB } });
    made.unref(); // T2
    made.on("message", (answer: ThreadAnswer) => settle(answer));
    made.on("error", (error: Error & { code?: string }) => lose(made, error.code === "ERR_WORKER_OUT_OF_MEMORY"
      ? new FileRefusedError("UNREADABLE_FILE", `The file needs more than ${HEAP_MIB} MiB of memory to be looked into: its rows or row groups are too large.`) : error));
    made.on("exit", () => lose(made, new UnavailableError("The thread that reads data files has ended. Try again.")));
    return (worker = made);
  }

  function settle(answer: ThreadAnswer): void {
    const one = waiting.get(answer.id);
    if (one === undefined) return;
    waiting.delete(answer.id);
    if (one.timer !== null) clearTimeout(one.timer);
    if (answer.failure === undefined) one.resolve(answer.value);
    else one.reject(new FileRefusedError(answer.failure.code, answer.failure.message));
    if (waiting.size === 0) idle = setTimeout(() => void stop(), IDLE_MS).unref();
  }

  /** T1. */
  function lose(lost: Worker, error: Error): void {
    if (worker !== lost) return;
    worker = null;
    clearTimeout(idle);
    for (const [id, one] of waiting) {
      waiting.delete(id);
      if (one.timer !== null) clearTimeout(one.timer);
      one.reject(error);
    }
    void lost.terminate();
  }

  function perform<T>(work: Work, patienceMs: number | null): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const id = ++ids;
      const thread = started();
      const timer = patienceMs === null ? null : setTimeout(() => lose(thread, new UnavailableError(`${work.path} could not be read within ${patienceMs / 1_000} s. Try again, or ask for fewer rows.`)), patienceMs);
      waiting.set(id, { resolve: resolve as (value: unknown) => void, reject, timer });
      thread.postMessage({ id, work } satisfies ThreadRequest);
    });
  }

  async function stop(): Promise<void> {
    clearTimeout(idle);
    const lost = worker;
    if (lost === null) return;
    lose(lost, new UnavailableError("The server is stopping."));
    await lost.terminate();
  }

  return {
    inspect: (path, format) => perform({ kind: "inspect", path, format }, null),
    page: (path, format, from, count) => perform({ kind: "page", path, format, from, count }, options.pagePatienceMs ?? PAGE_PATIENCE_MS),
    hash: (path) => perform({ kind: "hash", path }, null),
    diff: (from, to) => perform({ kind: "diff", path: from.path, from, to }, null),
    stop,
  };
}
