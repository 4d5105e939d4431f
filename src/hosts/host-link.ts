// Keeps a host connected with its helper running: connects, and connects again for as long as it is wanted.
//   L1. Waits between tries double up to LONGEST_MS, each with chance in it: hosts that were lost together do not come back together.
//   L2. What does not pass by itself (a refused login, a missing Python) is tried only every STUBBORN_MS; somebody may mend it.
//   L3. After a changed host key nothing is tried any more: whoever waits gets the error, and `alarmed` hears of it.
//   L4. One connection and one helper at a time. Who follows files registers once and is called again with each new helper.

import { setTimeout as delay } from "node:timers/promises";
import { connectHost, type HostConnection } from "./connection.js";
import type { HostAccess } from "./host-access.js";
import { startHelper, type RemoteHelper } from "./remote-helper.js";
import { SshError } from "./ssh-error.js";

const FIRST_MS = 250;
const LONGEST_MS = 30_000;
const STUBBORN_MS = 60_000;

export interface HostLink {
  /** The host as the user calls it. */
  readonly name: string;
  /** The helper, as soon as there is one. Rejects with the error of L3, when the link is closed, or when the signal aborts first. */
  helper(signal?: AbortSignal): Promise<RemoteHelper>;
  /** Calls `use` with the helper there is and with each that follows (L4). Returns how to end that. */
  each(use: (helper: RemoteHelper) => void): () => void;
  /** One more connection, for bulk that must not stand in the helper's way, made by `by` with the access that holds now; the caller ends it. Tried once. Throws what `by` does. */
  connect<C>(by: (access: HostAccess) => Promise<C>): Promise<C>;
  /** What stands in the way now; null while it is up, or before the first try. */
  trouble(): Error | null;
  /** Ends connection and helper; programs on the host go on. May be called twice. */
  close(): void;
}

export interface HostLinkOptions {
  readonly name: string;
  /** Asked before each try: credentials may have been changed. */
  access(): Promise<HostAccess>;
  readonly directory: string;
  readonly pythonEnvironment: string | null;
  /** Called when it comes up (null) and when a try fails or the link is lost. */
  changed?(trouble: Error | null): void;
  /** L3. */
  alarmed?(error: SshError): void;
}

/** Wait before the n-th try in a row (from 0), in milliseconds. `chance` is 0 to 1. */
export function retryDelayMs(inARow: number, error: Error, chance: number): number {
  const passes = !(error instanceof SshError) || error.retryable;
  return Math.round((passes ? Math.min(LONGEST_MS, FIRST_MS * 2 ** Math.min(inARow, 20)) : STUBBORN_MS) * (0.5 + chance)); // L1, L2
}

export function openHostLink(options: HostLinkOptions): HostLink {
  const { name } = options;
  const closing = new AbortController();
  const users = new Set<(helper: RemoteHelper) => void>();
  const waiting = new Set<{ resolve(helper: RemoteHelper): void; reject(error: Error): void }>();
  let current: RemoteHelper | null = null;
  let connection: HostConnection | null = null;
  let trouble: Error | null = null;
  let over: Error | null = null;

  const end = (error: Error): void => {
    over ??= error;
    for (const { reject } of waiting) reject(over);
    waiting.clear();
  };
  const say = (error: Error | null): void => {
    trouble = error;
    options.changed?.(error);
  };
  const run = async (): Promise<void> => {
    for (let inARow = 0; !closing.signal.aborted;) {
      let failure: Error;
      try {
        connection = await connectHost(await options.access(), { signal: closing.signal });
        const helper = await startHelper(connection, { name, directory: options.directory, pythonEnvironment: options.pythonEnvironment });
        current = helper;
        inARow = 0;
        say(null);
        for (const { resolve } of waiting) resolve(helper);
        waiting.clear();
        for (const use of users) use(helper);
        failure = (await Promise.race([helper.closed, connection.closed])) ?? new SshError("SSH_CONNECTION_LOST", name, "the link was closed.");
      } catch (error) {
        failure = error as Error;
      }
      current = null;
      connection?.end();
      connection = null;
      if (closing.signal.aborted) return;
      say(failure);
      if (failure instanceof SshError && failure.code === "SSH_HOST_KEY_CHANGED") { // L3
        options.alarmed?.(failure);
        return end(failure);
      }
      await delay(retryDelayMs(inARow++, failure, Math.random()), undefined, { signal: closing.signal }).catch(() => undefined);
    }
  };
  void run().catch(end);
  const close = (error: Error): void => {
    if (closing.signal.aborted) return;
    closing.abort();
    current?.end();
    connection?.end();
    end(error);
  };

  return {
    name,
    helper(signal) {
      if (over !== null) return Promise.reject(over);
      if (current !== null) return Promise.resolve(current);
      return new Promise((resolve, reject) => {
        const aborted = (): void => {
          waiting.delete(waiter);
          reject(signal!.reason as Error);
        };
        const unheard = <T>(tell: (value: T) => void) => (value: T): void => {
          signal?.removeEventListener("abort", aborted); // the signal may outlive many waits
          tell(value);
        };
        const waiter = { resolve: unheard(resolve), reject: unheard(reject) };
        waiting.add(waiter);
        signal?.addEventListener("abort", aborted, { once: true });
      });
    },
    each(use) {
      users.add(use);
      if (current !== null) use(current);
      return () => void users.delete(use);
    },
    async connect(by) {
      if (over !== null) throw over;
      try {
        return await by(await options.access());
      } catch (error) {
        if (error instanceof SshError && error.code === "SSH_HOST_KEY_CHANGED") { // L3
          options.alarmed?.(error);
          close(error);
        }
        throw error;
      }
    },
    trouble: () => trouble,
    close: () => close(new SshError("SSH_CONNECTION_LOST", name, "the link was closed.")),
  };
}
