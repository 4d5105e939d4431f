-- Agents of their own on SSH hosts: who serves a host, and what stands of the order to deploy or remove its agent.

-- ssh: an agent that acts for it over SSH. agent: its own, deployed there; the SSH run mode leaves the host alone.
alter table ssh_hosts add column served_by text not null default 'ssh' check (served_by in ('ssh', 'agent'));

-- One row per host that was ever ordered an agent of its own. After a removal it tells what was left behind.
create table host_deployments (
  host_id text collate "C" primary key references ssh_hosts (id),
  -- The last order, and its parameters.
  kind text not null check (kind in ('DEPLOY', 'REMOVE')),
  parameters jsonb not null,
  state text not null check (state in ('WORKING', 'DONE', 'FAILED')),
  ordered_by text not null,
  ordered_at timestamptz not null,
  -- What was done so far, one entry a step.
  steps jsonb not null default '[]',
  -- Why the order failed: code, message.
  error jsonb,
  notes text[] not null default '{}',
  -- The process that carries the order out, and when it last said so; another one takes over when it has fallen silent.
  carrier text,
  carrier_seen_at timestamptz,
  -- What runs on the host: content hash of the release, version of the package, who keeps it running, since when.
  release text,
  version text,
  supervision text check (supervision in ('SYSTEMD', 'SUPERVISED')),
  running_since timestamptz,
  -- Of the agent there; its text is nowhere but in a file on the host.
  token_id text collate "C" references tokens (id)
);
