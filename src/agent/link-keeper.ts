// The link keeper: streams when they are offered and work, HTTPS while they do not; receives orders over whichever is in use.
//   K1. Trouble with streams means HTTPS at once; streams are tried again in the background and taken back when they answer.
//   K2. After every change, and whenever something may have been lost, outstanding orders are asked for over HTTPS and reports are sent again from the
//       watermark: nothing depends on what a stream forgot.
//   K3. Orders are acknowledged after the inbox has them on disk.
//   K4. While a poll waits to be tried again, a renewal that is answered has it tried at once: of a control plane that is up for moments only each moment counts.

import { setTimeout as delay } from "node:timers/promises";
import type { Logger } from "pino";
import type { SessionOpened } from "../protocol/messages.js";
import { backoff, type Backoff } from "./backoff.js";
import { CallRefusedError, type ControlPlaneClient } from "./control-plane-client.js";
import type { AgentLink, LinkKind } from "./link/agent-link.js";
import { httpsLink } from "./link/https-link.js";
import { openStreamsLink } from "./link/streams-link.js";
import type { OrderInbox } from "./order-inbox.js";
import type { Shipper } from "./shipper.js";

export interface LinkKeeperOptions {
  readonly client: ControlPlaneClient;
  readonly session: SessionOpened;
  readonly epoch: string;
  /** "https": never use streams. */
  readonly mode: "auto" | "https";
  readonly inbox: OrderInbox;
  readonly shipper: Shipper;
  readonly log: Logger;
  readonly signal: AbortSignal;
  /** Between polls that fail (K4). */
  readonly httpsBackoff: Backoff;
  /** Which link is in use from now on. */
  changed(kind: LinkKind): void;
}

/** Shortest and longest wait between tries of a link that failed, in milliseconds. */
const STREAMS_RETRY_MS = [500, 10_000] as const;
export const HTTPS_RETRY_MS = [250, 5_000] as const;
/** Pause after a poll that brought only what was known, in milliseconds: an order that cannot be acknowledged must not turn into a storm. */
const REPEATED_PAUSE_MS = 200;

/** Resolves with why the session is over, or null when the signal ended it. Rejects only with the journal's error. */
export async function keepLinks(options: LinkKeeperOptions): Promise<string | null> {
  const { client, session, epoch, inbox, shipper, log, signal, httpsBackoff } = options;
  const redis = options.mode === "https" ? null : session.redis;
  const streamsBackoff = backoff(...STREAMS_RETRY_MS);
  let streams: AgentLink | null = redis === null ? null : await openStreamsLink({ redis, epoch }).catch((error: unknown) => {
    log.warn({ err: error }, "the streams link is away; HTTPS is used meanwhile");
    return null;
  });

  /** Receives until the link ends (its error) or the session does (null). */
  const pump = async (link: AgentLink): Promise<Error | null> => {
    const closeNow = (): void => link.close();
    signal.addEventListener("abort", closeNow, { once: true });
    if (signal.aborted) link.close();
    options.changed(link.kind);
    shipper.use(link);
    try {
      if (link.kind === "streams") await catchUp(); // K2
      for (;;) {
        const got = await link.receive().catch((error: unknown) => new LinkEnded(error as Error));
        if (got instanceof LinkEnded) return signal.aborted ? null : got.cause;
        if (got.mayHaveLost) {
          shipper.rewind();
          await catchUp();
        }
        const news = got.orders.length > 0 && (await inbox.take(got.orders));
        got.acknowledge(); // K3
        if (link.kind === "https") {
          httpsBackoff.reset();
          if (got.orders.length > 0 && !news) await delay(REPEATED_PAUSE_MS, undefined, { signal }).catch(() => undefined);
        }
      }
    } finally {
      signal.removeEventListener("abort", closeNow);
      link.close();
    }
  };
  const catchUp = async (): Promise<void> => {
    const polled = await client.poll({ sessionId: session.sessionId, waitMs: 0, received: [] }, signal).catch(() => null); // the next poll or republication brings them
    if (polled !== null && polled.orders.length > 0) await inbox.take(polled.orders);
  };
  /** K1. */
  const probeStreams = async (whileOpen: AbortSignal): Promise<AgentLink | null> => {
    while (redis !== null && !whileOpen.aborted) {
      await streamsBackoff.wait(whileOpen);
      if (whileOpen.aborted) return null;
      const opened = await openStreamsLink({ redis, epoch }).catch(() => null);
      if (opened !== null && whileOpen.aborted) opened.close();
      else if (opened !== null) return opened;
    }
    return null;
  };

  while (!signal.aborted) {
    if (streams !== null) {
      const since = performance.now();
      const trouble = await pump(streams);
      streams = null;
      if (trouble === null) break;
      if (performance.now() - since > STREAMS_RETRY_MS[1]) streamsBackoff.reset();
      log.warn({ err: trouble }, "the streams link ended; HTTPS is used meanwhile");
    }
    const probing = new AbortController();
    const link = httpsLink({ client, sessionId: session.sessionId, epoch });
    const stopProbing = (): void => probing.abort();
    signal.addEventListener("abort", stopProbing, { once: true });
    const probe = probeStreams(probing.signal).then((found) => {
      if (found !== null) {
        streams = found;
        link.close();
      }
    });
    const trouble = await pump(link);
    probing.abort();
    signal.removeEventListener("abort", stopProbing);
    await probe;
    if (trouble instanceof CallRefusedError && trouble.endsSession) {
      (streams as AgentLink | null)?.close();
      shipper.use(null);
      return trouble.message;
    }
    if ((streams as AgentLink | null) === null && !signal.aborted) {
      shipper.use(null);
      await httpsBackoff.wait(signal);
    } else if (streams !== null) {
      log.info("the streams link is back");
    }
  }
  (streams as AgentLink | null)?.close();
  shipper.use(null);
  return null;
}

class LinkEnded {
  readonly cause: Error;
  constructor(cause: Error) {
    this.cause = cause;
  }
}

