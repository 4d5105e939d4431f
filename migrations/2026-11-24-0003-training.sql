-- Training: jobs, the health of their runs, what was found wrong with them.

-- A train stage seen as the experiment it is. Written with the stage; its id is the stage's with another prefix (domain/ids.ts).
create table training_jobs (
  stage_id text collate "C" primary key references stages (id) on delete cascade,
  pipeline_id text collate "C" not null,
  algorithm text not null,
  -- As the specification names it: it may be a reference.
  model text not null,
  -- Trains nothing: a stand-in runs.
  simulated boolean not null,
  created_at timestamptz not null
);
create index training_jobs_by_age on training_jobs (created_at desc, stage_id desc);
create index training_jobs_by_pipeline on training_jobs (pipeline_id);

-- Train stages of before this table.
insert into training_jobs (stage_id, pipeline_id, algorithm, model, simulated, created_at)
select s.id, s.pipeline_id, x.params ->> 'algorithm', x.params ->> 'model', coalesce(x.params -> 'simulate' = 'true'::jsonb, false), p.created_at
  from stages s join pipelines p on p.id = s.pipeline_id cross join lateral (select p.spec -> 'stages' -> s.position -> 'params' as params) x
 where s.kind = 'train' and x.params ->> 'model' is not null
   and x.params ->> 'algorithm' in ('sft', 'ppo', 'grpo', 'dpo', 'gspo', 'dapo', 'rloo', 'remax', 'reinforce_plus_plus');

-- What is remembered of a run between two batches of its metrics (HealthState as JSON). Changed only under the row lock of the pipeline.
create table training_health (
  stage_id text collate "C" primary key references stages (id) on delete cascade,
  state jsonb not null
) with (fillfactor = 70);

-- What was found wrong with a run, for good. Within a pipeline `position` rises in commit order: rows are written under the pipeline's row lock.
create table anomalies (
  id text collate "C" primary key,
  position bigint generated always as identity,
  stage_id text collate "C" not null references stages (id) on delete cascade,
  pipeline_id text collate "C" not null,
  attempt integer not null,
  -- The same finding has the same key, however often it is found.
  key text not null,
  kind text not null,
  severity text not null,
  step bigint,
  metric text,
  value double precision,
  threshold double precision,
  message text not null,
  suggestion text not null,
  -- NOTIFIED, STOPPED or ROLLED_BACK; `would`: what would have been done, had it not been for shadow mode.
  action text not null,
  would text,
  reason text not null,
  created_at timestamptz not null,
  unique (stage_id, key)
);
create index anomalies_by_pipeline on anomalies (pipeline_id, position);

-- A train stage's files are looked up by where they lie.
create index dataset_files_by_path on dataset_files (md5(path));
