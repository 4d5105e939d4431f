// A place as somebody sees it who will not wait for ever: what is asked of it ends with a signal, also while the place is out of reach.

import type { Place } from "./place.js";

/** The place whose answers are no longer waited for when the signal aborts: then they reject with its reason. Starting, following and stopping programs are left as they are. What is pushed is used by the attempt `user`. */
export function boundTo(place: Place, signal: AbortSignal, user: string): Place {
  const bound = <T>(answer: Promise<T>): Promise<T> => {
    answer.catch(() => undefined); // it may come after the signal
    if (signal.aborted) return Promise.reject(signal.reason as Error);
    return new Promise((resolve, reject) => {
      const aborted = (): void => reject(signal.reason as Error);
      signal.addEventListener("abort", aborted, { once: true });
      answer.then(resolve, reject).finally(() => signal.removeEventListener("abort", aborted));
    });
  };
  return {
    ...place,
    ask: (question) => bound(place.ask({ ...question, signal: question.signal === undefined ? signal : AbortSignal.any([signal, question.signal]) })),
    push: (paths, options) => bound(place.push(paths, { user, ...options, signal: AbortSignal.any([signal, options.signal]) })),
    stat: (paths) => bound(place.stat(paths)),
    readText: (path, limitBytes) => bound(place.readText(path, limitBytes)),
    list: (path) => bound(place.list(path)),
    freeDisk: (path) => bound(place.freeDisk(path)),
    writeText: (path, text) => bound(place.writeText(path, text)),
    freePort: (range, from) => bound(place.freePort(range, from)),
  };
}
