// The link that always works: long poll for orders, batched reports answered after the commit.

import type { SessionId } from "../../domain/ids.js";
import { orderKey, orderSchema } from "../../protocol/messages.js";
import type { ControlPlaneClient } from "../control-plane-client.js";
import type { AgentLink } from "./agent-link.js";

/** How long the control plane may hold a poll open, in milliseconds; below the idle limits of common proxies. */
export const POLL_WAIT_MS = 25_000;

export function httpsLink(options: { client: ControlPlaneClient; sessionId: SessionId; epoch: string; waitMs?: number }): AgentLink {
  const { client, sessionId, epoch } = options;
  const over = new AbortController();
  /** Keys of orders that are durable here and were not yet said to be. */
  let received: string[] = [];
  return {
    kind: "https",
    async receive() {
      const saying = received;
      const { orders } = await client.poll({ sessionId, waitMs: options.waitMs ?? POLL_WAIT_MS, received: saying }, over.signal);
      received = received.slice(saying.length); // K1: said, and heard
      return {
        orders,
        mayHaveLost: false,
        acknowledge: () => {
          received = [...received, ...orders.flatMap(keyOf)].slice(-10_000);
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
