// Tells when files of a folder may have grown: woken by the system where it can, by looking where it cannot.
//   W1. A wake-up may be in vain and one may be lost; whoever waits looks at the file itself, at least every LOOK_MS.
//   W2. Between two wake-ups lie GAP_MS: a chatty program costs ten looks a second, not thousands.

import { watch, type FSWatcher } from "node:fs";

/** Looks without a wake-up, in milliseconds: with the system's help, and on file systems that give none. */
const LOOK_MS = 1_000;
const LOOK_ALONE_MS = 150;
/** Least time between two wake-ups, in milliseconds. */
const GAP_MS = 80;

export interface FileWatch {
  /** Resolves when it is time to look again, at once after `rouse`. */
  next(): Promise<void>;
  /** Ends the present wait. */
  rouse(): void;
  close(): void;
}

export function watchFolder(folder: string): FileWatch {
  let changed = true;
  let wake: (() => void) | null = null;
  let timer: NodeJS.Timeout | null = null;
  let lastAt = 0;
  let closed = false;
  let watcher: FSWatcher | null = null;
  try {
    watcher = watch(folder, { persistent: false }, () => {
      changed = true;
      arm();
    });
    watcher.on("error", () => {
      watcher?.close();
      watcher = null;
    });
  } catch {
    // No more watches on this system (ENOSPC) or none at all: looking it is.
  }
  const go = (): void => {
    if (timer !== null) clearTimeout(timer);
    timer = null;
    const resolve = wake;
    wake = null;
    if (resolve === null) return;
    changed = false;
    lastAt = performance.now();
    resolve();
  };
  const arm = (): void => {
    if (wake === null) return;
    if (timer !== null) clearTimeout(timer);
    const idle = performance.now() - lastAt;
    timer = setTimeout(go, changed ? Math.max(0, GAP_MS - idle) : Math.max(0, (watcher === null ? LOOK_ALONE_MS : LOOK_MS) - idle)); // W1, W2
  };
  return {
    next: () => new Promise<void>((resolve) => {
      wake = resolve;
      if (closed) go();
      else arm();
    }),
    rouse() {
      go();
      changed = true;
    },
    close() {
      closed = true;
      watcher?.close();
      watcher = null;
      go();
    },
  };
}
