import { DATASET_FIELDS, suitability, type DatasetAnswer } from "../api/datasets.js";
import type { Cli } from "../cli.js";
import { bytes, count, shortDuration } from "../render/quantities.js";
import { renderTable } from "../render/table.js";
import { harmless } from "../render/text-width.js";

/** Largest page that the API gives. */
const PAGE = 100;

interface Page { readonly datasets: { readonly edges: readonly { readonly node: DatasetAnswer }[]; readonly pageInfo: { readonly hasNextPage: boolean; readonly endCursor: string | null } } }

export async function run(cli: Cli, [name]: readonly string[], options: { readonly limit: number }): Promise<void> {
  const datasets: DatasetAnswer[] = [];
  for (let after: string | null = null; datasets.length < options.limit; ) {
    const page: Page = await cli.api().call<Page>(
      `query Datasets($first: Int!, $after: String, $name: String) { datasets(first: $first, after: $after, name: $name) { edges { node { ${DATASET_FIELDS} } } pageInfo { hasNextPage endCursor } } }`,
      { first: Math.min(PAGE, options.limit - datasets.length), after, name: name ?? null });
    datasets.push(...page.datasets.edges.map(({ node }) => node));
    if (!page.datasets.pageInfo.hasNextPage) break;
    after = page.datasets.pageInfo.endCursor;
  }
  const right = (title: string) => ({ title, align: "right" as const });
  const rows = () => datasets.map((dataset) => [
    harmless(dataset.name), String(dataset.version), count(dataset.rows), bytes(dataset.sizeBytes), dataset.format, suitability(dataset), `${shortDuration(Date.now() - Date.parse(dataset.createdAt))} ago`, dataset.id,
  ]);
  cli.print({
    value: datasets,
    table: () => (datasets.length === 0 ? [] : renderTable([{ title: "NAME" }, right("VERSION"), right("ROWS"), right("SIZE"), { title: "FORMAT" }, { title: "SUITABLE FOR" }, { title: "AGE" }, { title: "ID" }], rows(), cli.style, cli.stdout.isTTY === true ? (cli.stdout.columns ?? null) : null)),
    ids: () => datasets.map(({ id }) => id),
  });
  if (cli.format === "table" && datasets.length === 0) cli.note(`No data sets${name === undefined ? " yet" : ` whose name contains ${JSON.stringify(name)}`}. Add one: ${cli.command("data add <file>")}`);
}
