// Webhooks as the commands see them.
import type { Cli } from "../cli.js";
import { CliError, EXIT } from "../exit-codes.js";

export interface DeliveryAnswer { readonly id: string; readonly event: string; readonly tries: number; readonly nextAt: string | null; readonly deliveredAt: string | null; readonly deadAt: string | null; readonly lastError: string | null; readonly createdAt: string }
export interface WebhookAnswer {
  readonly id: string; readonly name: string; readonly format: string; readonly events: readonly string[]; readonly url: string; readonly createdBy: string; readonly createdAt: string; readonly deliveries: readonly DeliveryAnswer[];
}
export const DELIVERY_FIELDS = "id event tries nextAt deliveredAt deadAt lastError createdAt";
export const WEBHOOK_FIELDS = `id name format events url createdBy createdAt deliveries { ${DELIVERY_FIELDS} }`;

/** Events as one writes them on the command line. */
export const EVENT_WORDS = ["pipeline.ended", "stage.failed", "approval.waiting", "anomaly"] as const;
export function eventName(word: string): string {
  return word.toUpperCase().replaceAll(".", "_");
}
export function eventWord(name: string): string {
  return EVENT_WORDS.find((word) => eventName(word) === name) ?? name.toLowerCase();
}

export async function listWebhooks(cli: Cli): Promise<readonly WebhookAnswer[]> {
  return (await cli.api().call<{ webhooks: readonly WebhookAnswer[] }>(`query Webhooks { webhooks { ${WEBHOOK_FIELDS} } }`)).webhooks;
}

/** By id or name. Throws CliError (not found). */
export async function findWebhook(cli: Cli, text: string): Promise<WebhookAnswer> {
  const found = (await listWebhooks(cli)).find(({ id, name }) => id === text || name === text);
  if (found === undefined) throw new CliError(EXIT.notFound, `There is no webhook ${text}.`, { hint: `List them: ${cli.command("webhook ls")}` });
  return found;
}
