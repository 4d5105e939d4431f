// A way between this agent and the control plane. Two of them behave the same (tests/contracts/agent-link.test.ts); they differ in speed and in what they need.
//   K1. Orders come in order and come again until they are acknowledged.
//   K2. Reports arrive in the order in which they were sent, or not at all; nobody knows before the watermark says so.
//   K3. Trouble ends the link: pending calls reject, and whoever uses it opens another one.

import type { Batch } from "../journal/spool.js";
import type { RefusedLease } from "../../protocol/messages.js";

export type LinkKind = "streams" | "https";

export interface ReceivedOrders {
  /** As they came; not yet checked. */
  readonly orders: readonly unknown[];
  /** They are durable here: not to be sent again. */
  acknowledge(): void;
  /** Orders may have been lost on the way: ask for what is outstanding, and send again what is not committed. */
  readonly mayHaveLost: boolean;
}

export interface SendResult {
  /** Committed up to here, when the link tells at once. */
  readonly watermark: number | null;
  readonly refused: readonly RefusedLease[];
}

export interface AgentLink {
  readonly kind: LinkKind;
  /** Waits for orders; may resolve without any. One call at a time. */
  receive(): Promise<ReceivedOrders>;
  /** Hands a batch over. One call at a time. */
  send(batch: Batch): Promise<SendResult>;
  /** Ends it; what is pending rejects. Repeatable. */
  close(): void;
}
