// What the journal holds, one line a record: checksum, tab, kind, tab, JSON, and for reports a second JSON with what they consumed.
//   R1. A line whose CRC-32 does not match was not written whole.

import { crc32 } from "node:zlib";
import type { Assignment, Order, Report } from "../../protocol/messages.js";
import type { AttemptId, CheckpointId } from "../../domain/ids.js";

export type StopOrder = Extract<Order, { type: "stop" }>;
export type DeleteOrder = Extract<Order, { type: "delete-checkpoint" }>;

/** How far the program's log file is published; log-folder.ts says how. */
export interface LogSource {
  /** Bytes of the file that are through. */
  readonly offset: number;
  /** Length of the published log, declared gaps included; bytes. */
  readonly published: number;
  /** Characters of the line at `offset` that are published already. */
  readonly taken: number;
  /** The rest of a line that is too long is being left out. */
  readonly skipping: boolean;
  /** Bytes left out and not yet declared. */
  readonly skipped: number;
}

/** Everything before `offset` bytes of the metrics file is reported. */
export interface MetricsSource {
  readonly offset: number;
  readonly lines: number;
  readonly badLines: number;
  readonly lastStep: number | null;
  readonly totalSteps: number | null;
}

/** How far the program's two outputs are merged into its log file: bytes of each that are in it, and its length then. */
export interface StreamsSource {
  readonly offsets: readonly [stdout: number, stderr: number];
  readonly merged: number;
  /** Which of the two wrote the unended line at the end of the log file; null: it ends with a whole line. */
  readonly open: 0 | 1 | null;
}

/** How far a trainer's output is reported: bytes of its standard output and of its JSON-lines logger, the newest checkpoint, and the newest steps whose answers were taken. */
export interface TrainingSource {
  readonly console: number;
  readonly logger: number;
  readonly checkpoint: number | null;
  readonly samples?: { readonly train?: number; readonly validation?: number };
}

/** Everything before `offset` bytes of an evaluation's file of samples is reported. */
export interface SamplesSource { readonly offset: number }

export interface Sources {
  readonly attemptId: AttemptId;
  readonly log?: LogSource;
  readonly metrics?: MetricsSource;
  readonly streams?: StreamsSource;
  readonly training?: TrainingSource;
  readonly samples?: SamplesSource;
}

/** Who a program is: a pid is reused, a pid with its start time on one boot is not. */
export interface ProgramIdentity { readonly pid: number; readonly startedAt: string; readonly realm: string }

/** An attempt between its acceptance and the commit of its end. */
export interface HeldAttempt {
  readonly assignment: Assignment;
  readonly acceptedAt: number;
  stop: StopOrder | null;
  program: ProgramIdentity | null;
  started: boolean;
  /** Number of its `ended` report. */
  ended: number | null;
  log: LogSource | null;
  metrics: MetricsSource | null;
  /** Only of programs whose outputs are kept apart. */
  streams?: StreamsSource;
  /** Only of train stages. */
  training?: TrainingSource;
  /** Only of evaluate stages whose rows we ask. */
  samples?: SamplesSource;
}

export interface Snapshot {
  readonly lastReport: number;
  readonly attempts: readonly HeldAttempt[];
  readonly finished: readonly AttemptId[];
  readonly deletions: readonly DeleteOrder[];
}

export type JournalRecord =
  | { readonly kind: "snapshot"; readonly body: Snapshot }
  | { readonly kind: "accept"; readonly body: { readonly assignment: Assignment; readonly at: number } }
  | { readonly kind: "stop"; readonly body: StopOrder }
  | { readonly kind: "delete"; readonly body: DeleteOrder }
  | { readonly kind: "program"; readonly body: { readonly attemptId: AttemptId; readonly program: ProgramIdentity } }
  | { readonly kind: "forget"; readonly body: { readonly attemptId: AttemptId } }
  | { readonly kind: "deleted"; readonly body: { readonly checkpointId: CheckpointId } }
  | { readonly kind: "report"; readonly body: Report; readonly sources: Sources | null };

/** One line, without its end. `bodyText` is the body as JSON already. */
export function encodeRecord(kind: JournalRecord["kind"], bodyText: string, sources: Sources | null = null): string {
  const content = sources === null ? `${kind}\t${bodyText}` : `${kind}\t${bodyText}\t${JSON.stringify(sources)}`;
  return `${crc32(content).toString(16).padStart(8, "0")}\t${content}`;
}

/** The record in a line, or null when it is not whole (R1). */
export function decodeRecord(line: string): JournalRecord | null {
  const content = line.slice(9);
  if (line[8] !== "\t" || crc32(content).toString(16).padStart(8, "0") !== line.slice(0, 8)) return null;
  const [kind, body, sources] = content.split("\t") as [JournalRecord["kind"], string, string | undefined];
  const record = { kind, body: JSON.parse(body) as unknown, ...(kind === "report" ? { sources: sources === undefined ? null : (JSON.parse(sources) as Sources) } : {}) };
  return record as JournalRecord;
}

/** Where the body's JSON stands in a line, as [from, to) in UTF-16 code units. */
export function bodyOf(line: string): string {
  const start = line.indexOf("\t", 9) + 1;
  const end = line.indexOf("\t", start);
  return line.slice(start, end < 0 ? undefined : end);
}
