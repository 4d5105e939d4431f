// How a trainer dies: an exception of Python's, told as Python tells it.

export class TrainerFailure extends Error {
  /** Name of the exception, with its module. */
  readonly kind: string;
  constructor(kind: string, message: string) {
    super(message);
    this.kind = kind;
  }
}

/** Hydra's refusal, in its words. */
export class CompositionError extends Error {
  readonly kind: string;
  constructor(kind: string, message: string) {
    super(message);
    this.kind = kind;
  }
}

/** The last lines of standard error. `file`: where it happened, for the reader's eyes. */
export function tracebackOf({ kind, message }: Pick<TrainerFailure, "kind" | "message">, file: string): string {
  return `Traceback (most recent call last):\n  File "${file}", line 1, in <module>\n${kind}: ${message}\n`;
}

export const OUT_OF_MEMORY = new TrainerFailure("torch.OutOfMemoryError", "CUDA out of memory. Tried to allocate 2.32 GiB. GPU 0 has a total capacity of 79.11 GiB of which 1.20 GiB is free. Process 4711 has 77.90 GiB memory in use. Of the allocated memory 74.61 GiB is allocated by PyTorch, and 1.88 GiB is reserved by PyTorch but unallocated.");
