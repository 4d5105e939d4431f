// Data sets as the commands see them.
import type { Distribution, DatasetStatistics } from "../../domain/data/dataset.js";
import { nearestName } from "../../domain/pipeline/dag.js";
import type { Cli } from "../cli.js";
import { CliError, EXIT } from "../exit-codes.js";
import { untilDone } from "./client.js";
import { DOMAIN_ERROR, payloadOf, type DomainErrorAnswer } from "./results.js";

/** Facts of one version. */
export interface DatasetAnswer {
  readonly id: string;
  readonly name: string;
  readonly version: number;
  readonly format: string;
  readonly rows: number;
  readonly unreadableRows: number;
  readonly sizeBytes: number;
  readonly contentHash: string;
  readonly tasks: readonly string[];
  readonly suitableFor: readonly string[];
  readonly createdBy: string;
  readonly createdAt: string;
}
export const DATASET_FIELDS = "id name version format rows unreadableRows sizeBytes contentHash tasks suitableFor createdBy createdAt";

export type { Distribution, DatasetStatistics };

export interface ColumnAnswer { readonly name: string; readonly type: string; readonly nullCount: number }

/** A version of a data set with the fields asked for, by id, by name (the newest) or by `<name>@<version>`. Throws CliError (not found) that names a similar one. */
export async function findDataset<T>(cli: Cli, text: string, fields: string): Promise<T> {
  const { dataset } = await cli.api().call<{ dataset: T | null }>(`query Dataset($id: ID!) { dataset(id: $id) { ${fields} } }`, { id: text });
  if (dataset === null) throw await noDataset(cli, text);
  return dataset;
}

/** The refusal for a data set that is not there: another version that is, or a name that is spelt alike. */
export async function noDataset(cli: Cli, text: string): Promise<CliError> {
  const name = text.replace(/^dataset:/, "").replace(/@v?\d+$/, "");
  const { dataset, datasets } = await cli.api().call<{ dataset: { version: number } | null; datasets: { edges: readonly { node: { name: string } }[] } }>(
    "query Near($name: ID!) { dataset(id: $name) { version } datasets(first: 100) { edges { node { name } } } }", { name });
  const message = `There is no data set ${JSON.stringify(text)}.`;
  if (dataset !== null && name !== text) return new CliError(EXIT.notFound, message, { hint: `The newest version of ${name} is ${dataset.version}: ${cli.command(`data show ${name}@${dataset.version}`)}` });
  const near = nearestName(name, new Set(datasets.edges.map(({ node }) => node.name)));
  const list = datasets.edges.length === 0 ? `None is registered yet. Add one: ${cli.command("data add <file>")}` : `List them: ${cli.command("data ls")}`;
  return new CliError(EXIT.notFound, message, { hint: near === null ? list : `Did you mean ${near}? ${list}` });
}

/** Registers a file in the server's data directories, or an upload by its id. Takes as long as the server reads the file. Throws RefusedError. */
export async function registerDataset<T>(cli: Cli, input: { readonly name: string; readonly path: string }, fields: string): Promise<T> {
  const document = `mutation Register($input: RegisterDatasetInput!) { registerDataset(input: $input) { ... on RegisterDatasetPayload { dataset { ${fields} } } ${DOMAIN_ERROR} } }`;
  const { registerDataset: answer } = await untilDone((options) => cli.api().call<{ registerDataset: { dataset: T } | DomainErrorAnswer }>(document, { input }, options));
  return (payloadOf(answer) as { dataset: T }).dataset;
}

/** A version as one names it. */
export function refOf({ name, version }: Pick<DatasetAnswer, "name" | "version">): string {
  return `${name}@${version}`;
}

/** What it serves, in few words. */
export function suitability({ tasks, suitableFor }: Pick<DatasetAnswer, "tasks" | "suitableFor">): string {
  return suitableFor.length === 0 ? "raw" : tasks.map((task) => task.toLowerCase()).join(", ");
}
