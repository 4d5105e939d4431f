// A program that an evaluation needs where the attempt's programs run, which may be another machine: the evaluation writes what it is and ends; the agent runs it there and starts the evaluation again.

import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";

export interface WantedProgram {
  /** Paths are home's. */
  readonly argv: readonly string[];
  /** Beneath the stage's own. */
  readonly environment: Readonly<Record<string, string>>;
  /** Files of the attempt's that it reads. */
  readonly reads: readonly string[];
  /** Files of the attempt's that it writes, each from its beginning to its end: they are here, whole, when it has ended well. */
  readonly writes: readonly string[];
}

/** Writes it whole. `phase`: of the program that wants it; `folder`: the attempt's output. */
export function writeWanted(folder: string, phase: number, wanted: WantedProgram): void {
  const file = fileOf(folder, phase);
  writeFileSync(`${file}.new`, JSON.stringify(wanted), { mode: 0o600, flush: true });
  renameSync(`${file}.new`, file);
}

/** What the program of this phase has left wanting; null: nothing. */
export function readWanted(folder: string, phase: number): WantedProgram | null {
  try {
    return JSON.parse(readFileSync(fileOf(folder, phase), "utf8")) as WantedProgram;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
}

/** Folder of an evaluation's working files in the attempt's output. */
export function workFolder(folder: string): string {
  return join(folder, "work");
}

/** What the programs write: beside the working files, since on another machine only the attempt's own folders are there. */
export const writtenFiles = (folder: string) => ({ answers: (messages: number) => join(folder, `drawn-${messages}.parquet`), scores: join(folder, "scores.jsonl"), hydra: join(folder, "hydra") });

/** Whether what has this name in the attempt's output is of no use when the evaluation is over. */
export function isWork(name: string): boolean {
  return /^(?:work|answers\.jsonl|drawn-\d+\.parquet|scores\.jsonl|hydra)$/.test(name);
}

function fileOf(folder: string, phase: number): string {
  return join(workFolder(folder), `wanted-${phase}.json`);
}
