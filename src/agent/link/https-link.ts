// The link that always works: long poll for orders, batched reports answered after the commit.

import type { SessionId } from "../../domain/ids.js";
import { orderKey, orderSchema } from "../../protocol/messages.js";
import type { ControlPlaneClient } from "../control-plane-client.js";
import type { AgentLink } from "./agent-link.js";

/** How long the control plane may hold a poll open, in milliseconds; below the idle limits of common proxies. */
export const POLL_WAIT_MS = 25_000;
/** How long an order is said to be received, in milliseconds; after that it comes once more and is absorbed. */
const SAID_MS = 10_000;
/** The same for deletions, which may be ordered anew after they failed. */
const SAID_OF_DELETION_MS = 500;
/** Most keys in one poll. */
const SAID_MOST = 2_000;

export function httpsLink(options: { client: ControlPlaneClient; sessionId: SessionId; epoch: string; waitMs?: number }): AgentLink {
  const { client, sessionId, epoch } = options;
  const over = new AbortController();
  /** Keys of orders that are durable here, with when they became so. They are said for a while: an order stays outstanding until a report of it is committed. */
  const received = new Map<string, number>();
  return {
    kind: "https",
    async receive() {
      for (const [key, at] of received) if (performance.now() - at > SAID_MS || received.size > SAID_MOST) received.delete(key);
      const { orders } = await client.poll({ sessionId, waitMs: options.waitMs ?? POLL_WAIT_MS, received: [...received.keys()] }, over.signal);
      return {
        orders,
        mayHaveLost: false,
        acknowledge: () => {
          const now = performance.now();
          for (const key of orders.flatMap(keyOf)) {
            received.delete(key); // the newest stand last
            received.set(key, key.startsWith("delete:") ? now - SAID_MS + SAID_OF_DELETION_MS : now);
          }
        },
      };
    },
    async send(batch) {
      const { watermark, refused } = await client.sendReports({ sessionId, epoch, reports: batch.texts }, over.signal);
      return { watermark, refused };
    },
    close: () => over.abort(),
  };
}

/** An order of a form this agent does not know has no key, and is not said to be received. */
function keyOf(order: unknown): string[] {
  const parsed = orderSchema.safeParse(order);
  return parsed.success ? [orderKey(parsed.data)] : [];
}
