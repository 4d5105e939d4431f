import type { DatasetStatistics } from "../../domain/data/dataset.js";
import { DATASET_FIELDS, findDataset, type DatasetAnswer } from "../api/datasets.js";
import type { Cli } from "../cli.js";
import { describeStatistics } from "../render/data-figures.js";
import { describeFacts } from "../render/dataset-page.js";

export async function run(cli: Cli, [text]: readonly string[]): Promise<void> {
  const dataset = await findDataset<DatasetAnswer & { readonly statistics: DatasetStatistics | null }>(cli, text!, `${DATASET_FIELDS} statistics`);
  const { statistics } = dataset;
  const width = cli.stdout.isTTY === true ? (cli.stdout.columns ?? null) : null;
  cli.print({
    value: { id: dataset.id, name: dataset.name, version: dataset.version, rows: dataset.rows, statistics },
    ids: () => [dataset.id],
    table: () => [...describeFacts(dataset, cli.style, Date.now()).slice(0, 2), ...(statistics === null ? [] : ["", ...describeStatistics(statistics, cli.style, width)])],
  });
  if (statistics === null && cli.format === "table") cli.note("No figures: its rows hold no text.");
}
