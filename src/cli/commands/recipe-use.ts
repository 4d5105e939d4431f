// A recipe with a model and data filled in: as a file, on stdout, or submitted at once.
import { randomUUID } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { resolve } from "node:path";
import { stringify } from "yaml";
import { findRecipe } from "../api/recipes.js";
import type { Cli } from "../cli.js";
import { CliError, EXIT, type ExitCode } from "../exit-codes.js";
import { watchToExit } from "../follow/watch-pipeline.js";
import { refuseProblems, showProblems } from "../spec/refuse-problems.js";
import { loadSpecText } from "../spec/spec-file.js";
import { KNOWN_RELEASES, type KnownRelease } from "../../verl/releases.js";
import { recipePipeline } from "../../verl/recipe-pipeline.js";
import { submitLoaded } from "./submit.js";

interface UseOptions {
  readonly data?: string; readonly dataSource?: string; readonly train?: readonly string[]; readonly val?: readonly string[]; readonly model?: string; readonly name?: string; readonly verl?: string;
  readonly simulate?: boolean; readonly set?: readonly string[]; readonly out?: string; readonly submit?: boolean; readonly watch?: boolean;
}

export async function run(cli: Cli, [name]: readonly string[], options: UseOptions): Promise<ExitCode> {
  const recipe = findRecipe(cli, name!);
  if ((options.data === undefined) === (options.train === undefined)) {
    throw new CliError(EXIT.usage, `A recipe needs data: raw ones with --data, or prepared Parquet files with --train and --val${options.data === undefined ? "" : ", not both"}.`, { hint: `For example: ${cli.command(`recipe use ${recipe.name} --data dataset:<name>`)}` });
  }
  const text = `# ${recipe.title}: verl's ${recipe.source}, published for ${recipe.gpus} GPU${recipe.gpus === 1 ? "" : "s"} (${recipe.gpuModel}).\n${options.simulate === true ? "# SIMULATED: a stand-in runs that trains nothing.\n" : ""}${stringify(recipePipeline(recipe, {
    name: options.name, model: options.model, data: options.data, dataSource: options.dataSource, trainFiles: options.train, valFiles: options.val, verl: releaseOf(options.verl, recipe.releases), simulate: options.simulate,
  }), { lineWidth: 0 })}`;
  const loaded = loadSpecText(cli, text, options.out ?? `recipe ${recipe.name}`, options.set ?? []);
  if (loaded.problems.some(({ severity }) => severity === "ERROR")) return refuseProblems(cli, loaded.source, loaded.problems);
  showProblems(cli, loaded.source, loaded.problems); // warnings
  if (options.submit === true) return submit(cli, loaded, options);
  const shown = (options.set ?? []).length === 0 ? text : stringify(loaded.spec, { lineWidth: 0 });
  if (options.out !== undefined) await write(cli, options.out, shown);
  if (options.out === undefined && cli.format === "table") cli.stdout.write(shown);
  else cli.print({ value: loaded.spec, ids: () => [recipe.name], table: () => [] });
  if (cli.format === "table") cli.note(`${options.out === undefined ? "" : `Wrote ${options.out}. `}Check it: ${cli.command(`validate ${options.out ?? "pipeline.yaml"}`)}   Submit it: ${cli.command(`submit ${options.out ?? "pipeline.yaml"}`)}`);
  return EXIT.ok;
}

async function submit(cli: Cli, loaded: ReturnType<typeof loadSpecText>, { watch, simulate }: UseOptions): Promise<ExitCode> {
  const submitted = await submitLoaded(cli, loaded, `cli-${randomUUID()}`);
  if ("refused" in submitted) return submitted.refused;
  const { pipeline } = submitted;
  if (cli.quiet || cli.format === "table") cli.line(pipeline.id);
  else cli.record(submitted);
  if (watch === true) return watchToExit(cli, pipeline.id, null);
  cli.note(`Submitted ${pipeline.name}${simulate === true ? ", simulated: a stand-in runs that trains nothing" : ""}. Watch it: ${cli.command(`watch ${pipeline.id}`)}   The job: ${cli.command(`job show ${pipeline.id}`)}`);
  return EXIT.ok;
}

async function write(cli: Cli, file: string, text: string): Promise<void> {
  await writeFile(resolve(cli.workingDirectory, file), text, { flag: "wx" }).catch((error: NodeJS.ErrnoException) => {
    throw new CliError(EXIT.failure, `${file} cannot be written: ${error.code === "EEXIST" ? "it is there already" : error.message}.`, { hint: "Name another file with --out, or leave --out away for stdout.", cause: error });
  });
}

function releaseOf(text: string | undefined, releases: readonly KnownRelease[]): KnownRelease | undefined {
  if (text === undefined) return undefined;
  const release = KNOWN_RELEASES.find((known) => known === text);
  if (release !== undefined && releases.includes(release)) return release;
  throw new CliError(EXIT.usage, `The recipe does not claim verl ${text}.`, { hint: `It claims ${releases.join(", ")}.` });
}
