import type { Cli } from "../cli.js";
import { CliError, EXIT } from "../exit-codes.js";
import { elapsed, shortDuration } from "../render/quantities.js";
import { renderTable } from "../render/table.js";
import { harmless } from "../render/text-width.js";
import { statusStyle } from "../style.js";

const STATUSES = ["PENDING", "RUNNING", "PAUSED", "COMPLETED", "FAILED", "CANCELLED"];
/** Largest page that the API gives. */
const PAGE = 100;

interface ListedPipeline {
  readonly id: string; readonly name: string; readonly status: string; readonly error: string | null; readonly simulated: boolean; readonly labels: Record<string, unknown>;
  readonly stageCounts: Record<string, number>; readonly createdBy: string; readonly createdAt: string; readonly startedAt: string | null; readonly finishedAt: string | null;
}
interface Page { readonly pipelines: { readonly edges: readonly { readonly node: ListedPipeline }[]; readonly pageInfo: { readonly hasNextPage: boolean; readonly endCursor: string | null } } }

export async function run(cli: Cli, _: readonly string[], options: { readonly limit: number; readonly status?: readonly string[]; readonly name?: string }): Promise<void> {
  const status = statusesOf(options.status ?? []);
  const pipelines: ListedPipeline[] = [];
  for (let after: string | null = null; pipelines.length < options.limit; ) {
    const page: Page = await cli.api().call<Page>(
      `query List($first: Int!, $after: String, $status: [PipelineStatus!], $name: String) {
        pipelines(first: $first, after: $after, status: $status, name: $name) {
          edges { node { id name status error simulated labels stageCounts createdBy createdAt startedAt finishedAt } } pageInfo { hasNextPage endCursor }
        }
      }`,
      { first: Math.min(PAGE, options.limit - pipelines.length), after, status: status.length === 0 ? null : status, name: options.name ?? null },
    );
    pipelines.push(...page.pipelines.edges.map(({ node }) => node));
    if (!page.pipelines.pageInfo.hasNextPage) break;
    after = page.pipelines.pageInfo.endCursor;
  }
  const now = Date.now();
  const rows = () => pipelines.map((pipeline) => {
    const counts = pipeline.stageCounts;
    const all = Object.values(counts).reduce((sum, count) => sum + count, 0);
    return [
      pipeline.id, `${harmless(pipeline.name)}${pipeline.simulated ? cli.style.yellow(" (simulated)") : ""}`, statusStyle(cli.style, pipeline.status)(pipeline.status), `${counts["COMPLETED"] ?? 0}/${all}`,
      elapsed(pipeline.startedAt, pipeline.finishedAt, now), `${shortDuration(now - Date.parse(pipeline.createdAt))} ago`, harmless(pipeline.createdBy),
    ];
  });
  const columns = [{ title: "ID" }, { title: "NAME" }, { title: "STATUS" }, { title: "STAGES", align: "right" as const }, { title: "TIME", align: "right" as const }, { title: "SUBMITTED" }, { title: "BY" }];
  cli.print({ value: pipelines, table: () => (pipelines.length === 0 ? [] : renderTable(columns, rows(), cli.style, cli.stdout.isTTY === true ? (cli.stdout.columns ?? null) : null)), ids: () => pipelines.map(({ id }) => id) });
  if (cli.format === "table" && pipelines.length === 0) cli.note(`No pipelines${status.length > 0 || options.name !== undefined ? " like that" : " yet"}. Submit one: ${cli.command("submit pipeline.yaml")}`);
}

function statusesOf(given: readonly string[]): string[] {
  return given.flatMap((text) => text.split(",")).map((text) => text.trim().toUpperCase()).filter((text) => text !== "").map((text) => {
    if (STATUSES.includes(text)) return text;
    throw new CliError(EXIT.usage, `There is no status ${text}.`, { hint: `The statuses of pipelines: ${STATUSES.join(", ").toLowerCase()}` });
  });
}
