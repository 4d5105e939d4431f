// A stream that is pulled: it reads a page when asked, waits to be woken when there is nothing, and holds no more than the page it is giving out.
//   S1. Written as an iterator by hand: `return()` takes effect at once, also while a `next()` is waiting, and leaves no listener and no timer behind.
//   S2. A wake-up during a read is not lost: it makes the next read happen.
//   S3. Pages that follow each other without a wait are parted by a real turn of the event loop: a source in memory cannot starve the process.
//   S4. Nothing is read ahead: the next page is read when the last item of this one was taken.

export interface Page<T> {
  readonly items: readonly T[];
  /** `more`: read on without waiting. `wait`: until woken. `end`: the stream ends after these items. */
  readonly then: "more" | "wait" | "end";
}

export interface PageSource<T> {
  /**
   * Called once, before the first page; `wake` says that there may be something new. Arranges its wake-ups before it awaits anything, so that `stop` finds
   * them. May throw: the stream then ends with that error.
   */
  start(wake: () => void): Promise<void>;
  /** What is new since the last page. */
  page(): Promise<Page<T>>;
  /** What to say after `idleEveryMs` without an item; null: nothing. */
  idle(): T | null;
  readonly idleEveryMs: number;
  /** Called once. Takes back what `start` arranged. */
  stop(): void;
}

/** The stream over a source. Nothing happens before the first `next()`. */
export function pullStream<T>(source: PageSource<T>): AsyncIterableIterator<T> {
  let state: "new" | "open" | "closed" = "new";
  let page: Page<T> = { items: [], then: "more" };
  let taken = 0;
  let stale = true; // a read is due
  let paged = false; // items were given out since the last wait
  let release: ((reason: "woken" | "idle" | "closed") => void) | null = null;
  let under = 0; // takes that have not ended
  let last: Promise<unknown> = Promise.resolve();

  function wake(): void {
    stale = true;
    release?.("woken");
  }

  function wait(): Promise<"woken" | "idle" | "closed"> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => release?.("idle"), source.idleEveryMs);
      release = (reason) => {
        clearTimeout(timer);
        release = null;
        resolve(reason);
      };
    });
  }

  function close(): void {
    if (state === "closed") return;
    const started = state === "open";
    state = "closed";
    page = { items: [], then: "end" };
    release?.("closed");
    if (started) source.stop();
  }

  const isClosed = () => state === "closed";

  async function take(): Promise<IteratorResult<T>> {
    try {
      if (state === "new") {
        state = "open";
        await source.start(wake);
      }
      while (!isClosed()) {
        if (taken < page.items.length) return { done: false, value: page.items[taken++]! };
        if (page.then === "end") {
          close();
          break;
        }
        if (stale) {
          if (paged) await new Promise(setImmediate); // S3
          if (isClosed()) break;
          stale = false;
          const next = await source.page();
          if (isClosed()) break;
          page = next;
          taken = 0;
          paged = next.items.length > 0;
          stale ||= next.then === "more";
          continue;
        }
        paged = false;
        if ((await wait()) !== "idle") continue;
        const item = source.idle();
        if (item !== null) return { done: false, value: item };
      }
      return { done: true, value: undefined };
    } catch (error) {
      close();
      throw error;
    } finally {
      under--;
    }
  }

  return {
    [Symbol.asyncIterator]() { return this; },
    next() {
      const result = under++ === 0 ? take() : last.then(take, take); // one after the other
      last = result;
      return result;
    },
    return() {
      close();
      return Promise.resolve({ done: true, value: undefined });
    },
    throw(error: unknown) {
      close();
      return Promise.reject(error instanceof Error ? error : new Error(String(error)));
    },
  };
}
