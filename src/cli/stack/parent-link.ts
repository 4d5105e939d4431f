// The line between `trainyard up` and the processes it starts: Node's IPC channel. It says when a child is ready, carries the order to stop, and its breaking
// tells a child that `up` is gone, however it went.
//   K1. A child whose parent is gone stops by itself: nobody else would, and the next `up` wants its port and its directory.

export type ToParent = { readonly type: "ready"; readonly url?: string };
export type ToChild = { readonly type: "stop"; readonly mode: StopMode };
/** What an agent does with running programs when it stops. A control plane has none. */
export type StopMode = "detach" | "drain" | "now";

/** Child's side. */
export function tellParent(message: ToParent): void {
  process.send?.(message);
}

/** Child's side: resolves with the mode of the stop that was ordered, by the parent, by a signal, or by the parent's end (K1; then as `fallback`). */
export function stopOrder(fallback: StopMode, supervised: boolean): Promise<StopMode> {
  return new Promise((resolve) => {
    for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) process.on(signal, () => resolve(fallback)); // the second one is no accident, but stopping is under way
    if (!supervised) return;
    process.on("message", (message) => {
      if ((message as ToChild).type === "stop") resolve((message as ToChild).mode);
    });
    process.once("disconnect", () => resolve(fallback));
    if (!process.connected) resolve(fallback);
  });
}
