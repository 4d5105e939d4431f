-- The spine: pipelines and their events, attempts and assignments, agents and their inbox, telemetry, access.
-- Text ids use the C collation: compared as bytes, never by language.

create table pipelines (
  id text collate "C" primary key,
  name text not null,
  status text not null,
  labels jsonb not null,
  spec jsonb not null,
  -- Number of events so far; the version that a writer must have seen.
  seq bigint not null,
  stage_count integer not null,
  cancelling jsonb,
  forked_from text collate "C" references pipelines (id),
  error text,
  created_by text not null,
  created_at timestamptz not null,
  started_at timestamptz,
  finished_at timestamptz
) with (fillfactor = 60);
create index pipelines_by_age on pipelines (created_at desc, id desc);
create index pipelines_open on pipelines (id) where status in ('PENDING', 'RUNNING', 'PAUSED');
create index pipelines_finished on pipelines (finished_at) where finished_at is not null;

-- One row per stage: `phase` is the stage's state (StageState as JSON), the columns repeat what is searched for.
create table stages (
  id text collate "C" primary key,
  pipeline_id text collate "C" not null references pipelines (id) on delete cascade,
  position integer not null,
  name text not null,
  kind text not null,
  queue text not null,
  priority integer not null,
  status text not null,
  phase jsonb not null,
  -- The next back-off end or deadline, when there is one.
  timer_at timestamptz,
  unique (pipeline_id, position)
) with (fillfactor = 50);
create unique index stages_by_name on stages (pipeline_id, name);
-- No index holds what changes as stages move (status, phase, timer_at): every move stays a heap-only update. What waits is found through pipelines_open.
create index stages_training on stages (id desc) where kind = 'train';

-- Dense over all pipelines, in commit order: the counter is taken last in each transaction, one increment per batch.
create table event_counter (one boolean primary key default true check (one), position bigint not null);
insert into event_counter (position) values (0);

create table events (
  position bigint primary key,
  pipeline_id text collate "C" not null references pipelines (id) on delete cascade,
  seq bigint not null,
  type text not null,
  stage text,
  payload jsonb not null,
  at timestamptz not null,
  unique (pipeline_id, seq)
);

-- Every try of every stage, for good.
create table attempts (
  id text collate "C" primary key,
  stage_id text collate "C" not null references stages (id) on delete cascade,
  pipeline_id text collate "C" not null,
  -- The fence.
  number integer not null,
  status text not null,
  -- Agent of rank 0.
  agent_id text collate "C" not null,
  members jsonb not null,
  command jsonb,
  error jsonb,
  offered_at timestamptz not null,
  started_at timestamptz,
  finished_at timestamptz,
  unique (stage_id, number)
) with (fillfactor = 80);
create unique index attempts_one_live on attempts (stage_id) where status in ('OFFERED', 'RUNNING');
create index attempts_failed on attempts (finished_at) where status in ('FAILED', 'LOST');

-- The live part of an attempt on one agent: the lease, and the outbox. A row that is OFFERED means: publish the assignment; a row with `stop` means: publish that.
create table assignments (
  attempt_id text collate "C" not null references attempts (id) on delete cascade,
  agent_id text collate "C" not null,
  pipeline_id text collate "C" not null,
  stage text not null,
  fence integer not null,
  rank integer not null,
  -- noProgressTimeoutSeconds of the stage, when it has one.
  silence_limit_seconds double precision,
  status text not null,
  -- The assignment as sent (protocol Assignment).
  body jsonb not null,
  -- The stop order as sent, when there is one.
  stop jsonb,
  offered_at timestamptz not null,
  published_at timestamptz not null,
  lease_renewed_at timestamptz not null,
  -- Last log output or metric, kept for stages with a silence limit.
  active_at timestamptz,
  primary key (attempt_id, agent_id)
) with (fillfactor = 80);
create index assignments_by_agent on assignments (agent_id);

