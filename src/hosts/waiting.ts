// Waits that have an end.

/** The promise, or the reason of the signal when that aborts first; what comes of the promise then is nobody's. */
export function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  return signal === undefined ? promise : within(promise, null, signal, () => new Error("unreached"));
}

/** The promise; `late` when it takes longer than `ms` (null: any time); the reason of the signal when that aborts first. */
export async function within<T>(promise: Promise<T>, ms: number | null, signal: AbortSignal | undefined, late: () => Error): Promise<T> {
  promise.catch(() => undefined);
  signal?.throwIfAborted();
  let abort: (() => void) | undefined;
  let timer: NodeJS.Timeout | undefined;
  try {
    return await Promise.race([promise, new Promise<never>((_, reject) => {
      abort = () => reject(signal!.reason as Error);
      signal?.addEventListener("abort", abort, { once: true });
      if (ms !== null) timer = setTimeout(() => reject(late()), ms);
    })]);
  } finally {
    clearTimeout(timer);
    if (abort !== undefined) signal?.removeEventListener("abort", abort);
  }
}
