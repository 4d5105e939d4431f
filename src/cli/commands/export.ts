// The run of a training job as a shell script on stdout.
import { findJob } from "../api/jobs.js";
import type { Cli } from "../cli.js";

interface Exported { readonly id: string; readonly simulated: boolean; readonly script: string }

export async function run(cli: Cli, [target, stage]: readonly string[]): Promise<void> {
  const job = await findJob<Exported>(cli, target!, stage, "id simulated script");
  if (cli.format === "table" && !cli.quiet) cli.stdout.write(job.script);
  else cli.print({ value: job, ids: () => [job.id], table: () => [] });
  if (cli.format !== "table") return;
  if (job.simulated) cli.note("The run was simulated; the script trains in earnest.");
  cli.note(`Keep it: ${cli.command(`export ${job.id} > run.sh`)}   Run it on a host with GPUs: sh run.sh`);
}
