-- What stands beside the scores of an evaluation.

alter table evaluations
  -- Score's name → {n, low, high, level, method} as far as they are known.
  add column intervals jsonb not null default '{}',
  -- Rows without a score; null: not said.
  add column errors bigint;
