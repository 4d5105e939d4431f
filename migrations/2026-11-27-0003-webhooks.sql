-- Webhooks: whom to tell of what, and what is still to be told.

create table webhooks (
  id text collate "C" primary key,
  name text not null unique,
  format text not null check (format in ('json', 'slack', 'feishu')),
  events text[] not null,
  -- JSON of {url, secret}, sealed (src/access/sealed-secrets.ts) for the context webhooks/<id>: the address of a chat's webhook is a key itself.
  sealed text not null,
  -- Its host: the rest may be a key.
  shown_url text not null,
  created_by text not null,
  created_at timestamptz not null
);

-- The outbox: written in the transaction of what it tells. A row is due until it is delivered or dead.
create table webhook_deliveries (
  -- Stable over all tries: receivers know repetitions by it.
  id text collate "C" primary key,
  -- The order of entry.
  position bigint generated always as identity,
  webhook_id text collate "C" not null references webhooks (id) on delete cascade,
  -- What it tells of; the same is told once.
  key text collate "C" not null,
  event text not null,
  notice jsonb not null,
  tries integer not null default 0,
  next_at timestamptz not null,
  delivered_at timestamptz,
  dead_at timestamptz,
  last_error text,
  created_at timestamptz not null,
  unique (webhook_id, key)
);
create index webhook_deliveries_due on webhook_deliveries (next_at) where delivered_at is null and dead_at is null;
create index webhook_deliveries_over on webhook_deliveries (created_at) where delivered_at is not null or dead_at is not null;
