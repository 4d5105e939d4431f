-- SSH hosts: how each is reached and as whom. Credentials stand here only sealed, with a key that does not (src/access/sealed-secrets.ts).

create table ssh_hosts (
  id text collate "C" primary key,
  -- Also the name of the agent that acts for it.
  name text collate "C" not null unique,
  host text not null,
  port integer not null check (port between 1 and 65535),
  username text not null,
  credential text not null check (credential in ('key', 'key-file', 'password', 'agent')),
  -- The private key or the password; null for a file or an ssh-agent.
  sealed_secret text,
  -- Of a private key on the control plane's machine.
  key_path text,
  sealed_passphrase text,
  -- Connections go through this one.
  jump_host_id text collate "C" references ssh_hosts (id),
  working_directory text not null,
  -- A venv or conda environment on the host.
  python_environment text,
  -- Words that stand before each program, such as apptainer exec --nv image.sif.
  command_prefix text[] not null,
  -- Variables of programs there: a JSON object, sealed as a whole. Their names are kept readable.
  sealed_environment text,
  environment_names text[] not null,
  -- The key that was confirmed.
  host_key_type text not null,
  host_key_fingerprint text not null,
  -- Another key was shown: nobody connects any more.
  alarm_at timestamptz,
  alarm_fingerprint text,
  created_by text not null,
  created_at timestamptz not null
);
create index ssh_hosts_by_jump on ssh_hosts (jump_host_id) where jump_host_id is not null;
