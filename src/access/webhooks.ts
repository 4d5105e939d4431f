// Webhooks as admins make them. Address and secret are sealed; the secret of a signed one is told once.

import { randomBytes } from "node:crypto";
import { enterFor, type WebhookRow } from "../db/webhooks.js";
import type { Database } from "../db/tables.js";
import { ConflictError, InvalidInputError, NotFoundError, type Problem } from "../domain/errors.js";
import { isId, newId, type DeliveryId, type WebhookId } from "../domain/ids.js";
import type { WebhookFormat } from "../domain/webhooks/formats.js";
import type { Notice, WebhookEvent } from "../domain/webhooks/notice.js";
import type { Kysely, Transaction } from "kysely";
import { sql } from "kysely";
import type { SealedSecrets } from "./sealed-secrets.js";

export interface NewWebhook {
  readonly name: string;
  readonly url: string;
  readonly format: WebhookFormat;
  readonly events: readonly WebhookEvent[];
  /** Null: one is made for json; slack has none, feishu needs none. */
  readonly secret: string | null;
  readonly by: string;
}

const COLUMNS = ["id", "name", "format", "events", "shown_url", "created_by", "created_at"] as const;

/** Makes a webhook. `secret` in the answer: the one it signs with; null without. Throws InvalidInputError, ConflictError and SealError. */
export async function createWebhook(trx: Transaction<Database>, input: NewWebhook, secrets: SealedSecrets): Promise<{ webhook: WebhookRow; secret: string | null }> {
  const problems = webhookProblems(input);
  if (problems.length > 0) throw new InvalidInputError("The webhook cannot be made as asked.", problems);
  const id = newId("whk");
  const secret = input.secret ?? (input.format === "json" ? randomBytes(32).toString("base64url") : null);
  const webhook = await trx.insertInto("webhooks").values({
    id, name: input.name, format: input.format, events: [...new Set(input.events)], sealed: secrets.seal(JSON.stringify({ url: input.url, secret }), `webhooks/${id}`), shown_url: `${new URL(input.url).origin}/…`, created_by: input.by, created_at: sql<Date>`now()`,
  }).onConflict((conflict) => conflict.column("name").doNothing()).returning(COLUMNS).executeTakeFirst();
  if (webhook === undefined) throw new ConflictError("WEBHOOK_EXISTS", `There is a webhook named ${JSON.stringify(input.name)} already. Choose another name, or remove that one first.`);
  return { webhook, secret };
}

/** Removes a webhook and what it was still to tell. Throws NotFoundError. */
export async function deleteWebhook(trx: Kysely<Database>, id: string): Promise<WebhookRow> {
  const row = isId("whk", id) ? await trx.deleteFrom("webhooks").where("id", "=", id as WebhookId).returning(COLUMNS).executeTakeFirst() : undefined;
  if (row === undefined) throw new NotFoundError("webhook", id);
  return row;
}

/** Enters a notice that says only that it is a test. Throws NotFoundError. */
export async function enterTest(trx: Kysely<Database>, id: string, by: string, now: Date): Promise<DeliveryId> {
  const known = isId("whk", id) ? await trx.selectFrom("webhooks").select("id").where("id", "=", id as WebhookId).forShare().executeTakeFirst() : undefined;
  if (known === undefined) throw new NotFoundError("webhook", id);
  const notice: Notice = { key: newId("dlv"), event: "test", at: now.getTime(), pipelineId: null, stageId: null, title: "Trainyard can reach this webhook", text: `A test asked for by ${by}.`, tone: "NEUTRAL", simulated: false, details: {} };
  return enterFor(trx, id as WebhookId, notice, now);
}

function webhookProblems({ name, url, format, events, secret }: NewWebhook): Problem[] {
  const problems: Problem[] = [];
  const refuse = (path: string, message: string, hint: string) => void problems.push({ path: `input.${path}`, severity: "ERROR", code: "INVALID_VALUE", message, hint });
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/.test(name)) refuse("name", "A webhook's name is made of letters, digits, '.', '_' and '-', up to 100.", "For example: oncall-slack.");
  const parsed = URL.canParse(url) ? new URL(url) : null;
  if (parsed === null || !/^https?:$/.test(parsed.protocol)) refuse("secretUrl", "The address is no http or https address.", "Copy it from the receiver as it is.");
  else if (parsed.username !== "" || parsed.password !== "") refuse("secretUrl", "The address holds a user or a password.", "Use a receiver that checks the signature instead.");
  else if (url.length > 2_000) refuse("secretUrl", "The address is longer than 2,000 characters.", "Copy it from the receiver as it is.");
  else if (format !== "json" && parsed.protocol === "http:" && !isLoopback(parsed.hostname)) refuse("secretUrl", "The address of a chat's webhook is a key: over http everybody on the way could read it.", "Use https.");
  if (events.length === 0) refuse("events", "It would tell of nothing.", "Name at least one event.");
  if (format === "slack" && secret !== null) refuse("secret", "Slack's webhooks know no secret; their address is the key.", "Leave it out.");
  if (secret !== null && (secret.length < 8 || secret.length > 500)) refuse("secret", "A secret has 8 to 500 characters.", "Leave it out for json: a good one is made.");
  return problems;
}

function isLoopback(host: string): boolean {
  return host === "localhost" || host === "[::1]" || /^127\./.test(host);
}
