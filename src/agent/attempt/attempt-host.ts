// What every attempt needs from the agent around it, as one record.

import type { Logger } from "pino";
import type { DatasetSource } from "../data/dataset-fetch.js";
import type { Journal } from "../journal/journal.js";
import type { Spool } from "../journal/spool.js";

export interface AttemptHost {
  readonly journal: Journal;
  readonly spool: Spool;
  readonly log: Logger;
  /** Absolute and real. */
  readonly attemptsRoot: string;
  /** Absolute folders in which preprocess stages find their input, besides the attempts'. */
  readonly dataDirectories: readonly string[];
  /** Absolute: data sets fetched from the control plane, and notes on what earlier preprocess attempts made. */
  readonly datasetsRoot: string;
  readonly registry: DatasetSource;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly inheritedVariables: readonly string[];
  readonly secretsFile: string | undefined;
  /** Interpreter of the trainers, unless a stage names another. */
  readonly python: string;
  /** Absolute: a folder on a file system that all agents of a run over several nodes see at this path; null: none. */
  readonly sharedRoot: string | null;
  /** Ports at which members of a run may meet. */
  readonly ports: { readonly first: number; readonly last: number };
  /** Processors that a trainer may count on. */
  readonly cpus: number;
  /** Whether the host has GPUs, so that an attempt without any is kept off them. */
  hostHasGpus(): boolean;
  /** Processes of strangers on these GPUs, in words; null when they are free. */
  gpusTaken(indices: readonly number[]): Promise<string | null>;
  /** Whether the last renewal still stands: without that, another agent may already have what we are about to start. */
  leasesTrusted(): boolean;
  /** An error that the agent cannot live with: the journal's disk is gone. */
  fatal(error: Error): void;
}

/** Below them lie the checkpoints that this agent may delete. */
export function checkpointRoots({ attemptsRoot, sharedRoot }: Pick<AttemptHost, "attemptsRoot" | "sharedRoot">): readonly string[] {
  return sharedRoot === null ? [attemptsRoot] : [attemptsRoot, sharedRoot];
}
