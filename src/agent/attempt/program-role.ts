// What is particular to a kind of stage that is a program. program-attempt.ts does what all of them have in common: the life of the process, log, journal, stop, end.
//   R1. An attempt has one or several programs, its phases, one after the other. Between two of them nothing is remembered in memory: an agent that takes over
//       finds out from the attempt's directory which phase runs or ran last.
//   R2. A phase runs in the attempt's place, or at home, beside the agent: coordination of ours, which needs Node, and never a program of the user's.

import type { FailureCode } from "../../domain/pipeline/spec.js";
import type { HeldAttempt } from "../journal/records.js";
import type { Artifact, FollowedFiles, Place } from "../place/place.js";
import type { Publisher } from "../telemetry/publisher.js";
import type { Redactor } from "../telemetry/redactor.js";
import type { AttemptDirectory } from "./attempt-directory.js";
import type { Outcome } from "./running-attempt.js";

/** A program that is to run, or runs. */
export interface ProgramPlan {
  readonly argv: readonly string[];
  /** Where it starts; relative to the attempt's work directory; null: that itself. */
  readonly workingDirectory: string | null;
  /** The stage's own environment, secrets filled in, and what the role adds. Empty when the program runs already. */
  readonly environment: Readonly<Record<string, string>>;
  /** Sent first when it is to stop, to the program itself and not to what it started; null: SIGTERM to all of it. */
  readonly stopSignal: NodeJS.Signals | null;
  /** Files of home's in the attempt's own directory that it reads. */
  readonly reads?: readonly string[];
}

/** One of an attempt's programs. */
export interface Phase {
  /** For file names; those of the first one have none. */
  readonly name: string;
  /** R2. */
  readonly at: "place" | "home";
}

/** Where the outputs of programs go. "together": into the log file. "by stream": standard output and error into files of their own, merged into the log. "by place": both of what runs
 *  at home into one file and both of what runs in the place into another, merged into the log; a file is written on one machine only. */
export type OutputFiles = "together" | "by stream" | "by place";

export interface RoleContext {
  readonly directory: AttemptDirectory;
  /** Where the programs run. */
  readonly place: Place;
  readonly redactor: Redactor;
  /** The environment that a program of the attempt would get with `stage` as the stage's own. */
  environmentWith(stage: Readonly<Record<string, string>>): Record<string, string>;
  /** Aborted when the attempt is to stop, or this agent leaves it. */
  readonly signal: AbortSignal;
  /** Writes a line of the agent's own into the attempt's log. */
  say(text: string): void;
}

/** What follows: a phase, by its position, or the end. */
export type RoleStep = { readonly run: ProgramPlan; readonly phase: number } | { readonly end: Outcome };

/** Follows what the program of a phase writes beside its log. */
export interface Follower {
  advance(): Promise<void>;
  /** The program has ended. */
  finish(): Promise<void>;
}

export interface FollowContext {
  readonly directory: AttemptDirectory;
  readonly redactor: Redactor;
  readonly publisher: Publisher;
  /** What a path that the program reported names; null when it is no file or folder of the attempt's. */
  artifact(path: string): Promise<Artifact | null>;
  /** Resolves when this agent leaves the program; then a place that is out of reach is waited for no more. */
  readonly left: Promise<unknown>;
  notice(text: string): void;
  /** Ends the program; the attempt then ended like this. */
  giveUp(outcome: Outcome): void;
}

export interface ProgramRole {
  /** The phase at this position; null: it has fewer. A later phase begins only after the one before it, but for the first, which may be left out. */
  phase(position: number): Phase | null;
  readonly outputs: OutputFiles;
  /** Milliseconds between the first signal and SIGKILL. */
  readonly graceMs: number;
  /** Values that leave this host nowhere. */
  readonly secrets: readonly string[];
  /** After the phase at position `ended` (null: none yet) with that exit status (null: none was left). Throws NeverStarted when the attempt ends before its first program. */
  next(ended: number | null, status: number | null, context: RoleContext): Promise<RoleStep>;
  /** The plan of a phase that an earlier agent process started. */
  recall(phase: number, directory: AttemptDirectory): ProgramPlan;
  follow(phase: number, context: FollowContext): Follower;
  /** What the program of a phase writes that is read here, besides its outputs, log and metrics. */
  brings?(phase: number, directory: AttemptDirectory): FollowedFiles;
  /** The attempt is over: removes what it had outside its directory. */
  tidy?(): void;
}

/** A way to end before the program ran. */
export class NeverStarted extends Error {
  readonly outcome: Outcome;
  constructor(outcome: Outcome) {
    super("never started");
    this.outcome = outcome;
  }
}

export function failed(code: FailureCode, message: string, hint: string | null = null, logTail: readonly string[] = [], exitCode: number | null = null): Outcome {
  return { kind: "FAILED", failure: { code, message: message.slice(0, 10_000), hint, exitCode, logTail: [...logTail] } };
}

/** Phases that all run in the attempt's place. */
export function phasesInPlace(...names: readonly string[]): ProgramRole["phase"] {
  return (position) => (names[position] === undefined ? null : { name: names[position], at: "place" });
}

/** A phase that leaves nothing but its log. */
export const NOTHING_TO_FOLLOW: Follower = { advance: async () => undefined, finish: async () => undefined };

/** Grace of a stage between its first signal and KILL, in milliseconds. */
export function graceOf(held: HeldAttempt): number {
  const { kind, params } = held.assignment;
  const grace = (params as { graceSeconds?: unknown }).graceSeconds;
  return typeof grace === "number" && grace >= 0 && grace <= 3_600 ? grace * 1_000 : kind === "train" ? 60_000 : 30_000;
}
