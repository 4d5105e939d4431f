-- Samples: what models were asked and what they answered, one by one.

-- What one attempt reported of one source at one step. Written only under the lock of the stage's telemetry row.
create table sample_sets (
  id bigint generated always as identity primary key,
  stage_id text collate "C" not null references stages (id) on delete cascade,
  attempt integer not null,
  source text not null check (source in ('train', 'validation', 'evaluation')),
  -- Null outside trainings.
  step bigint,
  -- Samples that are stored, and those that came when the set or the stage was full.
  kept integer not null default 0,
  left_out integer not null default 0,
  size_bytes bigint not null default 0,
  -- Of the stored ones, by verdict.
  correct integer not null default 0,
  wrong integer not null default 0,
  errors integer not null default 0,
  unscored integer not null default 0,
  unique nulls not distinct (stage_id, attempt, source, step)
) with (fillfactor = 70);

create table samples (
  set_id bigint not null references sample_sets (id) on delete cascade,
  -- In the order in which they came, from 0.
  position integer not null,
  -- The row that was asked, the same wherever it is asked again.
  key text collate "C" not null,
  prompt text not null,
  output text not null,
  truth text,
  score double precision,
  error text,
  verdict text not null check (verdict in ('CORRECT', 'WRONG', 'ERROR', 'UNSCORED')),
  primary key (set_id, position)
);
create unique index samples_once on samples (set_id, key);

alter table retention_marks drop constraint retention_marks_what_check;
alter table retention_marks add constraint retention_marks_what_check check (what in ('points', 'logs', 'samples', 'events'));
insert into retention_marks (what) values ('samples');