-- A GPU is held by one live attempt at most: the database refuses the second.
create table gpu_holds (
  agent_id text collate "C" not null,
  gpu_index integer not null,
  attempt_id text collate "C" not null,
  primary key (agent_id, gpu_index),
  foreign key (attempt_id, agent_id) references assignments (attempt_id, agent_id) on delete cascade
);
create index gpu_holds_by_attempt on gpu_holds (attempt_id, agent_id);

create table agents (
  id text collate "C" primary key,
  name text not null unique,
  session_id text collate "C",
  instance text,
  epoch text,
  -- Highest report number of the epoch that is committed.
  watermark bigint not null default 0,
  pools jsonb not null,
  capabilities jsonb not null,
  labels jsonb not null,
  gpus jsonb not null,
  versions jsonb not null,
  run_mode text not null,
  address text,
  token_id text collate "C",
  -- An operator's order: no new work.
  draining boolean not null default false,
  -- The agent's own word: it takes nothing new because it is about to stop.
  stopping boolean not null default false,
  connected_at timestamptz,
  last_heartbeat_at timestamptz,
  closed_at timestamptz
);

-- One holder at a time of each periodic role. The advisory lock tells who lives, the epoch fences who was replaced.
create table roles (name text primary key, epoch bigint not null default 0, holder text, seen_at timestamptz);
insert into roles (name) values ('dispatcher'), ('caretaker');

-- ── telemetry ─────────────────────────────────────────────────────────────────────────────────────

create table metric_series (
  id bigint generated always as identity primary key,
  stage_id text collate "C" not null references stages (id) on delete cascade,
  attempt integer not null,
  name text not null,
  -- Lowest step ever reported; what a later attempt supersedes is decided by it.
  first_step bigint not null,
  unique (stage_id, attempt, name)
);

-- Append only; NaN and infinities are values like any other. A point reported again for the same step replaces the first.
create table metric_points (
  series_id bigint not null,
  step bigint not null,
  at timestamptz not null,
  value double precision not null,
  -- stage_telemetry.batch of the ingest that wrote it: what live readers go by.
  batch bigint not null,
  primary key (series_id, step)
);

-- Roll-ups per block of steps, kept as points arrive, so that a chart of a million points costs milliseconds.
create table metric_blocks (
  series_id bigint not null,
  -- floor(step / 500)
  block bigint not null,
  -- Newest batch that touched the block.
  batch bigint not null,
  points integer not null,
  non_finite integer not null,
  first_step bigint not null,
  -- Extremes of the finite values.
  min_value double precision,
  min_step bigint,
  min_at timestamptz,
  max_value double precision,
  max_step bigint,
  max_at timestamptz,
  last_step bigint not null,
  last_value double precision not null,
  last_at timestamptz not null,
  -- The newest value that is no number.
  non_finite_value double precision,
  non_finite_step bigint,
  non_finite_at timestamptz,
  primary key (series_id, block)
) with (fillfactor = 70);

-- One row per stage that has reported anything. Its lock orders all telemetry of the stage: batch n is committed before batch n + 1 is numbered.
create table stage_telemetry (
  stage_id text collate "C" primary key references stages (id) on delete cascade,
  batch bigint not null,
  -- End of the stage's log, gaps included; end of its newest stored chunk; bytes stored.
  log_length bigint not null default 0,
  log_stored_to bigint not null default 0,
  log_stored_bytes bigint not null default 0,
  -- The limit was met: nothing more is stored, only counted.
  log_limited boolean not null default false,
  -- Progress of the newest attempt that reported a step.
  attempt integer,
  step bigint,
  total_steps bigint,
  -- Steps per second, smoothed over the recent past.
  pace double precision,
  -- First and newest advance of the attempt, by the agent's clock.
  since timestamptz,
  advanced_at timestamptz
) with (fillfactor = 70);

