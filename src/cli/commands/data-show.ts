import { DATASET_FIELDS, findDataset, refOf } from "../api/datasets.js";
import type { Cli } from "../cli.js";
import { describeDataset, SHOWN_FIELDS, type ShownDataset } from "../render/dataset-page.js";

export async function run(cli: Cli, [text]: readonly string[]): Promise<void> {
  const dataset = await findDataset<ShownDataset>(cli, text!, `${DATASET_FIELDS} ${SHOWN_FIELDS}`);
  cli.print({
    value: dataset,
    ids: () => [dataset.id],
    table: () => describeDataset(dataset, cli.style, { now: Date.now(), width: cli.stdout.isTTY === true ? (cli.stdout.columns ?? null) : null }),
  });
  if (cli.format !== "table") return;
  const ref = refOf(dataset);
  for (const [what, command] of [["Its rows:", `data preview ${ref}`], ["In figures:", `data stats ${ref}`]] as const) cli.note(`${cli.noteStyle.dim(what.padEnd(14))}${cli.command(command)}`);
}
