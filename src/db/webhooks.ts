// Webhooks and their outbox.
//   W1. A notice is entered in the transaction of what it tells of, once per webhook that wants it (webhook, key).
//   W2. A delivery is due until it is delivered or dead; every try is noted, so that an admin sees why.

import { sql, type Selectable } from "kysely";
import type pg from "pg";
import { newId, type DeliveryId, type WebhookId } from "../domain/ids.js";
import type { NamedNotice, WebhookFormat } from "../domain/webhooks/formats.js";
import type { Notice } from "../domain/webhooks/notice.js";
import type { Db } from "./database.js";
import type { Database } from "./tables.js";

export type WebhookRow = Omit<Selectable<Database["webhooks"]>, "sealed">;
export type DeliveryRow = Omit<Selectable<Database["webhook_deliveries"]>, "notice">;

/** W1. */
export async function enterNotices(client: pg.ClientBase, notices: readonly Notice[], now: Date): Promise<void> {
  if (notices.length === 0) return;
  const { rows } = await client.query<{ id: WebhookId; events: string[] }>({ name: "webhooks-wanting", text: "select id, events from webhooks where events && $1::text[]", values: [[...new Set(notices.map(({ event }) => event))]] });
  const wanted = rows.flatMap(({ id, events }) => notices.filter(({ event }) => events.includes(event)).map((notice) => ({ webhookId: id, notice })));
  if (wanted.length > 0) await insertDeliveries(client, wanted, now);
}

/** A notice for one webhook, whatever it wants. Answers the delivery. */
export async function enterFor(db: Db, webhookId: WebhookId, notice: Notice, now: Date): Promise<DeliveryId> {
  const id = newId("dlv", now.getTime());
  await db.insertInto("webhook_deliveries").values({ id, webhook_id: webhookId, key: notice.key, event: notice.event, notice: JSON.stringify(notice), next_at: now, created_at: now }).execute();
  return id;
}

async function insertDeliveries(client: pg.ClientBase, wanted: readonly { readonly webhookId: WebhookId; readonly notice: Notice }[], now: Date): Promise<void> {
  await client.query({
    name: "webhook-deliveries-insert",
    text: `insert into webhook_deliveries (id, webhook_id, key, event, notice, next_at, created_at)
           select k.id, k.webhook_id, k.key, k.event, k.notice, $6::timestamptz, $6::timestamptz
             from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::jsonb[]) with ordinality k (id, webhook_id, key, event, notice, place)
            where exists (select 1 from webhooks w where w.id = k.webhook_id) order by k.place on conflict (webhook_id, key) do nothing`,
    values: [wanted.map(() => newId("dlv", now.getTime())), wanted.map(({ webhookId }) => webhookId), wanted.map(({ notice }) => notice.key), wanted.map(({ notice }) => notice.event), wanted.map(({ notice }) => JSON.stringify(notice)), now],
  });
}

export interface DueDelivery {
  readonly id: DeliveryId;
  readonly webhookId: WebhookId;
  readonly format: WebhookFormat;
  readonly sealed: string;
  readonly tries: number;
  readonly notice: NamedNotice;
}

/** Deliveries whose time has come, oldest first. */
export async function dueDeliveries(db: Db, limit: number): Promise<DueDelivery[]> {
  const { rows } = await sql<Omit<DueDelivery, "notice"> & { notice: Omit<Notice, "simulated"> & { simulated?: boolean }; pipelineName: string | null; labels: Record<string, unknown> | null; stageName: string | null }>`
    select d.id, d.webhook_id as "webhookId", w.format, w.sealed, d.tries, d.notice, p.name as "pipelineName", p.labels, s.name as "stageName"
      from webhook_deliveries d join webhooks w on w.id = d.webhook_id left join pipelines p on p.id = d.notice ->> 'pipelineId' left join stages s on s.id = d.notice ->> 'stageId'
     where d.delivered_at is null and d.dead_at is null and d.next_at <= now() order by d.next_at, d.position limit ${limit}::int`.execute(db);
  return rows.map(({ notice, pipelineName, labels, stageName, ...row }) => ({ ...row, notice: { ...notice, simulated: notice.simulated ?? false, id: row.id, pipelineName, labels: labels ?? {}, stageName } }));
}

/** W2. `error` null: it arrived; `waitMs` null: it is given up. */
export async function noteTry(db: Db, id: DeliveryId, outcome: { readonly error: string | null; readonly waitMs: number | null }): Promise<void> {
  await sql`update webhook_deliveries set tries = tries + 1, last_error = ${outcome.error}, delivered_at = case when ${outcome.error}::text is null then now() end,
      dead_at = case when ${outcome.error}::text is not null and ${outcome.waitMs}::float8 is null then now() end, next_at = now() + coalesce(${outcome.waitMs}::float8, 0) * interval '1 millisecond'
     where id = ${id} and delivered_at is null`.execute(db);
}

/** Forgets deliveries that are over since so many days. Returns how many. */
export async function forgetDeliveries(db: Db, days: number): Promise<number> {
  const { numAffectedRows } = await sql`delete from webhook_deliveries where (delivered_at is not null or dead_at is not null) and created_at < now() - ${days}::int * interval '1 day'`.execute(db);
  return Number(numAffectedRows ?? 0);
}

// ── what admins see ─────────────────────────────────────────────────────────────────────────────────

const COLUMNS = ["id", "name", "format", "events", "shown_url", "created_by", "created_at"] as const;
const DELIVERY_COLUMNS = ["id", "position", "webhook_id", "key", "event", "tries", "next_at", "delivered_at", "dead_at", "last_error", "created_at"] as const;

export function listWebhooks(db: Db): Promise<WebhookRow[]> {
  return db.selectFrom("webhooks").select(COLUMNS).orderBy("name").execute();
}

/** The newest deliveries of each webhook. */
export async function newestDeliveries(db: Db, ids: readonly WebhookId[], limit: number): Promise<DeliveryRow[]> {
  const { rows } = await sql<DeliveryRow>`select d.* from unnest(${ids}::text[]) k cross join lateral (
      select ${sql.join(DELIVERY_COLUMNS.map((column) => sql.ref(column)))} from webhook_deliveries where webhook_id = k order by position desc limit ${limit}::int) d`.execute(db);
  return rows;
}

export async function readDelivery(db: Db, id: DeliveryId): Promise<DeliveryRow | null> {
  return (await db.selectFrom("webhook_deliveries").select(DELIVERY_COLUMNS).where("id", "=", id).executeTakeFirst()) ?? null;
}

