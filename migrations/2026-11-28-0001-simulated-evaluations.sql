-- Evaluations say whether what they scored was made up by a stand-in.

alter table evaluations add column simulated boolean not null default false;

update evaluations e set simulated = true
  from checkpoints c join training_jobs j on j.stage_id = c.stage_id
 where c.id = e.checkpoint_id and j.simulated;
