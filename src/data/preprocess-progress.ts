// How far a preprocess run is, in bytes of its input, over all of its phases: one number that only grows and a total that is known at the start.

export interface ProgressReport {
  /** Bytes of work done, up to `total`. */
  readonly done: number;
  readonly total: number;
  /** In words, for people. */
  readonly phase: string;
}

/** Work per byte of input, with reading, checking and converting it as 1. */
const HASHING = 0.25;
const ARRANGING = 0.5;

export interface Progress {
  /** Bytes of this input that were hashed before it is read. */
  hashed(source: number, bytes: number): void;
  read(source: number, bytes: number): void;
  /** Rows that went from where they were set aside into the files. */
  arranged(done: number, total: number): void;
  finishing(): void;
  finished(): void;
}

/** `hashing`: the inputs that are hashed apart from being read. */
export function createProgress(inputs: readonly { sizeBytes: number; hashing: boolean }[], arranging: boolean, report: (at: ProgressReport) => void): Progress {
  const size = inputs.reduce((sum, input) => sum + input.sizeBytes, 0);
  const worth = inputs.map((input) => ({ hashing: input.hashing ? input.sizeBytes * HASHING : 0, reading: input.sizeBytes }));
  const total = Math.max(1, Math.round(worth.reduce((sum, input) => sum + input.hashing + input.reading, 0) + (arranging ? size * ARRANGING : 0)));
  const starts = worth.map((_, source) => worth.slice(0, source).reduce((sum, input) => sum + input.hashing + input.reading, 0));
  let shown = 0;

  function tell(done: number, phase: string): void {
    shown = Math.max(shown, Math.min(total, Math.round(done)));
    report({ done: shown, total, phase });
  }

  /** The part of the input's bytes that is done. */
  const part = (source: number, bytes: number): number => Math.min(1, share(bytes, inputs[source]!.sizeBytes));

  return {
    hashed: (source, bytes) => tell(starts[source]! + part(source, bytes) * worth[source]!.hashing, "hashing"),
    read: (source, bytes) => tell(starts[source]! + worth[source]!.hashing + part(source, bytes) * worth[source]!.reading, "reading"),
    arranged: (done, rows) => tell(total - (1 - share(done, rows)) * size * ARRANGING, "arranging"),
    finishing: () => tell(shown, "finishing"),
    finished: () => tell(total, "finished"),
  };
}

function share(part: number, whole: number): number {
  return whole === 0 ? 1 : part / whole;
}
