import { findJob } from "../api/jobs.js";
import type { Cli } from "../cli.js";
import { describeJob, SHOWN_JOB_FIELDS, type ShownJob } from "../render/job-page.js";

export async function run(cli: Cli, [target, stage]: readonly string[]): Promise<void> {
  const job = await findJob<ShownJob>(cli, target!, stage, SHOWN_JOB_FIELDS);
  cli.print({ value: job, ids: () => [job.id], table: () => describeJob(job, cli.style, Date.now()) });
  if (cli.format !== "table") return;
  const next: [string, string][] = [
    ...(job.status === "RUNNING" ? [["Watch it:", `watch ${job.pipeline.id}`] as [string, string]] : []), ...(job.status === "FAILED" ? [["Try again:", `retry ${job.pipeline.id} --stage ${job.stage.name}`] as [string, string]] : []),
    ["Its log:", `logs ${job.pipeline.id} --stage ${job.stage.name}`],
    ...(job.sampleSets.length === 0 ? [] : [["Its samples:", `job samples ${job.id}`] as [string, string]]), ["As a script:", `export ${job.id}`],
  ];
  for (const [what, command] of next) cli.note(`${cli.noteStyle.dim(what.padEnd(14))}${cli.command(command)}`);
}
