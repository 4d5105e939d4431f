// What every attempt needs from the agent around it, as one record.

import type { Logger } from "pino";
import type { DatasetSource } from "../data/dataset-fetch.js";
import type { Journal } from "../journal/journal.js";
import type { Spool } from "../journal/spool.js";
import type { Place } from "../place/place.js";

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
  /** Absolute: attempt folders of other agents on this machine, whose results may be brought to the place. */
  neighbours(): readonly string[];
  /** Where programs run (src/agent/place), and this machine, which may be the same. GPUs are those of the agent's place at both. */
  readonly place: Place;
  readonly home: Place;
  /** Set when `place` is this machine although the agent acts for another (rehearsal-host.ts): what a stage may then have of this one. */
  readonly guest?: { passes(variable: string): boolean };
  /** The agent's own: secrets are found there. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly secretsFile: string | undefined;
  /** Interpreter of the trainers, unless a stage names another. */
  readonly python: string;
  /** Absolute: a folder on a file system that all agents of a run over several nodes see at this path; null: none. */
  readonly sharedRoot: string | null;
  /** Ports at which members of a run may meet. */
  readonly ports: { readonly first: number; readonly last: number };
  /** Processors that a trainer may count on. */
  readonly cpus: number;
  /** Whether the last renewal still stands: without that, another agent may already have what we are about to start. */
  leasesTrusted(): boolean;
  /** An error that the agent cannot live with: the journal's disk is gone. */
  fatal(error: Error): void;
}
