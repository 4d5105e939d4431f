// Makes a webhook. The address is a secret for most receivers, so it may come on stdin instead of standing in the list of processes.
import { readStdin } from "../api/stdin.js";
import { DOMAIN_ERROR, payloadOf, type DomainErrorAnswer } from "../api/results.js";
import { EVENT_WORDS, eventName, WEBHOOK_FIELDS, type WebhookAnswer } from "../api/webhooks.js";
import type { Cli } from "../cli.js";

interface Made { readonly webhook: WebhookAnswer; readonly secret: string | null }

export async function run(cli: Cli, [name, url]: readonly string[], options: { readonly format: string; readonly event?: readonly string[]; readonly secretEnv?: string }): Promise<void> {
  const secretUrl = url === "-" || url === undefined ? (await readStdin(cli)).trim() : url;
  const secret = options.secretEnv === undefined ? null : (cli.environment[options.secretEnv] ?? "");
  const input = { name, secretUrl, format: options.format.toUpperCase(), events: (options.event ?? EVENT_WORDS).map(eventName), ...(secret === null ? {} : { secret }) };
  const { createWebhook } = await cli.api().call<{ createWebhook: Made | DomainErrorAnswer }>(
    `mutation Create($input: CreateWebhookInput!) { createWebhook(input: $input) { ... on CreateWebhookPayload { webhook { ${WEBHOOK_FIELDS} } secret } ${DOMAIN_ERROR} } }`, { input });
  const { webhook, secret: made } = payloadOf(createWebhook) as Made;
  cli.print({ value: { ...webhook, secret: made }, table: () => (made === null || secret !== null ? [] : [made]), ids: () => [webhook.id] });
  if (made !== null && secret === null) cli.note("This is the secret that its messages are signed with. It is not shown again.");
  cli.note(`Try it: ${cli.command(`webhook test ${webhook.name}`)}`);
}
