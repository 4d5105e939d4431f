// Delivers what the outbox of webhooks holds. The caretaker's role sees to it that one process does; two at once would only repeat.
//   D1. At least once: a delivery is noted as arrived after the receiver's answer. Whoever dies between the two sends it again, under the same id.
//   D2. Webhooks do not wait for each other; within one, one message is under way at a time. The order is that of entry while nothing fails.
//   D3. What cannot be opened or sent is noted with its reason and tried again later, less and less often; then it is dead, and its reason stays.

import type { Logger } from "pino";
import type { Db } from "../../db/database.js";
import { dueDeliveries, noteTry, type DueDelivery } from "../../db/webhooks.js";
import { waitAfter } from "../../domain/webhooks/backoff.js";
import { messageOf, refusalIn } from "../../domain/webhooks/formats.js";
import { TrainyardError } from "../../domain/errors.js";
import { failpoint } from "../../failpoints.js";
import { post } from "./post.js";

export interface DeliverDeps {
  readonly db: Db;
  readonly log: Pick<Logger, "warn">;
  /** Opens what was sealed for a context. Throws TrainyardError. */
  readonly open: (sealed: string, context: string) => string;
  /** Default 10 s. */
  readonly timeoutMs?: number;
}

/** What is sealed of a webhook. */
export interface WebhookSecrets { readonly url: string; readonly secret: string | null }

const AT_ONCE = 200;
const TIMEOUT_MS = 10_000;

/** The context of a webhook's sealed part. */
export function sealedContext(webhookId: string): string {
  return `webhooks/${webhookId}`;
}

/** One round: everything that is due, once. Resolves with how many arrived. */
export async function deliverDue(deps: DeliverDeps): Promise<number> {
  const due = await dueDeliveries(deps.db, AT_ONCE);
  const byWebhook = new Map<string, DueDelivery[]>();
  for (const delivery of due) byWebhook.set(delivery.webhookId, [...(byWebhook.get(delivery.webhookId) ?? []), delivery]);
  const arrived = await Promise.all([...byWebhook.values()].map(async (deliveries) => { // D2
    let count = 0;
    for (const delivery of deliveries) count += Number(await deliver(deps, delivery));
    return count;
  }));
  return arrived.reduce((sum, count) => sum + count, 0);
}

async function deliver(deps: DeliverDeps, delivery: DueDelivery): Promise<boolean> {
  const { error, retryAfterMs } = await attempt(deps, delivery);
  failpoint("webhook-sent-before-noted");
  const waitMs = error === null ? null : waitAfter(delivery.tries + 1, retryAfterMs);
  await noteTry(deps.db, delivery.id, { error, waitMs });
  if (error !== null && waitMs === null) deps.log.warn({ deliveryId: delivery.id, webhookId: delivery.webhookId, error }, "a webhook's delivery is given up");
  return error === null;
}

async function attempt({ open, timeoutMs = TIMEOUT_MS }: DeliverDeps, { webhookId, format, sealed, notice }: DueDelivery): Promise<{ error: string | null; retryAfterMs: number | null }> {
  try {
    const { url, secret } = JSON.parse(open(sealed, sealedContext(webhookId))) as WebhookSecrets;
    const { body, headers } = messageOf(format, notice, secret, Math.floor(Date.now() / 1_000));
    const { status, text, retryAfterMs } = await post(url, headers, body, timeoutMs);
    if (status < 200 || status >= 300) return { error: shown(`HTTP ${status}${text.trim() === "" ? "" : `: ${text}`}`, url, secret), retryAfterMs };
    const refusal = refusalIn(format, text);
    return { error: refusal === null ? null : shown(refusal, url, secret), retryAfterMs: null };
  } catch (error) {
    return { error: error instanceof TrainyardError ? error.message : (error as Error).message.slice(0, 500), retryAfterMs: null };
  }
}

/** A receiver may repeat what it was sent: neither address nor secret is kept in a reason. */
function shown(text: string, url: string, secret: string | null): string {
  const { pathname, search } = new URL(url);
  const hidden = [url, `${pathname}${search}`, ...(secret === null ? [] : [secret])].filter((part) => part.length >= 4);
  return hidden.reduce((left, part) => left.replaceAll(part, "[redacted]"), text.replaceAll(/\s+/g, " ")).slice(0, 500).replaceAll("\0", "").toWellFormed();
}
