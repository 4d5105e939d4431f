import { payloadOf, type DomainErrorAnswer } from "../api/results.js";
import { findWebhook } from "../api/webhooks.js";
import type { Cli } from "../cli.js";
import type { ExitCode } from "../exit-codes.js";
import { mayGoOn } from "../question.js";

export async function run(cli: Cli, [text]: readonly string[], options: { readonly yes?: boolean }): Promise<ExitCode | void> {
  const { id, name } = await findWebhook(cli, text!);
  const refused = await mayGoOn(cli, `Remove the webhook ${name}? What it was still to tell is told no more.`, options.yes === true);
  if (refused !== null) return refused;
  const { deleteWebhook } = await cli.api().call<{ deleteWebhook: object | DomainErrorAnswer }>(
    "mutation Delete($id: ID!) { deleteWebhook(id: $id) { ... on WebhookPayload { webhook { id } } ... on DomainError { __typename code message retryable } } }", { id });
  payloadOf(deleteWebhook);
  cli.print({ value: { id, name }, table: () => [], ids: () => [id] });
  cli.note(`The webhook ${name} is removed.`);
}
