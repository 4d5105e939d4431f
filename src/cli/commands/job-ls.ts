import { algorithmOf, JOB_FIELDS, type JobAnswer } from "../api/jobs.js";
import type { Cli } from "../cli.js";
import { CliError, EXIT } from "../exit-codes.js";
import { anomalySummary } from "../render/anomaly-lines.js";
import { count, elapsed, shortDuration } from "../render/quantities.js";
import { renderTable } from "../render/table.js";
import { harmless } from "../render/text-width.js";
import { statusStyle } from "../style.js";
import { ALGORITHMS } from "../../domain/training/algorithms.js";
import { STAGE_STATUSES } from "../../domain/pipeline/state.js";

/** Largest page that the API gives. */
const PAGE = 100;

interface Page { readonly trainingJobs: { readonly edges: readonly { readonly node: JobAnswer }[]; readonly pageInfo: { readonly hasNextPage: boolean; readonly endCursor: string | null } } }
interface ListOptions { readonly limit: number; readonly status?: readonly string[]; readonly algorithm?: string }

export async function run(cli: Cli, _: readonly string[], options: ListOptions): Promise<void> {
  const status = (options.status ?? []).flatMap((text) => text.split(",")).map((text) => known(text.trim().toUpperCase(), STAGE_STATUSES, "status"));
  const algorithm = options.algorithm === undefined ? null : known(options.algorithm.toUpperCase().replaceAll("-", "_").replaceAll("+", "_PLUS"), ALGORITHMS.map((name) => name.toUpperCase()), "algorithm");
  const jobs: JobAnswer[] = [];
  for (let after: string | null = null; jobs.length < options.limit; ) {
    const page: Page = await cli.api().call<Page>(
      `query Jobs($first: Int!, $after: String, $status: [StageStatus!], $algorithm: TrainingAlgorithm) {
        trainingJobs(first: $first, after: $after, status: $status, algorithm: $algorithm) { edges { node { ${JOB_FIELDS} } } pageInfo { hasNextPage endCursor } } }`,
      { first: Math.min(PAGE, options.limit - jobs.length), after, status: status.length === 0 ? null : status, algorithm });
    jobs.push(...page.trainingJobs.edges.map(({ node }) => node));
    if (!page.trainingJobs.pageInfo.hasNextPage) break;
    after = page.trainingJobs.pageInfo.endCursor;
  }
  const now = Date.now();
  const rows = () => jobs.map((job) => [
    job.id, harmless(`${job.pipeline.name} / ${job.stage.name}`), algorithmOf(job), harmless(job.model), statusStyle(cli.style, job.status)(job.status),
    job.stage.progress === null ? "" : `${count(job.stage.progress.step)}${job.stage.progress.totalSteps === null ? "" : ` of ${count(job.stage.progress.totalSteps)}`}`,
    elapsed(job.stage.startedAt, job.stage.finishedAt, now), `${shortDuration(now - Date.parse(job.createdAt))} ago`, anomalySummary(job.anomalies, cli.style),
  ]);
  const columns = ["ID", "PIPELINE / STAGE", "ALGORITHM", "MODEL", "STATUS", "STEP", "TIME", "SUBMITTED", ""].map((title) => ({ title, align: title === "STEP" || title === "TIME" ? "right" as const : "left" as const }));
  cli.print({ value: jobs, table: () => (jobs.length === 0 ? [] : renderTable(columns, rows(), cli.style, cli.stdout.isTTY === true ? (cli.stdout.columns ?? null) : null)), ids: () => jobs.map(({ id }) => id) });
  if (cli.format === "table" && jobs.length === 0) cli.note(`No training jobs${status.length > 0 || algorithm !== null ? " like that" : " yet"}. Begin with a recipe: ${cli.command("recipe ls")}`);
}

function known(text: string, all: readonly string[], what: string): string {
  if (all.includes(text)) return text;
  throw new CliError(EXIT.usage, `There is no ${what} ${text}.`, { hint: `There are: ${all.join(", ").toLowerCase()}` });
}
