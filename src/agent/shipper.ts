// The shipper: sends what is in the spool, in order, over whichever link there is.
//   S1. It never waits when there is something to send and nothing under way; what becomes ready during a send goes out with the next one.
//   S2. What was sent is sent again, from the watermark, when the watermark stands still, after a change of link, and when orders may have been lost.
//   S3. Trouble of a link is told to whoever keeps the links, once for each link.

import type { Logger } from "pino";
import { failpoint } from "../failpoints.js";
import type { RefusedLease } from "../protocol/messages.js";
import type { Spool } from "./journal/spool.js";
import type { AgentLink } from "./link/agent-link.js";

/** Stillness of the watermark after which reports are sent again, in milliseconds; doubled each time up to the longest. */
const RESEND_MS = 5_000;
const LONGEST_RESEND_MS = 60_000;
/** Reports that may be under way without a watermark. */
const WINDOW = 50_000;
/** Pause when the control plane took less of a batch than was sent, in milliseconds. */
const REFUSED_PAUSE_MS = 200;

export interface Shipper {
  /** From now on this link is used; null: none. */
  use(link: AgentLink | null): void;
  /** There may be something to send. */
  wake(): void;
  /** Reports up to here are committed. */
  committed(watermark: number): void;
  /** Sends again what is not committed (S2). */
  rewind(): void;
  /** Resolves when everything in the spool is committed. */
  drained(): Promise<void>;
  stop(): Promise<void>;
}

export function startShipper(options: { spool: Spool; log: Logger; refused: (leases: readonly RefusedLease[]) => void; trouble: (link: AgentLink, error: Error) => void; fatal: (error: Error) => void }): Shipper {
  let link: AgentLink | null = null;
  let sentTo = 0;
  let stopped = false;
  let wakeLoop: () => void = () => undefined;
  let resendMs = RESEND_MS;
  let resendTimer: NodeJS.Timeout | null = null;
  const drainWaiters: (() => void)[] = [];
  let resent = 0; // rewinds so far: a send that began before one does not move `sentTo`

  const rewind = (): void => {
    sentTo = options.spool.watermark;
    resent++;
    wakeLoop();
  };
  const watchStillness = (): void => {
    if (resendTimer !== null) clearTimeout(resendTimer);
    resendTimer = null;
    if (stopped || sentTo <= options.spool.watermark) return;
    resendTimer = setTimeout(() => {
      options.log.info({ watermark: options.spool.watermark, sentTo }, "the watermark stands still; reports are sent again");
      resendMs = Math.min(LONGEST_RESEND_MS, resendMs * 2);
      resendTimer = null;
      rewind();
    }, resendMs);
  };
  const committed = (watermark: number): void => {
    const spool = options.spool;
    if (watermark <= spool.watermark) return;
    spool.commit(watermark);
    sentTo = Math.max(sentTo, spool.watermark);
    resendMs = RESEND_MS;
    watchStillness();
    wakeLoop();
    if (spool.watermark >= spool.last) for (const go of drainWaiters.splice(0)) go();
  };
  const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

  const loop = async (): Promise<void> => {
    while (!stopped) {
      const spool = options.spool;
      const batch = link === null || sentTo - spool.watermark > WINDOW ? null : spool.take(Math.max(sentTo, spool.watermark));
      if (link === null || batch === null) {
        await new Promise<void>((resolve) => { wakeLoop = resolve; });
        continue;
      }
      const using = link;
      const before = resent;
      try {
        const { watermark, refused } = await using.send(batch);
        failpoint("after-report-before-ack");
        if (before === resent) sentTo = Math.max(sentTo, batch.to);
        if (refused.length > 0) options.refused(refused);
        if (watermark === null) {
          if (resendTimer === null) watchStillness();
        } else {
          committed(watermark);
          if (watermark < batch.to) {
            rewind();
            await pause(REFUSED_PAUSE_MS);
          }
        }
      } catch (error) {
        if (link === using) link = null;
        if (!stopped) options.trouble(using, error as Error); // S3
      }
    }
  };
  const ended = loop().catch((error: unknown) => options.fatal(error as Error));

  return {
    use(next) {
      link = next;
      if (next !== null) rewind();
    },
    wake: () => wakeLoop(),
    committed,
    rewind,
    drained: () => (options.spool.watermark >= options.spool.last ? Promise.resolve() : new Promise((resolve) => { drainWaiters.push(resolve); })),
    async stop() {
      stopped = true;
      if (resendTimer !== null) clearTimeout(resendTimer);
      wakeLoop();
      for (const go of drainWaiters.splice(0)) go();
      await ended;
    },
  };
}
