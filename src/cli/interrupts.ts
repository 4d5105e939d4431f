// Ctrl-C (or SIGTERM) as an AbortSignal, for commands that end in order.

export interface Interrupt {
  readonly signal: AbortSignal;
  /** Gives the signals back to their usual meaning. */
  release(): void;
}

export function interruptSignal(): Interrupt {
  const controller = new AbortController();
  const abort = () => controller.abort();
  process.once("SIGINT", abort);
  process.once("SIGTERM", abort);
  return {
    signal: controller.signal,
    release() {
      process.off("SIGINT", abort);
      process.off("SIGTERM", abort);
    },
  };
}
