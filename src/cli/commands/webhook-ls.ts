import { eventWord, listWebhooks, type WebhookAnswer } from "../api/webhooks.js";
import type { Cli } from "../cli.js";
import { shortDuration } from "../render/quantities.js";
import { renderTable } from "../render/table.js";
import { harmless } from "../render/text-width.js";

export async function run(cli: Cli): Promise<void> {
  const webhooks = await listWebhooks(cli);
  const last = ({ deliveries: [newest] }: WebhookAnswer): string => {
    if (newest === undefined) return cli.style.dim("nothing told yet");
    const ago = `${shortDuration(Date.now() - Date.parse(newest.createdAt))} ago`;
    if (newest.deliveredAt !== null) return cli.style.green(`told ${ago}`);
    return cli.style.red(`${newest.deadAt === null ? `failing, ${newest.tries} tries` : "given up"}: ${harmless(newest.lastError ?? "not tried yet")}`);
  };
  const rows = () => webhooks.map((webhook) => [harmless(webhook.name), webhook.format.toLowerCase(), webhook.events.map(eventWord).join(" "), harmless(webhook.url), webhook.id, last(webhook)]);
  cli.print({ value: webhooks, table: () => (webhooks.length === 0 ? [] : renderTable(["NAME", "FORMAT", "EVENTS", "URL", "ID", "NEWEST"].map((title) => ({ title })), rows(), cli.style, null)), ids: () => webhooks.map(({ id }) => id) });
  if (cli.format === "table" && webhooks.length === 0) cli.note(`No webhooks. Add one: ${cli.command("webhook add <name> <url> --format slack")}`);
}
