// The lease keeper: renews what this agent holds, over HTTPS whatever link carries the rest.
//   L1. One renewal at a time, every `renewEveryMs` with some chance in it; after a failure sooner.
//   L2. A refused lease stops that program only.
//   L3. What is known of the host goes with the first renewal of a session and, as soon as it is new, with another one.
//   L4. It ends by saying why: the session is over, or it was told to stop.

import type { Logger } from "pino";
import { setTimeout as delay } from "node:timers/promises";
import type { GpuReport, Held, HostDescription, Renewed, SessionOpened } from "../protocol/messages.js";
import { CallRefusedError, type ControlPlaneClient } from "./control-plane-client.js";
import { monotonicMs } from "./lease-trust.js";

/** Wait after a failed renewal, in milliseconds. */
const RETRY_MS = 1_000;

export interface LeaseKeeperOptions {
  readonly client: ControlPlaneClient;
  readonly session: SessionOpened;
  readonly log: Logger;
  readonly signal: AbortSignal;
  held(): Held[];
  gpus(): Promise<readonly GpuReport[]>;
  draining(): boolean;
  /** What is known of the host: another object when it is new. */
  host(): HostDescription;
  /** Calls back when the host is known anew, until the function it returns is called. */
  onHostChange(listener: () => void): () => void;
  /** A renewal was accepted; `sentAt` by monotonicMs. */
  renewed(answer: Renewed, sentAt: number): void;
}

/** Resolves with why the session is over, or null when the signal ended it (L4). */
export async function keepLeases(options: LeaseKeeperOptions): Promise<string | null> {
  const { client, session, signal, log } = options;
  let failing = false;
  let told: HostDescription | null = null;
  let waitMs = session.renewEveryMs * (0.5 + Math.random() / 2);
  for (;;) {
    await pause(waitMs, signal, options.onHostChange);
    if (signal.aborted) return null;
    const gpus = await options.gpus();
    const host = options.host();
    const sentAt = monotonicMs();
    try {
      const answer = await client.renew({ sessionId: session.sessionId, held: options.held(), gpus: [...gpus], draining: options.draining(), ...(host === told ? {} : { host }) }, signal);
      told = host; // L3
      if (failing) log.info("the control plane answers again");
      failing = false;
      options.renewed(answer, sentAt);
      waitMs = options.host() === host ? session.renewEveryMs * (0.9 + Math.random() * 0.2) : 0;
    } catch (error) {
      if (signal.aborted) return null;
      if (error instanceof CallRefusedError && error.endsSession) return error.message;
      if (!failing) log.warn({ err: error }, "renewal failed; programs go on running until the leases end");
      failing = true;
      waitMs = Math.min(RETRY_MS, session.renewEveryMs) * (0.75 + Math.random() / 2);
    }
  }
}

/** Resolves after `waitMs`, or when the signal aborts or the host is known anew (L3). */
async function pause(waitMs: number, signal: AbortSignal, onHostChange: LeaseKeeperOptions["onHostChange"]): Promise<void> {
  const sooner = new AbortController();
  const end = (): void => sooner.abort();
  const stopListening = onHostChange(end);
  signal.addEventListener("abort", end, { once: true });
  if (signal.aborted) end();
  await delay(waitMs, undefined, { signal: sooner.signal }).catch(() => undefined);
  signal.removeEventListener("abort", end);
  stopListening();
}
