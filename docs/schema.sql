-- The tables that migrations/*.sql add up to, read back from PostgreSQL. Made by `npm run generate`: do not edit, and do not apply.

CREATE TABLE agents (
  id text COLLATE "C" NOT NULL,
  name text NOT NULL,
  session_id text COLLATE "C",
  instance text,
  epoch text,
  watermark bigint DEFAULT 0 NOT NULL,
  pools jsonb NOT NULL,
  capabilities jsonb NOT NULL,
  labels jsonb NOT NULL,
  gpus jsonb NOT NULL,
  versions jsonb NOT NULL,
  run_mode text NOT NULL,
  address text,
  token_id text COLLATE "C",
  draining boolean DEFAULT false NOT NULL,
  stopping boolean DEFAULT false NOT NULL,
  connected_at timestamp with time zone,
  last_heartbeat_at timestamp with time zone,
  closed_at timestamp with time zone,
  CONSTRAINT agents_pkey PRIMARY KEY (id),
  CONSTRAINT agents_name_key UNIQUE (name)
);

CREATE TABLE anomalies (
  id text COLLATE "C" NOT NULL,
  "position" bigint GENERATED ALWAYS AS IDENTITY NOT NULL,
  stage_id text COLLATE "C" NOT NULL,
  pipeline_id text COLLATE "C" NOT NULL,
  attempt integer NOT NULL,
  key text NOT NULL,
  kind text NOT NULL,
  severity text NOT NULL,
  step bigint,
  metric text,
  value double precision,
  threshold double precision,
  message text NOT NULL,
  suggestion text NOT NULL,
  action text NOT NULL,
  would text,
  reason text NOT NULL,
  created_at timestamp with time zone NOT NULL,
  CONSTRAINT anomalies_pkey PRIMARY KEY (id),
  CONSTRAINT anomalies_stage_id_key_key UNIQUE (stage_id, key),
  CONSTRAINT anomalies_stage_id_fkey FOREIGN KEY (stage_id) REFERENCES stages(id) ON DELETE CASCADE
);
CREATE INDEX anomalies_by_pipeline ON anomalies USING btree (pipeline_id, "position");

CREATE TABLE assignments (
  attempt_id text COLLATE "C" NOT NULL,
  agent_id text COLLATE "C" NOT NULL,
  pipeline_id text COLLATE "C" NOT NULL,
  stage text NOT NULL,
  fence integer NOT NULL,
  rank integer NOT NULL,
  silence_limit_seconds double precision,
  status text NOT NULL,
  body jsonb NOT NULL,
  stop jsonb,
  offered_at timestamp with time zone NOT NULL,
  published_at timestamp with time zone NOT NULL,
  lease_renewed_at timestamp with time zone NOT NULL,
  active_at timestamp with time zone,
  CONSTRAINT assignments_pkey PRIMARY KEY (attempt_id, agent_id),
  CONSTRAINT assignments_attempt_id_fkey FOREIGN KEY (attempt_id) REFERENCES attempts(id) ON DELETE CASCADE
);
CREATE INDEX assignments_by_agent ON assignments USING btree (agent_id);

CREATE TABLE attempts (
  id text COLLATE "C" NOT NULL,
  stage_id text COLLATE "C" NOT NULL,
  pipeline_id text COLLATE "C" NOT NULL,
  number integer NOT NULL,
  status text NOT NULL,
  agent_id text COLLATE "C" NOT NULL,
  members jsonb NOT NULL,
  command jsonb,
  error jsonb,
  offered_at timestamp with time zone NOT NULL,
  started_at timestamp with time zone,
  finished_at timestamp with time zone,
  CONSTRAINT attempts_pkey PRIMARY KEY (id),
  CONSTRAINT attempts_stage_id_number_key UNIQUE (stage_id, number),
  CONSTRAINT attempts_stage_id_fkey FOREIGN KEY (stage_id) REFERENCES stages(id) ON DELETE CASCADE
);
CREATE INDEX attempts_failed ON attempts USING btree (finished_at) WHERE (status = ANY (ARRAY['FAILED'::text, 'LOST'::text]));
CREATE UNIQUE INDEX attempts_one_live ON attempts USING btree (stage_id) WHERE (status = ANY (ARRAY['OFFERED'::text, 'RUNNING'::text]));

CREATE TABLE audit (
  id bigint GENERATED ALWAYS AS IDENTITY NOT NULL,
  at timestamp with time zone DEFAULT now() NOT NULL,
  actor text NOT NULL,
  token_id text COLLATE "C",
  role text,
  action text NOT NULL,
  subject text,
  input jsonb NOT NULL,
  outcome text NOT NULL,
  code text,
  request_id text,
  address text,
  CONSTRAINT audit_pkey PRIMARY KEY (id)
);
CREATE INDEX audit_by_subject ON audit USING btree (subject, id DESC);

CREATE TABLE checkpoints (
  id text COLLATE "C" NOT NULL,
  stage_id text COLLATE "C" NOT NULL,
  pipeline_id text COLLATE "C" NOT NULL,
  attempt_id text COLLATE "C" NOT NULL,
  attempt integer NOT NULL,
  agent_id text COLLATE "C" NOT NULL,
  step bigint NOT NULL,
  path text NOT NULL,
  size_bytes bigint,
  metrics jsonb NOT NULL,
  pinned boolean DEFAULT false NOT NULL,
  delete_ordered_at timestamp with time zone,
  delete_error text,
  deleted_at timestamp with time zone,
  created_at timestamp with time zone NOT NULL,
  CONSTRAINT checkpoints_pkey PRIMARY KEY (id),
  CONSTRAINT checkpoints_attempt_id_step_path_key UNIQUE (attempt_id, step, path),
  CONSTRAINT checkpoints_stage_id_fkey FOREIGN KEY (stage_id) REFERENCES stages(id) ON DELETE CASCADE
);
CREATE INDEX checkpoints_by_stage ON checkpoints USING btree (stage_id, step);
CREATE INDEX checkpoints_kept ON checkpoints USING btree (stage_id) WHERE (deleted_at IS NULL);
CREATE INDEX checkpoints_ordered ON checkpoints USING btree (agent_id) WHERE ((delete_ordered_at IS NOT NULL) AND (deleted_at IS NULL));

CREATE TABLE dataset_files (
  dataset_id text COLLATE "C" NOT NULL,
  agent_id text COLLATE "C" DEFAULT ''::text NOT NULL,
  path text NOT NULL,
  stage_id text COLLATE "C",
  attempt_id text COLLATE "C",
  changed_ms double precision,
  seen_at timestamp with time zone NOT NULL,
  CONSTRAINT dataset_files_dataset_id_fkey FOREIGN KEY (dataset_id) REFERENCES datasets(id) ON DELETE CASCADE
);
CREATE INDEX dataset_files_by_path ON dataset_files USING btree (md5(path));
CREATE INDEX dataset_files_by_stage ON dataset_files USING btree (stage_id) WHERE (stage_id IS NOT NULL);
CREATE UNIQUE INDEX dataset_files_once ON dataset_files USING btree (dataset_id, agent_id, md5(path));

CREATE TABLE dataset_names (
  name text COLLATE "C" NOT NULL,
  versions integer NOT NULL,
  CONSTRAINT dataset_names_pkey PRIMARY KEY (name)
);

CREATE TABLE dataset_reads (
  attempt_id text COLLATE "C" NOT NULL,
  content_hash text COLLATE "C" NOT NULL,
  stage_id text COLLATE "C" NOT NULL,
  pipeline_id text COLLATE "C" NOT NULL,
  path text NOT NULL,
  size_bytes bigint NOT NULL,
  read_at timestamp with time zone NOT NULL,
  CONSTRAINT dataset_reads_pkey PRIMARY KEY (attempt_id, content_hash),
  CONSTRAINT dataset_reads_stage_id_fkey FOREIGN KEY (stage_id) REFERENCES stages(id) ON DELETE CASCADE
);
CREATE INDEX dataset_reads_by_content ON dataset_reads USING btree (content_hash, stage_id);
CREATE INDEX dataset_reads_by_stage ON dataset_reads USING btree (stage_id);

CREATE TABLE datasets (
  id text COLLATE "C" NOT NULL,
  name text COLLATE "C" NOT NULL,
  version integer NOT NULL,
  content_hash text COLLATE "C" NOT NULL,
  format text NOT NULL,
  rows bigint NOT NULL,
  unreadable_rows bigint DEFAULT 0 NOT NULL,
  size_bytes bigint NOT NULL,
  columns json NOT NULL,
  statistics json,
  sample json NOT NULL,
  tasks text[] NOT NULL,
  made_by_pipeline text COLLATE "C",
  made_by_stage text COLLATE "C",
  made_by_attempt text COLLATE "C",
  created_by text NOT NULL,
  created_at timestamp with time zone NOT NULL,
  CONSTRAINT datasets_pkey PRIMARY KEY (id),
  CONSTRAINT datasets_name_content_hash_key UNIQUE (name, content_hash),
  CONSTRAINT datasets_name_version_key UNIQUE (name, version),
  CONSTRAINT datasets_name_fkey FOREIGN KEY (name) REFERENCES dataset_names(name)
);
CREATE INDEX datasets_by_age ON datasets USING btree (created_at DESC, id DESC);
CREATE INDEX datasets_by_content ON datasets USING btree (content_hash);
CREATE INDEX datasets_by_maker ON datasets USING btree (made_by_stage) WHERE (made_by_stage IS NOT NULL);

CREATE TABLE diagnoses (
  attempt_id text COLLATE "C" NOT NULL,
  cause text NOT NULL,
  evidence jsonb NOT NULL,
  suggestion text NOT NULL,
  created_at timestamp with time zone NOT NULL,
  CONSTRAINT diagnoses_pkey PRIMARY KEY (attempt_id),
  CONSTRAINT diagnoses_attempt_id_fkey FOREIGN KEY (attempt_id) REFERENCES attempts(id) ON DELETE CASCADE
);

CREATE TABLE evaluations (
  id text COLLATE "C" NOT NULL,
  stage_id text COLLATE "C" NOT NULL,
  pipeline_id text COLLATE "C" NOT NULL,
  attempt_id text COLLATE "C" NOT NULL,
  checkpoint_id text COLLATE "C",
  dataset text,
  scores jsonb NOT NULL,
  sample_count bigint NOT NULL,
  created_at timestamp with time zone NOT NULL,
  intervals jsonb DEFAULT '{}'::jsonb NOT NULL,
  errors bigint,
  simulated boolean DEFAULT false NOT NULL,
  CONSTRAINT evaluations_pkey PRIMARY KEY (id),
  CONSTRAINT evaluations_attempt_id_key UNIQUE (attempt_id),
  CONSTRAINT evaluations_checkpoint_id_fkey FOREIGN KEY (checkpoint_id) REFERENCES checkpoints(id) ON DELETE SET NULL,
  CONSTRAINT evaluations_stage_id_fkey FOREIGN KEY (stage_id) REFERENCES stages(id) ON DELETE CASCADE
);
CREATE INDEX evaluations_by_checkpoint ON evaluations USING btree (checkpoint_id);
CREATE INDEX evaluations_by_stage ON evaluations USING btree (stage_id);

CREATE TABLE event_counter (
  one boolean DEFAULT true NOT NULL,
  "position" bigint NOT NULL,
  CONSTRAINT event_counter_pkey PRIMARY KEY (one),
  CONSTRAINT event_counter_one_check CHECK (one)
);

CREATE TABLE events (
  "position" bigint NOT NULL,
  pipeline_id text COLLATE "C" NOT NULL,
  seq bigint NOT NULL,
  type text NOT NULL,
  stage text,
  payload jsonb NOT NULL,
  at timestamp with time zone NOT NULL,
  CONSTRAINT events_pkey PRIMARY KEY ("position"),
  CONSTRAINT events_pipeline_id_seq_key UNIQUE (pipeline_id, seq),
  CONSTRAINT events_pipeline_id_fkey FOREIGN KEY (pipeline_id) REFERENCES pipelines(id) ON DELETE CASCADE
);

CREATE TABLE gpu_holds (
  agent_id text COLLATE "C" NOT NULL,
  gpu_index integer NOT NULL,
  attempt_id text COLLATE "C" NOT NULL,
  CONSTRAINT gpu_holds_pkey PRIMARY KEY (agent_id, gpu_index),
  CONSTRAINT gpu_holds_attempt_id_agent_id_fkey FOREIGN KEY (attempt_id, agent_id) REFERENCES assignments(attempt_id, agent_id) ON DELETE CASCADE
);
CREATE INDEX gpu_holds_by_attempt ON gpu_holds USING btree (attempt_id, agent_id);

CREATE TABLE host_deployments (
  host_id text COLLATE "C" NOT NULL,
  kind text NOT NULL,
  parameters jsonb NOT NULL,
  state text NOT NULL,
  ordered_by text NOT NULL,
  ordered_at timestamp with time zone NOT NULL,
  steps jsonb DEFAULT '[]'::jsonb NOT NULL,
  error jsonb,
  notes text[] DEFAULT '{}'::text[] NOT NULL,
  carrier text,
  carrier_seen_at timestamp with time zone,
  release text,
  version text,
  supervision text,
  running_since timestamp with time zone,
  token_id text COLLATE "C",
  CONSTRAINT host_deployments_pkey PRIMARY KEY (host_id),
  CONSTRAINT host_deployments_host_id_fkey FOREIGN KEY (host_id) REFERENCES ssh_hosts(id),
  CONSTRAINT host_deployments_token_id_fkey FOREIGN KEY (token_id) REFERENCES tokens(id),
  CONSTRAINT host_deployments_kind_check CHECK ((kind = ANY (ARRAY['DEPLOY'::text, 'REMOVE'::text]))),
  CONSTRAINT host_deployments_state_check CHECK ((state = ANY (ARRAY['WORKING'::text, 'DONE'::text, 'FAILED'::text]))),
  CONSTRAINT host_deployments_supervision_check CHECK ((supervision = ANY (ARRAY['SYSTEMD'::text, 'SUPERVISED'::text])))
);

CREATE TABLE log_chunks (
  stage_id text COLLATE "C" NOT NULL,
  from_byte bigint NOT NULL,
  to_byte bigint NOT NULL,
  skipped_bytes bigint DEFAULT 0 NOT NULL,
  attempt integer NOT NULL,
  data bytea NOT NULL,
  at timestamp with time zone NOT NULL,
  CONSTRAINT log_chunks_pkey PRIMARY KEY (stage_id, from_byte),
  CONSTRAINT log_chunks_stage_id_fkey FOREIGN KEY (stage_id) REFERENCES stages(id) ON DELETE CASCADE
);

CREATE TABLE log_sources (
  stage_id text COLLATE "C" NOT NULL,
  attempt integer NOT NULL,
  agent_id text COLLATE "C" NOT NULL,
  length bigint NOT NULL,
  CONSTRAINT log_sources_pkey PRIMARY KEY (stage_id, attempt, agent_id),
  CONSTRAINT log_sources_stage_id_fkey FOREIGN KEY (stage_id) REFERENCES stages(id) ON DELETE CASCADE
);

CREATE TABLE metric_blocks (
  series_id bigint NOT NULL,
  block bigint NOT NULL,
  batch bigint NOT NULL,
  points integer NOT NULL,
  non_finite integer NOT NULL,
  first_step bigint NOT NULL,
  min_value double precision,
  min_step bigint,
  min_at timestamp with time zone,
  max_value double precision,
  max_step bigint,
  max_at timestamp with time zone,
  last_step bigint NOT NULL,
  last_value double precision NOT NULL,
  last_at timestamp with time zone NOT NULL,
  non_finite_value double precision,
  non_finite_step bigint,
  non_finite_at timestamp with time zone,
  CONSTRAINT metric_blocks_pkey PRIMARY KEY (series_id, block)
);

CREATE TABLE metric_points (
  series_id bigint NOT NULL,
  step bigint NOT NULL,
  at timestamp with time zone NOT NULL,
  value double precision NOT NULL,
  batch bigint NOT NULL,
  CONSTRAINT metric_points_pkey PRIMARY KEY (series_id, step)
);

CREATE TABLE metric_series (
  id bigint GENERATED ALWAYS AS IDENTITY NOT NULL,
  stage_id text COLLATE "C" NOT NULL,
  attempt integer NOT NULL,
  name text NOT NULL,
  first_step bigint NOT NULL,
  CONSTRAINT metric_series_pkey PRIMARY KEY (id),
  CONSTRAINT metric_series_stage_id_attempt_name_key UNIQUE (stage_id, attempt, name),
  CONSTRAINT metric_series_stage_id_fkey FOREIGN KEY (stage_id) REFERENCES stages(id) ON DELETE CASCADE
);

CREATE TABLE pipelines (
  id text COLLATE "C" NOT NULL,
  name text NOT NULL,
  status text NOT NULL,
  labels jsonb NOT NULL,
  spec jsonb NOT NULL,
  seq bigint NOT NULL,
  stage_count integer NOT NULL,
  cancelling jsonb,
  forked_from text COLLATE "C",
  error text,
  created_by text NOT NULL,
  created_at timestamp with time zone NOT NULL,
  started_at timestamp with time zone,
  finished_at timestamp with time zone,
  CONSTRAINT pipelines_pkey PRIMARY KEY (id),
  CONSTRAINT pipelines_forked_from_fkey FOREIGN KEY (forked_from) REFERENCES pipelines(id)
);
CREATE INDEX pipelines_by_age ON pipelines USING btree (created_at DESC, id DESC);
CREATE INDEX pipelines_finished ON pipelines USING btree (finished_at) WHERE (finished_at IS NOT NULL);
CREATE INDEX pipelines_open ON pipelines USING btree (id) WHERE (status = ANY (ARRAY['PENDING'::text, 'RUNNING'::text, 'PAUSED'::text]));

CREATE TABLE request_ids (
  token_id text COLLATE "C" NOT NULL,
  request_id text NOT NULL,
  action text NOT NULL,
  input_hash text NOT NULL,
  pipeline_id text COLLATE "C" NOT NULL,
  created_at timestamp with time zone DEFAULT now() NOT NULL,
  CONSTRAINT request_ids_pkey PRIMARY KEY (token_id, request_id)
);

CREATE TABLE retention_marks (
  what text NOT NULL,
  finished_at timestamp with time zone DEFAULT '-infinity'::timestamp with time zone NOT NULL,
  pipeline_id text COLLATE "C" DEFAULT ''::text NOT NULL,
  "position" bigint DEFAULT 0 NOT NULL,
  CONSTRAINT retention_marks_pkey PRIMARY KEY (what),
  CONSTRAINT retention_marks_what_check CHECK ((what = ANY (ARRAY['points'::text, 'logs'::text, 'samples'::text, 'events'::text])))
);

CREATE TABLE roles (
  name text NOT NULL,
  epoch bigint DEFAULT 0 NOT NULL,
  holder text,
  seen_at timestamp with time zone,
  CONSTRAINT roles_pkey PRIMARY KEY (name)
);

CREATE TABLE sample_sets (
  id bigint GENERATED ALWAYS AS IDENTITY NOT NULL,
  stage_id text COLLATE "C" NOT NULL,
  attempt integer NOT NULL,
  source text NOT NULL,
  step bigint,
  kept integer DEFAULT 0 NOT NULL,
  left_out integer DEFAULT 0 NOT NULL,
  size_bytes bigint DEFAULT 0 NOT NULL,
  correct integer DEFAULT 0 NOT NULL,
  wrong integer DEFAULT 0 NOT NULL,
  errors integer DEFAULT 0 NOT NULL,
  unscored integer DEFAULT 0 NOT NULL,
  CONSTRAINT sample_sets_pkey PRIMARY KEY (id),
  CONSTRAINT sample_sets_stage_id_attempt_source_step_key UNIQUE NULLS NOT DISTINCT (stage_id, attempt, source, step),
  CONSTRAINT sample_sets_stage_id_fkey FOREIGN KEY (stage_id) REFERENCES stages(id) ON DELETE CASCADE,
  CONSTRAINT sample_sets_source_check CHECK ((source = ANY (ARRAY['train'::text, 'validation'::text, 'evaluation'::text])))
);

CREATE TABLE samples (
  set_id bigint NOT NULL,
  "position" integer NOT NULL,
  key text COLLATE "C" NOT NULL,
  prompt text NOT NULL,
  output text NOT NULL,
  truth text,
  score double precision,
  error text,
  verdict text NOT NULL,
  CONSTRAINT samples_pkey PRIMARY KEY (set_id, "position"),
  CONSTRAINT samples_set_id_fkey FOREIGN KEY (set_id) REFERENCES sample_sets(id) ON DELETE CASCADE,
  CONSTRAINT samples_verdict_check CHECK ((verdict = ANY (ARRAY['CORRECT'::text, 'WRONG'::text, 'ERROR'::text, 'UNSCORED'::text])))
);
CREATE UNIQUE INDEX samples_once ON samples USING btree (set_id, key);

CREATE TABLE schema_migrations (
  name text NOT NULL,
  checksum text NOT NULL,
  applied_at timestamp with time zone DEFAULT now() NOT NULL,
  CONSTRAINT schema_migrations_pkey PRIMARY KEY (name)
);

CREATE TABLE ssh_hosts (
  id text COLLATE "C" NOT NULL,
  name text COLLATE "C" NOT NULL,
  host text NOT NULL,
  port integer NOT NULL,
  username text NOT NULL,
  credential text NOT NULL,
  sealed_secret text,
  key_path text,
  sealed_passphrase text,
  jump_host_id text COLLATE "C",
  working_directory text NOT NULL,
  python_environment text,
  command_prefix text[] NOT NULL,
  sealed_environment text,
  environment_names text[] NOT NULL,
  host_key_type text NOT NULL,
  host_key_fingerprint text NOT NULL,
  alarm_at timestamp with time zone,
  alarm_fingerprint text,
  created_by text NOT NULL,
  created_at timestamp with time zone NOT NULL,
  served_by text DEFAULT 'ssh'::text NOT NULL,
  CONSTRAINT ssh_hosts_pkey PRIMARY KEY (id),
  CONSTRAINT ssh_hosts_name_key UNIQUE (name),
  CONSTRAINT ssh_hosts_jump_host_id_fkey FOREIGN KEY (jump_host_id) REFERENCES ssh_hosts(id),
  CONSTRAINT ssh_hosts_credential_check CHECK ((credential = ANY (ARRAY['key'::text, 'key-file'::text, 'password'::text, 'agent'::text]))),
  CONSTRAINT ssh_hosts_port_check CHECK (((port >= 1) AND (port <= 65535))),
  CONSTRAINT ssh_hosts_served_by_check CHECK ((served_by = ANY (ARRAY['ssh'::text, 'agent'::text])))
);
CREATE INDEX ssh_hosts_by_jump ON ssh_hosts USING btree (jump_host_id) WHERE (jump_host_id IS NOT NULL);

CREATE TABLE stage_telemetry (
  stage_id text COLLATE "C" NOT NULL,
  batch bigint NOT NULL,
  log_length bigint DEFAULT 0 NOT NULL,
  log_stored_to bigint DEFAULT 0 NOT NULL,
  log_stored_bytes bigint DEFAULT 0 NOT NULL,
  log_limited boolean DEFAULT false NOT NULL,
  attempt integer,
  step bigint,
  total_steps bigint,
  pace double precision,
  since timestamp with time zone,
  advanced_at timestamp with time zone,
  CONSTRAINT stage_telemetry_pkey PRIMARY KEY (stage_id),
  CONSTRAINT stage_telemetry_stage_id_fkey FOREIGN KEY (stage_id) REFERENCES stages(id) ON DELETE CASCADE
);

CREATE TABLE stages (
  id text COLLATE "C" NOT NULL,
  pipeline_id text COLLATE "C" NOT NULL,
  "position" integer NOT NULL,
  name text NOT NULL,
  kind text NOT NULL,
  queue text NOT NULL,
  priority integer NOT NULL,
  status text NOT NULL,
  phase jsonb NOT NULL,
  timer_at timestamp with time zone,
  CONSTRAINT stages_pkey PRIMARY KEY (id),
  CONSTRAINT stages_pipeline_id_position_key UNIQUE (pipeline_id, "position"),
  CONSTRAINT stages_pipeline_id_fkey FOREIGN KEY (pipeline_id) REFERENCES pipelines(id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX stages_by_name ON stages USING btree (pipeline_id, name);
CREATE INDEX stages_training ON stages USING btree (id DESC) WHERE (kind = 'train'::text);

CREATE TABLE tokens (
  id text COLLATE "C" NOT NULL,
  name text NOT NULL,
  role text NOT NULL,
  hash text NOT NULL,
  agent_name text,
  created_by text NOT NULL,
  created_at timestamp with time zone NOT NULL,
  expires_at timestamp with time zone,
  last_used_at timestamp with time zone,
  revoked_at timestamp with time zone,
  CONSTRAINT tokens_pkey PRIMARY KEY (id),
  CONSTRAINT tokens_hash_key UNIQUE (hash),
  CONSTRAINT tokens_role_check CHECK ((role = ANY (ARRAY['viewer'::text, 'operator'::text, 'admin'::text, 'agent'::text])))
);

CREATE TABLE training_health (
  stage_id text COLLATE "C" NOT NULL,
  state jsonb NOT NULL,
  CONSTRAINT training_health_pkey PRIMARY KEY (stage_id),
  CONSTRAINT training_health_stage_id_fkey FOREIGN KEY (stage_id) REFERENCES stages(id) ON DELETE CASCADE
);

CREATE TABLE training_jobs (
  stage_id text COLLATE "C" NOT NULL,
  pipeline_id text COLLATE "C" NOT NULL,
  algorithm text NOT NULL,
  model text NOT NULL,
  simulated boolean NOT NULL,
  created_at timestamp with time zone NOT NULL,
  CONSTRAINT training_jobs_pkey PRIMARY KEY (stage_id),
  CONSTRAINT training_jobs_stage_id_fkey FOREIGN KEY (stage_id) REFERENCES stages(id) ON DELETE CASCADE
);
CREATE INDEX training_jobs_by_age ON training_jobs USING btree (created_at DESC, stage_id DESC);
CREATE INDEX training_jobs_by_pipeline ON training_jobs USING btree (pipeline_id);

CREATE TABLE uploads (
  id text COLLATE "C" NOT NULL,
  name text NOT NULL,
  size_bytes bigint NOT NULL,
  content_hash text COLLATE "C" NOT NULL,
  created_by text NOT NULL,
  created_at timestamp with time zone NOT NULL,
  CONSTRAINT uploads_pkey PRIMARY KEY (id)
);

CREATE TABLE webhook_deliveries (
  id text COLLATE "C" NOT NULL,
  "position" bigint GENERATED ALWAYS AS IDENTITY NOT NULL,
  webhook_id text COLLATE "C" NOT NULL,
  key text COLLATE "C" NOT NULL,
  event text NOT NULL,
  notice jsonb NOT NULL,
  tries integer DEFAULT 0 NOT NULL,
  next_at timestamp with time zone NOT NULL,
  delivered_at timestamp with time zone,
  dead_at timestamp with time zone,
  last_error text,
  created_at timestamp with time zone NOT NULL,
  CONSTRAINT webhook_deliveries_pkey PRIMARY KEY (id),
  CONSTRAINT webhook_deliveries_webhook_id_key_key UNIQUE (webhook_id, key),
  CONSTRAINT webhook_deliveries_webhook_id_fkey FOREIGN KEY (webhook_id) REFERENCES webhooks(id) ON DELETE CASCADE
);
CREATE INDEX webhook_deliveries_due ON webhook_deliveries USING btree (next_at) WHERE ((delivered_at IS NULL) AND (dead_at IS NULL));
CREATE INDEX webhook_deliveries_over ON webhook_deliveries USING btree (created_at) WHERE ((delivered_at IS NOT NULL) OR (dead_at IS NOT NULL));

CREATE TABLE webhooks (
  id text COLLATE "C" NOT NULL,
  name text NOT NULL,
  format text NOT NULL,
  events text[] NOT NULL,
  sealed text NOT NULL,
  shown_url text NOT NULL,
  created_by text NOT NULL,
  created_at timestamp with time zone NOT NULL,
  CONSTRAINT webhooks_pkey PRIMARY KEY (id),
  CONSTRAINT webhooks_name_key UNIQUE (name),
  CONSTRAINT webhooks_format_check CHECK ((format = ANY (ARRAY['json'::text, 'slack'::text, 'feishu'::text])))
);
