// Reads a specification from a file or from stdin, changes it as the command line says, and checks what can be checked here.
import { readFile } from "node:fs/promises";
import { dirname, relative, resolve } from "node:path";
import { validateSpec } from "../../domain/pipeline/validate.js";
import { CliError, EXIT } from "../exit-codes.js";
import type { Cli } from "../cli.js";
import { locateProblems, syntaxProblems, type LocatedProblem, type SpecProblem } from "./problem-report.js";
import { applySets, fillDirectory, type AppliedChange } from "./spec-changes.js";
import { parseSpec, type SpecSource } from "./spec-source.js";

export interface LoadedSpec {
  readonly source: SpecSource;
  /** What is to be sent: the value of the file with --set and ${pipeline.directory} applied. */
  readonly spec: unknown;
  readonly changes: readonly AppliedChange[];
  /** Found here, without a server. */
  readonly problems: readonly LocatedProblem[];
  readonly layers: readonly (readonly string[])[];
}

/** Throws CliError when the file cannot be read or --set does not fit; what is wrong inside comes back as problems. */
export async function loadSpec(cli: Cli, file: string, sets: readonly string[]): Promise<LoadedSpec> {
  const path = file === "-" ? null : resolve(cli.workingDirectory, file);
  const text = path === null ? await readAll(cli.stdin) : await readText(path, file);
  return loadSpecText(cli, text, path === null ? "-" : shownPath(cli.workingDirectory, path, file), sets, path === null ? cli.workingDirectory : dirname(path));
}

/** The same for a text that is at hand. `shown`: what it is called in problems. */
export function loadSpecText(cli: Pick<Cli, "workingDirectory">, text: string, shown: string, sets: readonly string[], directory: string = cli.workingDirectory): LoadedSpec {
  const source = parseSpec(text, shown);
  if (source.syntaxErrors.length > 0) return { source, spec: undefined, changes: [], problems: syntaxProblems(source), layers: [] };
  const { spec: changed, changes } = applySets(source.value, sets);
  const spec = fillDirectory(changed, directory);
  const { problems, layers } = validateSpec(spec);
  return { source, spec, changes, problems: locateProblems(source, problems, changes), layers };
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
