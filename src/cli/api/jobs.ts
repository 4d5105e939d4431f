// Training jobs as the commands see them.
import { idKind } from "../../domain/ids.js";
import type { Cli } from "../cli.js";
import { CliError, EXIT } from "../exit-codes.js";
import { findPipelineId } from "./find-pipeline.js";

export interface AnomalyAnswer {
  readonly id: string; readonly attempt: number; readonly kind: string; readonly severity: string; readonly step: number | null; readonly metric: string | null; readonly value: number | null;
  readonly nonFinite: string | null; readonly threshold: number | null; readonly message: string; readonly suggestion: string; readonly action: string; readonly would: string | null; readonly reason: string; readonly createdAt: string;
}
export const ANOMALY_FIELDS = "id attempt kind severity step metric value nonFinite threshold message suggestion action would reason createdAt";

/** Facts of a job for lists. */
export interface JobAnswer {
  readonly id: string; readonly algorithm: string; readonly trainer: string; readonly model: string; readonly simulated: boolean; readonly status: string; readonly createdAt: string;
  readonly stage: { readonly id: string; readonly name: string; readonly startedAt: string | null; readonly finishedAt: string | null; readonly progress: { readonly step: number; readonly totalSteps: number | null; readonly etaSeconds: number | null } | null };
  readonly pipeline: { readonly id: string; readonly name: string };
  readonly anomalies: readonly AnomalyAnswer[];
}
export const JOB_FIELDS = `id algorithm trainer model simulated status createdAt stage { id name startedAt finishedAt progress { step totalSteps etaSeconds } } pipeline { id name } anomalies { ${ANOMALY_FIELDS} }`;

/** A job with the fields asked for: by its id, its stage's id, or a pipeline (id or name) and the stage's name where it has several. Throws CliError (not found). */
export async function findJob<T>(cli: Cli, text: string, stage: string | undefined, fields: string): Promise<T> {
  const kind = idKind(text);
  if (kind === "job" || kind === "stg") {
    const { trainingJob } = await cli.api().call<{ trainingJob: T | null }>(`query Job($id: ID!) { trainingJob(id: $id) { ${fields} } }`, { id: text });
    if (trainingJob === null) throw new CliError(EXIT.notFound, kind === "job" ? `There is no training job ${text}.` : `Stage ${text} is no training, or there is no such stage.`, { hint: `List the jobs: ${cli.command("job ls")}` });
    return trainingJob;
  }
  const pipelineId = await findPipelineId(cli, text);
  const { trainingJobs } = await cli.api().call<{ trainingJobs: { edges: readonly { node: { id: string; stage: { name: string } } }[] } }>(
    "query JobsOf($id: ID!) { trainingJobs(pipelineId: $id, first: 100) { edges { node { id stage { name } } } } }", { id: pipelineId });
  const found = trainingJobs.edges.map(({ node }) => node).sort((a, b) => (a.stage.name < b.stage.name ? -1 : 1)); // those of one pipeline are of one age
  const names = found.map((job) => job.stage.name);
  if (found.length === 0) throw new CliError(EXIT.notFound, `${text} has no train stage.`, { hint: `List the jobs: ${cli.command("job ls")}` });
  const chosen = stage === undefined ? found : found.filter((job) => job.stage.name === stage);
  if (chosen.length === 0) throw new CliError(EXIT.notFound, `${text} has no train stage ${JSON.stringify(stage)}.`, { hint: `Its train stages: ${names.slice(0, 20).join(", ")}` });
  if (chosen.length > 1) throw new CliError(EXIT.usage, `${text} has ${chosen.length} train stages.`, { hint: `Name one of them after it: ${names.slice(0, 20).join(", ")}` });
  return findJob(cli, chosen[0]!.id, undefined, fields);
}

/** The algorithm, and that nothing is trained where that is so. */
export function algorithmOf({ algorithm, trainer, simulated }: Pick<JobAnswer, "algorithm" | "trainer" | "simulated">): string {
  return [algorithm.toLowerCase(), trainer === "TRL_DPO" ? "through TRL" : "", simulated ? "(simulated)" : ""].filter((part) => part !== "").join(" ");
}
