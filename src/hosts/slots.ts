// A fixed number of places; who finds none free waits its turn.

export interface Slots {
  /** Resolves with the way to give the place back, which may be called twice. Rejects when the signal aborts first. */
  take(signal?: AbortSignal): Promise<() => void>;
}

export function createSlots(count: number): Slots {
  let free = count;
  const waiting: (() => void)[] = [];
  const grant = (): (() => void) => {
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      const next = waiting.shift();
      if (next === undefined) free++;
      else next();
    };
  };
  return {
    take(signal) {
      if (signal?.aborted === true) return Promise.reject(signal.reason as Error);
      if (free > 0) {
        free--;
        return Promise.resolve(grant());
      }
      return new Promise((resolve, reject) => {
        const go = (): void => {
          signal?.removeEventListener("abort", abort);
          resolve(grant());
        };
        const abort = (): void => {
          waiting.splice(waiting.indexOf(go), 1);
          reject(signal!.reason as Error);
        };
        waiting.push(go);
        signal?.addEventListener("abort", abort, { once: true });
      });
    },
  };
}
