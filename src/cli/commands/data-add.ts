// Makes a file known to the registry: uploads it, or with --in-place has the server read it where it lies.
import { existsSync } from "node:fs";
import { stat } from "node:fs/promises";
import { basename, resolve } from "node:path";
import { formatOf, KNOWN_ENDINGS } from "../../data/read/format.js";
import { DATASET_FIELDS, refOf, registerDataset, type DatasetAnswer } from "../api/datasets.js";
import { RefusedError } from "../api/results.js";
import { uploadFile } from "../api/upload.js";
import type { Cli } from "../cli.js";
import { CliError, EXIT } from "../exit-codes.js";
import { describeFacts } from "../render/dataset-page.js";
import { showTransfer, showWaiting } from "../render/transfer.js";

interface AddOptions { readonly name?: string; readonly inPlace?: boolean }

export async function run(cli: Cli, [file]: readonly string[], options: AddOptions): Promise<void> {
  const name = options.name ?? nameOf(file!);
  if (!/^[A-Za-z0-9][A-Za-z0-9._/-]{0,199}$/.test(name)) throw new CliError(EXIT.usage, `${JSON.stringify(name)} is no name for a data set.`, { hint: "Letters, digits, '.', '_', '-' and '/', beginning with a letter or digit, up to 200: --name team/gsm8k" });
  const path = options.inPlace === true ? pathOnServer(cli, file!) : await upload(cli, file!);
  const endWaiting = showWaiting(cli, `the server reads ${basename(file!)}`);
  let dataset: DatasetAnswer;
  try {
    dataset = await registerDataset<DatasetAnswer>(cli, { name, path }, DATASET_FIELDS);
  } catch (error) {
    throw options.inPlace === true && error instanceof RefusedError && error.problems.some(({ code }) => code === "PATH_REFUSED" || code === "FILE_NOT_FOUND")
      ? new CliError(EXIT.usage, error.message, { hint: `Without --in-place the file is uploaded from here: ${cli.command(`data add ${file!}`)}`, cause: error }) : error;
  } finally {
    endWaiting();
  }
  cli.print({ value: dataset, ids: () => [dataset.id], table: () => describeFacts(dataset, cli.style, Date.now()) });
  if (cli.format !== "table") return;
  const ref = refOf(dataset);
  const next: [string, string][] = [["Its rows:", `data preview ${ref}`], ["In figures:", `data stats ${ref}`], ...(dataset.version > 1 ? [["What changed:", `data diff ${dataset.name}@${dataset.version - 1} ${ref}`] as [string, string]] : [])];
  for (const [what, command] of next) cli.note(`${cli.noteStyle.dim(what.padEnd(14))}${cli.command(command)}`);
  cli.note(`${cli.noteStyle.dim("In a stage:".padEnd(14))}input: dataset:${ref}`);
}

/** The file's name without its endings, as the name of a data set. */
function nameOf(file: string): string {
  return basename(file).replace(/\.(?:gz|gzip)$/i, "").replace(/\.[A-Za-z]+$/, "").replaceAll(/[^A-Za-z0-9._-]+/g, "-").replace(/^[^A-Za-z0-9]+/, "").slice(0, 200);
}

/** A file that is there is meant by its whole path; anything else is looked for in the server's data directories. */
function pathOnServer(cli: Cli, file: string): string {
  const here = resolve(cli.workingDirectory, file);
  return existsSync(here) ? here : file;
}

/** Returns the id of the upload. */
async function upload(cli: Cli, file: string): Promise<string> {
  const path = resolve(cli.workingDirectory, file);
  const found = await stat(path).catch((error: NodeJS.ErrnoException) => {
    throw new CliError(EXIT.usage, `${file} cannot be read: ${error.code === "ENOENT" ? "there is no such file" : error.message}.`, { hint: `A file in the server's data directories is added by its path there: ${cli.command(`data add ${file} --in-place`)}`, cause: error });
  });
  if (!found.isFile()) throw new CliError(EXIT.usage, `${file} is no file.`, { hint: "Give one data file; several are added one after the other." });
  if (formatOf(file) === null) throw new CliError(EXIT.usage, `The ending of ${file} says no data format.`, { hint: `Known endings: ${KNOWN_ENDINGS}.` });
  const transfer = showTransfer(cli, basename(file), found.size);
  try {
    return (await uploadFile(cli, { path, name: basename(file), sizeBytes: found.size }, transfer.moved)).id;
  } catch (error) {
    if (error instanceof CliError || (error as NodeJS.ErrnoException).code !== "EACCES") throw error;
    throw new CliError(EXIT.failure, `${file} cannot be read: permission denied.`, { hint: "Give your account the right to read it.", cause: error });
  } finally {
    transfer.end();
  }
}
