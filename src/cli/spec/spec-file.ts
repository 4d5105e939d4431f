// Reads a specification from a file or from stdin, changes it as the command line says, and checks what can be checked here.
import { readFile } from "node:fs/promises";
import { dirname, relative, resolve } from "node:path";
import { validateSpec } from "../../domain/pipeline/validate.js";
import { CliError, EXIT } from "../exit-codes.js";
import type { Cli } from "../cli.js";
import { locateProblems, syntaxProblems, type LocatedProblem, type SpecProblem } from "./problem-report.js";
import { applySets, fillDirectory, simulateTraining, type AppliedChange } from "./spec-changes.js";
import { parseSpec, type SpecSource } from "./spec-source.js";

export interface LoadedSpec {
  readonly source: SpecSource;
  /** What is to be sent: the value of the file with --set, --simulate and ${pipeline.directory} applied. */
  readonly spec: unknown;
  readonly changes: readonly AppliedChange[];
  /** Stages that --simulate has simulated. */
  readonly simulated: readonly string[];
  /** Found here, without a server. */
  readonly problems: readonly LocatedProblem[];
  readonly layers: readonly (readonly string[])[];
}

/** Throws CliError when the file cannot be read, or --set or --simulate does not fit; what is wrong inside comes back as problems. Says what is simulated. */
export async function loadSpec(cli: Cli, file: string, sets: readonly string[], simulate = false): Promise<LoadedSpec> {
  const path = file === "-" ? null : resolve(cli.workingDirectory, file);
  const text = path === null ? await readAll(cli.stdin) : await readText(path, file);
  const loaded = loadSpecText(cli, text, path === null ? "-" : shownPath(cli.workingDirectory, path, file), sets, path === null ? cli.workingDirectory : dirname(path), simulate);
  if (loaded.simulated.length > 0) cli.note(`${cli.noteStyle.yellow("SIMULATED:")} ${loaded.simulated.join(", ")}: a stand-in runs in the trainer's place. It trains nothing, invents every number, and needs no GPU.`);
  return loaded;
}

/** The same for a text that is at hand. `shown`: what it is called in problems. */
export function loadSpecText(cli: Pick<Cli, "workingDirectory">, text: string, shown: string, sets: readonly string[], directory: string = cli.workingDirectory, simulate = false): LoadedSpec {
  const source = parseSpec(text, shown);
  if (source.syntaxErrors.length > 0) return { source, spec: undefined, changes: [], simulated: [], problems: syntaxProblems(source), layers: [] };
  const set = applySets(source.value, sets);
  const simulated = simulate ? simulateTraining(set.spec) : { spec: set.spec, changes: [], names: [] };
  const changes = [...set.changes, ...simulated.changes];
  const spec = fillDirectory(simulated.spec, directory);
  const { problems, layers } = validateSpec(spec);
  return { source, spec, changes, simulated: simulated.names, problems: locateProblems(source, problems, changes), layers };
}

/** Problems that a server found in the same specification, in the text. */
export function locateServerProblems(loaded: LoadedSpec, problems: readonly SpecProblem[]): LocatedProblem[] {
  return locateProblems(loaded.source, problems, loaded.changes);
}

async function readText(path: string, file: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    const why = code === "ENOENT" ? "there is no such file" : code === "EISDIR" ? "it is a directory" : (error as Error).message;
    throw new CliError(EXIT.usage, `${file} cannot be read: ${why}.`, { hint: "Give the path of a YAML or JSON file, or - to read stdin." });
  }
}

async function readAll(stream: NodeJS.ReadableStream): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of stream) parts.push(Buffer.from(part as Buffer));
  return Buffer.concat(parts).toString("utf8");
}

/** As typed when that is short; editors and terminals make `path:line:col` clickable. */
function shownPath(from: string, path: string, typed: string): string {
  const short = relative(from, path);
  return short.startsWith("..") || short === "" ? typed : short;
}