-- A stage's log is what its attempts published, one after the other (agents of one attempt: in the order of arrival); bytes are UTF-8.
create table log_sources (
  stage_id text collate "C" not null references stages (id) on delete cascade,
  attempt integer not null,
  agent_id text collate "C" not null,
  -- Published bytes that are in, gaps included.
  length bigint not null,
  primary key (stage_id, attempt, agent_id)
) with (fillfactor = 70);
create table log_chunks (
  stage_id text collate "C" not null references stages (id) on delete cascade,
  from_byte bigint not null,
  to_byte bigint not null,
  -- Bytes before from_byte that were left out.
  skipped_bytes bigint not null default 0,
  attempt integer not null,
  data bytea not null,
  at timestamptz not null,
  primary key (stage_id, from_byte)
);

create table checkpoints (
  id text collate "C" primary key,
  stage_id text collate "C" not null references stages (id) on delete cascade,
  pipeline_id text collate "C" not null,
  attempt_id text collate "C" not null,
  attempt integer not null,
  agent_id text collate "C" not null,
  step bigint not null,
  path text not null,
  size_bytes bigint,
  metrics jsonb not null,
  pinned boolean not null default false,
  -- Ordered to be deleted; the agent's answer sets deleted_at.
  delete_ordered_at timestamptz,
  delete_error text,
  deleted_at timestamptz,
  created_at timestamptz not null,
  unique (attempt_id, step, path)
);
create index checkpoints_by_stage on checkpoints (stage_id, step);
create index checkpoints_kept on checkpoints (stage_id) where deleted_at is null;
create index checkpoints_ordered on checkpoints (agent_id) where delete_ordered_at is not null and deleted_at is null;

create table evaluations (
  id text collate "C" primary key,
  stage_id text collate "C" not null references stages (id) on delete cascade,
  pipeline_id text collate "C" not null,
  attempt_id text collate "C" not null unique,
  checkpoint_id text collate "C" references checkpoints (id) on delete set null,
  dataset text,
  scores jsonb not null,
  sample_count bigint not null,
  created_at timestamptz not null
);
create index evaluations_by_stage on evaluations (stage_id);
create index evaluations_by_checkpoint on evaluations (checkpoint_id);

-- What the periodic scan found out about failed attempts beyond the agent's first classification.
create table diagnoses (
  attempt_id text collate "C" primary key references attempts (id) on delete cascade,
  cause text not null,
  evidence jsonb not null,
  suggestion text not null,
  created_at timestamptz not null
);

-- How far retention has come: pipelines that finished up to here have been seen to. For events, the highest position deleted.
create table retention_marks (
  what text primary key check (what in ('points', 'logs', 'events')),
  finished_at timestamptz not null default '-infinity',
  pipeline_id text collate "C" not null default '',
  position bigint not null default 0
);
insert into retention_marks (what) values ('points'), ('logs'), ('events');

-- ── access ────────────────────────────────────────────────────────────────────────────────────────

create table tokens (
  id text collate "C" primary key,
  name text not null,
  role text not null check (role in ('viewer', 'operator', 'admin', 'agent')),
  -- SHA-256 of the token, hex; the token itself is shown once and never stored.
  hash text not null unique,
  -- Agent tokens may be bound to one agent name.
  agent_name text,
  created_by text not null,
  created_at timestamptz not null,
  expires_at timestamptz,
  last_used_at timestamptz,
  revoked_at timestamptz
);

-- One row for each accepted and refused mutation. Append only.
create table audit (
  id bigint generated always as identity primary key,
  at timestamptz not null default now(),
  actor text not null,
  token_id text collate "C",
  role text,
  action text not null,
  subject text,
  input jsonb not null,
  outcome text not null,
  code text,
  request_id text,
  address text
);
create index audit_by_subject on audit (subject, id desc);

-- Answers to client-chosen request ids: a repeat gets the first answer, a different input a conflict.
create table request_ids (
  token_id text collate "C" not null,
  request_id text not null,
  action text not null,
  input_hash text not null,
  pipeline_id text collate "C" not null,
  created_at timestamptz not null default now(),
  primary key (token_id, request_id)
);
