-- Data sets: immutable versions of data files, where they lie, which attempts made and read them, and files that were uploaded.

-- One row per name. Its lock orders the versions of the name: they are numbered densely from 1.
create table dataset_names (
  name text collate "C" primary key,
  versions integer not null
);

create table datasets (
  -- Follows from name and content hash.
  id text collate "C" primary key,
  name text collate "C" not null references dataset_names (name),
  version integer not null,
  -- sha256 of the file's bytes, hex.
  content_hash text collate "C" not null,
  format text not null,
  rows bigint not null,
  -- Rows among them that cannot be read as what the file claims to be.
  unreadable_rows bigint not null default 0,
  size_bytes bigint not null,
  -- json, not jsonb: columns and rows are shown in the order of the file, and hold whatever JSON can say.
  columns json not null,
  statistics json,
  -- The first rows, for readers that cannot reach the file.
  sample json not null,
  -- Tasks that the columns can serve as they are.
  tasks text[] not null,
  -- The attempt that first made it; null when a user registered it and no stage has made it since.
  made_by_pipeline text collate "C",
  made_by_stage text collate "C",
  made_by_attempt text collate "C",
  -- Name of the token that registered it, or that submitted the pipeline which made it.
  created_by text not null,
  created_at timestamptz not null,
  unique (name, version),
  unique (name, content_hash)
);
create index datasets_by_age on datasets (created_at desc, id desc);
create index datasets_by_content on datasets (content_hash);
create index datasets_by_maker on datasets (made_by_stage) where made_by_stage is not null;

-- Where a version lies. The same content may lie in several places.
create table dataset_files (
  dataset_id text collate "C" not null references datasets (id) on delete cascade,
  -- The agent that has it; empty: the control plane's own disk.
  agent_id text collate "C" not null default '',
  path text not null,
  -- The attempt that reported it, when one did.
  stage_id text collate "C",
  attempt_id text collate "C",
  -- ctime of the file when the control plane last read its content, in milliseconds since 1970: unchanged means that it still has that content. Null: never read here.
  changed_ms double precision,
  seen_at timestamptz not null
);
-- A path may be longer than an index entry.
create unique index dataset_files_once on dataset_files (dataset_id, agent_id, md5(path));
create index dataset_files_by_stage on dataset_files (stage_id) where stage_id is not null;

-- Which attempts read which content, whether it was registered then or later.
create table dataset_reads (
  attempt_id text collate "C" not null,
  content_hash text collate "C" not null,
  stage_id text collate "C" not null references stages (id) on delete cascade,
  pipeline_id text collate "C" not null,
  path text not null,
  size_bytes bigint not null,
  read_at timestamptz not null,
  primary key (attempt_id, content_hash)
);
create index dataset_reads_by_content on dataset_reads (content_hash, stage_id);
create index dataset_reads_by_stage on dataset_reads (stage_id);

-- Files that came over HTTP, whole and hashed. They lie in the data directory of the control plane that took them.
create table uploads (
  id text collate "C" primary key,
  name text not null,
  size_bytes bigint not null,
  content_hash text collate "C" not null,
  created_by text not null,
  created_at timestamptz not null
);
