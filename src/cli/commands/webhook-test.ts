// Sends a test the way of every message, and waits for the first answer.
import { setTimeout as delay } from "node:timers/promises";
import { payloadOf, type DomainErrorAnswer } from "../api/results.js";
import { DELIVERY_FIELDS, findWebhook, type DeliveryAnswer } from "../api/webhooks.js";
import type { Cli } from "../cli.js";
import { CliError, EXIT, type ExitCode } from "../exit-codes.js";
import { harmless } from "../render/text-width.js";

/** Longer than a delivery may take, in milliseconds. */
const PATIENCE_MS = 20_000;
const LOOK_MS = 300;

export async function run(cli: Cli, [text]: readonly string[]): Promise<ExitCode | void> {
  const webhook = await findWebhook(cli, text!);
  const { testWebhook } = await cli.api().call<{ testWebhook: { delivery: DeliveryAnswer } | DomainErrorAnswer }>(
    `mutation Test($id: ID!) { testWebhook(id: $id) { ... on TestWebhookPayload { delivery { ${DELIVERY_FIELDS} } } ... on DomainError { __typename code message retryable } } }`, { id: webhook.id });
  const { delivery: entered } = payloadOf(testWebhook) as { delivery: DeliveryAnswer };
  let delivery = entered;
  for (const until = Date.now() + PATIENCE_MS; delivery.tries === 0 && Date.now() < until;) {
    await delay(LOOK_MS);
    delivery = (await findWebhook(cli, webhook.id)).deliveries.find(({ id }) => id === entered.id) ?? delivery;
  }
  cli.print({ value: delivery, table: () => [], ids: () => [delivery.id] });
  if (delivery.deliveredAt !== null) return cli.note(`${webhook.name} answered; the test arrived.`);
  throw new CliError(EXIT.failure, delivery.tries === 0 ? `The test was not sent within ${PATIENCE_MS / 1_000} s.` : `The test did not arrive: ${harmless(delivery.lastError ?? "")}`, { hint: "It is tried again by itself. If the address is wrong, remove the webhook and add it anew." });
}
