// What changed between two versions of a data set, or between any two.
import type { DatasetDiff } from "../../domain/data/dataset-diff.js";
import { untilDone } from "../api/client.js";
import { DATASET_FIELDS, findDataset, refOf, type DatasetAnswer } from "../api/datasets.js";
import type { Cli } from "../cli.js";
import { CliError, EXIT } from "../exit-codes.js";
import { describeDiff } from "../render/data-figures.js";
import { GLANCE, WHOLE } from "../render/data-rows.js";
import { showWaiting } from "../render/transfer.js";

const DIFF_FIELDS = `sameContent rowsSame rowsAdded rowsRemoved columns { name change from { name type nullCount } to { name type nullCount } }
  lengths { kind name from to } categories { column from to distance } added { row value } removed { row value }`;

export async function run(cli: Cli, [first, second]: readonly string[], options: { readonly full?: boolean }): Promise<void> {
  const [from, to] = second === undefined ? await lastTwo(cli, first!) : await Promise.all([findDataset<DatasetAnswer>(cli, first!, DATASET_FIELDS), findDataset<DatasetAnswer>(cli, second, DATASET_FIELDS)]);
  const endWaiting = showWaiting(cli, `the server compares ${refOf(from)} with ${refOf(to)}`);
  let diff: DatasetDiff;
  try {
    ({ datasetDiff: diff } = await untilDone((call) => cli.api().call<{ datasetDiff: DatasetDiff }>(`query Diff($from: ID!, $to: ID!) { datasetDiff(from: $from, to: $to) { ${DIFF_FIELDS} } }`, { from: from.id, to: to.id }, call)));
  } finally {
    endWaiting();
  }
  cli.print({
    value: { from, to, ...diff },
    ids: () => [from.id, to.id],
    table: () => describeDiff(diff, { from: refOf(from), to: refOf(to) }, cli.style, { width: cli.stdout.isTTY === true ? (cli.stdout.columns ?? null) : null, limits: options.full === true ? WHOLE : GLANCE }),
  });
  if (cli.format !== "table") return;
  if (diff.added.length < diff.rowsAdded && diff.added[0] !== undefined) cli.note(`${cli.noteStyle.dim("A row by number:".padEnd(18))}${cli.command(`data preview ${refOf(to)} --from ${diff.added[0].row} --rows 1`)}`);
}

/** A version and the one before it. */
async function lastTwo(cli: Cli, text: string): Promise<readonly [DatasetAnswer, DatasetAnswer]> {
  const to = await findDataset<DatasetAnswer>(cli, text, DATASET_FIELDS);
  if (to.version === 1) throw new CliError(EXIT.usage, `${refOf(to)} is the first version of ${to.name}: there is none before it.`, { hint: `Name the one to compare with: ${cli.command(`data diff <a> ${refOf(to)}`)}` });
  return [await findDataset<DatasetAnswer>(cli, `${to.name}@${to.version - 1}`, DATASET_FIELDS), to];
}
