// How far a preprocess attempt is, in bytes: what was hashed, fetched and prepared, out of what is known to be ahead.

export interface WorkProgress {
  /** Announces so many bytes of work; the function that comes back takes how many of them are done. */
  counter(bytes: number): (done: number) => void;
  /** Like `counter`, where the work itself says how much it is. */
  job(): (done: number, total: number) => void;
  readonly done: number;
  readonly total: number;
}

/** `total` grows when work is announced. `done` never falls and never passes `total`. */
export function createWorkProgress(): WorkProgress {
  const parts: { done: number; total: number }[] = [];
  const sum = (of: "done" | "total"): number => parts.reduce((all, part) => all + part[of], 0);
  const job = () => {
    const part = { done: 0, total: 0 };
    parts.push(part);
    return (done: number, total: number): void => {
      part.total = Math.max(part.total, total, 0);
      part.done = Math.max(part.done, Math.min(done, part.total));
    };
  };
  return {
    job,
    counter(bytes) {
      const report = job();
      report(0, bytes);
      return (done) => report(done, bytes);
    },
    get done() { return sum("done"); },
    get total() { return sum("total"); },
  };
}
