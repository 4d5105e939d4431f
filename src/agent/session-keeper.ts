// The session keeper: opens a session with the control plane, keeps it while it lasts, opens the next one when it does not.
//   N1. Opening reconciles: what the control plane calls over is ended here, what it has committed is dropped here, what it wants is taken in.
//   N2. Without a session programs run on, the spool fills and leases run down; nothing else happens.

import type { Logger } from "pino";
import type { OpenSession, Renewed, SessionOpened } from "../protocol/messages.js";
import { backoff } from "./backoff.js";
import type { CallRefusedError, ControlPlaneClient } from "./control-plane-client.js";
import { keepLeases, type LeaseKeeperOptions } from "./lease-keeper.js";
import { monotonicMs } from "./lease-trust.js";
import { HTTPS_RETRY_MS, keepLinks, type LinkKeeperOptions } from "./link-keeper.js";

/** Shortest and longest wait between tries, in milliseconds. */
const RETRY_MS = [250, 5_000] as const;

export interface SessionKeeperOptions {
  readonly client: ControlPlaneClient;
  readonly log: Logger;
  readonly signal: AbortSignal;
  readonly links: Omit<LinkKeeperOptions, "session" | "signal" | "client" | "log" | "httpsBackoff">;
  readonly leases: Omit<LeaseKeeperOptions, "session" | "signal" | "client" | "log" | "renewed">;
  /** What to say of this agent. */
  describe(): Promise<OpenSession>;
  /** A session is open; `sentAt` by monotonicMs. Resolves when the answer is taken in (N1). */
  opened(session: SessionOpened, sentAt: number): Promise<void>;
  renewed(answer: Renewed, session: SessionOpened, sentAt: number): void;
}

/** Runs until the signal aborts; then says goodbye to the control plane. Rejects only with the journal's error. */
export async function keepSession(options: SessionKeeperOptions): Promise<void> {
  const { client, log, signal } = options;
  const retry = backoff(...RETRY_MS);
  let lastProblem = "";
  while (!signal.aborted) {
    const sentAt = monotonicMs();
    let session: SessionOpened;
    try {
      session = await client.openSession(await options.describe(), signal);
    } catch (error) {
      if (signal.aborted) return;
      const problem = (error as Error).message;
      if (problem !== lastProblem) log.warn({ code: (error as Partial<CallRefusedError>).code }, `no session with the control plane: ${problem}`);
      lastProblem = problem;
      await retry.wait(signal);
      continue;
    }
    lastProblem = "";
    log.info({ agentId: session.agentId, sessionId: session.sessionId, watermark: session.watermark, streams: session.redis !== null }, "session opened");
    await options.opened(session, sentAt);
    retry.reset();

    const over = new AbortController();
    const stop = (): void => over.abort();
    signal.addEventListener("abort", stop, { once: true });
    if (signal.aborted) stop();
    const httpsBackoff = backoff(...HTTPS_RETRY_MS);
    const renewed = (answer: Renewed, at: number): void => {
      options.renewed(answer, session, at);
      httpsBackoff.hurry();
    };
    const common = { client, session, log, signal: over.signal };
    const why = await Promise.race([
      keepLeases({ ...options.leases, ...common, renewed }).finally(stop),
      keepLinks({ ...options.links, ...common, httpsBackoff }).finally(stop),
    ].map((loop, i, loops) => loop.then(async (reason) => reason ?? (await loops[1 - i]) ?? null)));
    stop();
    signal.removeEventListener("abort", stop);
    if (signal.aborted) {
      await client.closeSession(session.sessionId, AbortSignal.timeout(2_000)).catch(() => undefined);
      return;
    }
    log.warn(`the session is over: ${why ?? "unknown reason"} Opening another one.`);
    await retry.wait(signal);
  }
}
