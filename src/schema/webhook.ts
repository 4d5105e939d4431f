// Webhooks: who is told of what. Admins only.

import { createWebhook, deleteWebhook, enterTest } from "../access/webhooks.js";
import { listWebhooks, readDelivery, type DeliveryRow, type WebhookRow } from "../db/webhooks.js";
import { WEBHOOK_FORMATS, type WebhookFormat } from "../domain/webhooks/formats.js";
import { WEBHOOK_EVENTS, type WebhookEvent } from "../domain/webhooks/notice.js";
import { builder } from "./builder.js";
import { Conflict, Forbidden, InvalidInput, memberOf, NotFound } from "./domain-error.js";
import { audited } from "./mutation.js";

const enumName = (word: string) => word.toUpperCase().replaceAll(".", "_");
const WebhookFormatType = builder.enumType("WebhookFormat", {
  description: "JSON: our own form, signed with HMAC-SHA256. SLACK: an incoming webhook. FEISHU: a custom bot of Feishu or Lark.",
  values: Object.fromEntries(WEBHOOK_FORMATS.map((value) => [enumName(value), { value }])) as Record<Uppercase<WebhookFormat>, { value: WebhookFormat }>,
});
const WebhookEventType = builder.enumType("WebhookEvent", {
  description: "PIPELINE_ENDED: completed, failed or cancelled. STAGE_FAILED: for good, after its last try. APPROVAL_WAITING. ANOMALY: something was found wrong with a training.",
  values: Object.fromEntries(WEBHOOK_EVENTS.map((value) => [enumName(value), { value }])) as Record<string, { value: WebhookEvent }>,
});

const WebhookDelivery = builder.objectRef<DeliveryRow>("WebhookDelivery").implement({
  description: "One thing that a webhook tells, over all its tries.",
  fields: (t) => ({
    id: t.exposeID("id", { description: "The same in every try: receivers know repetitions by it." }),
    event: t.exposeString("event"),
    tries: t.exposeInt("tries"),
    nextAt: t.field({ type: "DateTime", nullable: true, description: "When it is tried next; null when it is over.", resolve: (row) => (row.delivered_at === null && row.dead_at === null ? row.next_at : null) }),
    deliveredAt: t.field({ type: "DateTime", nullable: true, resolve: (row) => row.delivered_at }),
    deadAt: t.field({ type: "DateTime", nullable: true, description: "When it was given up.", resolve: (row) => row.dead_at }),
    lastError: t.string({ nullable: true, description: "Why the newest try failed.", resolve: (row) => row.last_error }),
    createdAt: t.field({ type: "DateTime", resolve: (row) => row.created_at }),
  }),
});

const Webhook = builder.objectRef<WebhookRow>("Webhook").implement({
  description: "An address that is told of events. Its address and secret are stored sealed.",
  fields: (t) => ({
    id: t.exposeID("id"),
    name: t.exposeString("name"),
    format: t.expose("format", { type: WebhookFormatType }),
    events: t.field({ type: [WebhookEventType], resolve: ({ events }) => events }),
    url: t.string({ description: "Its host: the rest may be a key.", resolve: (row) => row.shown_url }),
    createdBy: t.string({ resolve: (row) => row.created_by }),
    createdAt: t.field({ type: "DateTime", resolve: (row) => row.created_at }),
    deliveries: t.field({ type: [WebhookDelivery], description: "The newest 20, newest first. Those that are over are kept for 30 days.", resolve: async ({ id }, _args, { loaders }) => [...(await loaders.deliveriesOf.load(id))] }),
  }),
});

builder.queryField("webhooks", (t) => t.field({ type: [Webhook], description: "Every webhook, by name.", resolve: (_root, _args, { deps }) => listWebhooks(deps.db) }));

const CreateWebhookInput = builder.inputType("CreateWebhookInput", {
  fields: (t) => ({
    name: t.string({ required: true, description: "Letters, digits, '.', '_' and '-', up to 100; unique." }),
    secretUrl: t.string({ required: true, description: "Where it is told, http or https. Stored sealed: the address of a chat's webhook is a key." }),
    format: t.field({ type: WebhookFormatType, required: true }),
    events: t.field({ type: [WebhookEventType], required: true }),
    secret: t.string({ description: "JSON: what it signs with; made when left out. FEISHU: the bot's secret, when it checks signatures. Not for SLACK." }),
  }),
});
const CreateWebhookPayload = builder.objectRef<{ webhook: WebhookRow; secret: string | null }>("CreateWebhookPayload").implement({
  fields: (t) => ({
    webhook: t.expose("webhook", { type: Webhook }),
    secret: t.exposeString("secret", { nullable: true, description: "What it signs with. This is the only time it is shown." }),
  }),
});
const CreateWebhookResult = builder.unionType("CreateWebhookResult", { types: [CreateWebhookPayload, InvalidInput, Conflict, Forbidden], resolveType: memberOf("CreateWebhookPayload") });

builder.mutationField("createWebhook", (t) => t.field({
  type: CreateWebhookResult, description: "Tells an address of events from now on.",
  args: { input: t.arg({ type: CreateWebhookInput, required: true }) },
  resolve: audited({
    subject: () => null,
    run: ({ input }: { input: typeof CreateWebhookInput.$inferInput }, { principal, audit }, { deps }) => deps.db.transaction().execute(async (trx) => {
      const made = await createWebhook(trx, { name: input.name, url: input.secretUrl, format: input.format, events: input.events, secret: input.secret ?? null, by: principal.name }, deps.secrets);
      await audit(trx, made.webhook.id);
      return made;
    }),
  }),
}));

const WebhookPayload = builder.objectRef<{ webhook: WebhookRow }>("WebhookPayload").implement({ fields: (t) => ({ webhook: t.expose("webhook", { type: Webhook }) }) });
const WebhookResult = builder.unionType("WebhookResult", { types: [WebhookPayload, NotFound, Forbidden], resolveType: memberOf("WebhookPayload") });

builder.mutationField("deleteWebhook", (t) => t.field({
  type: WebhookResult, description: "Removes a webhook; what it was still to tell is told no more.",
  args: { id: t.arg.id({ required: true }) },
  resolve: audited({
    subject: ({ id }: { id: string }) => id,
    run: ({ id }, { audit }, { deps }) => deps.db.transaction().execute(async (trx) => {
      const webhook = await deleteWebhook(trx, id);
      await audit(trx);
      return { webhook };
    }),
  }),
}));

const TestWebhookPayload = builder.objectRef<{ delivery: DeliveryRow }>("TestWebhookPayload").implement({ fields: (t) => ({ delivery: t.expose("delivery", { type: WebhookDelivery }) }) });
const TestWebhookResult = builder.unionType("TestWebhookResult", { types: [TestWebhookPayload, NotFound, Forbidden], resolveType: memberOf("TestWebhookPayload") });

builder.mutationField("testWebhook", (t) => t.field({
  type: TestWebhookResult, description: "Enters a message that says only that it is a test; it goes the way of all others. Look at the webhook's deliveries for what became of it.",
  args: { id: t.arg.id({ required: true }) },
  resolve: audited({
    subject: ({ id }: { id: string }) => id,
    run: ({ id }, { principal, audit }, { deps }) => deps.db.transaction().execute(async (trx) => {
      const deliveryId = await enterTest(trx, id, principal.name, new Date());
      await audit(trx);
      return { delivery: (await readDelivery(trx, deliveryId))! };
    }),
  }),
}));
