// Where the programs of attempts run: this machine (local-place.ts) or a host over SSH. Whatever the agent does with processes, and with files that a program
// writes or reads, goes through it; roles and program-attempt.ts know no other way.
//   P1. Two names of one file. In the agent's code a path is home's: the attempt's directory below the attempts' root of this machine. What a program is told
//       (argv, environment, working directory) is translated by the place; `there` and `here` do it for a single path. Paths that a program names itself, and
//       those that are reported (checkpoints), are the place's own. On this machine both are the same.
//   P2. A place that is out of reach is waited for. No call fails because the way to it is cut: it ends with an answer, with its signal, or when the agent leaves.
//   P3. A program is started at most once for its launch file, however often it is asked for and whichever answers are lost on the way.
//   P4. What a program writes is followed in home's files. On another machine `follow` brings it there; nothing else writes to those files then.

import type { GpuReport } from "../../protocol/messages.js";
import type { ProcessIdentity } from "../../process-identity.js";
import type { AttemptDirectory } from "../attempt/attempt-directory.js";
import type { ProgramIdentity } from "../journal/records.js";

/** Why a program could not even be started. */
export class LaunchError extends Error {
  readonly code: "COMMAND_NOT_FOUND" | "PERMISSION_DENIED" | "FILE_NOT_FOUND" | "INTERNAL" | "DISK_FULL";
  constructor(code: LaunchError["code"], message: string) {
    super(message);
    this.code = code;
  }
}

/** A program that is to be started. Paths are home's (P1). */
export interface ProgramStart {
  /** Of the phase; its launch file names the program (P3). What another attempt left under the same path is none of it (attempt-directory.ts, D2). */
  readonly directory: AttemptDirectory;
  /** Its first word is a path, or a name looked up on PATH there. */
  readonly argv: readonly string[];
  /** Without what the place itself adds (`variables`, and what its host lets through). */
  readonly environment: Readonly<Record<string, string>>;
  readonly workingDirectory: string;
  /** Files of standard output and error, which may be one. */
  readonly outputs: { readonly stdout: string; readonly stderr: string };
  /** Files in the attempt's directory here that it reads. Those of other attempts are brought when argv or environment name them. */
  readonly reads?: readonly string[];
  /** Gives up before anything was started; once the start was asked for it is waited for whether it took place. */
  readonly signal: AbortSignal;
}

export interface StartedProgram {
  /** The launcher, leader of the program's session; null when none could say who it is. */
  readonly program: ProgramIdentity | null;
  /** Resolves when it has ended. */
  readonly gone: Promise<void>;
}

/** What is known of a launch file and its program. */
export interface ProgramState {
  /** Whether a launcher has begun. */
  readonly begun: boolean;
  /** Who it is; null when it could not say (`begun`), or there is none. */
  readonly program: ProgramIdentity | null;
  /** Exit status as the launcher's shell gives it, 128 + signal for a signal; null while there is none. */
  readonly status: number | null;
  /** A launcher began and could not write who it is: the disk was full. */
  readonly speechless: boolean;
}

/** Whose processes are meant. */
export interface ProgramTarget {
  readonly launcher: ProcessIdentity;
  /** NAME=value in the environment of all that belongs to it. */
  readonly mark: string;
  /** Sent first, to the program itself and not to what it started; null or absent: SIGTERM to all of it. */
  readonly first?: NodeJS.Signals | null;
  /** Members that were seen earlier. */
  readonly known?: readonly ProcessIdentity[];
}

/** A short program that answers by what it prints. Paths of home in argv and environment are translated. */
export interface Question {
  readonly argv: readonly string[];
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Given on standard input. */
  readonly input?: string;
  /** It is killed then. Milliseconds; the wait for a place out of reach does not count. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
}

/** "absent": there is no such program. "silent": killed because its time was up, or because of the signal. `program`: absolute path of what was started. */
export type Answer =
  | { readonly kind: "answered"; readonly program: string; readonly status: number; readonly stdout: string; readonly stderr: string }
  | { readonly kind: "absent" | "silent" | "failed"; readonly why: string };

/** A file that lies elsewhere in the place than the attempt's files, and where it is to be found at home. On this machine both are one. */
export interface CopiedFile { readonly here: string; readonly there: string }

/** Files that a program writes and that are read at home while it runs, absolute paths of home's. */
export interface FollowedFiles {
  /** Only ever appended to, like logs: at home as they grow. */
  readonly growing: readonly (string | CopiedFile)[];
  /** Written as a whole, at any time: at home when `caughtUp` resolves after the program's end. A file that does not exist does not exist here either. */
  readonly results: readonly string[];
}

export interface Following {
  /** Resolves when all that the files hold, and held at the call, is here. Call it when the program and what it started are gone. */
  caughtUp(): Promise<void>;
  /** Ends it; what is here stays. */
  close(): void;
}

/** A file or folder of the attempt's that a program reported. */
export interface Artifact {
  /** On the place: absolute and real. */
  readonly path: string;
  /** Bytes with everything in it; null when there are too many files to count. */
  readonly sizeBytes: number | null;
}

export interface PlaceStat { readonly kind: "file" | "folder" | "link" | "other"; readonly size: number; readonly changedMs: number }

export interface PushOptions {
  readonly signal: AbortSignal;
  /** Id of the attempt that uses them. */
  readonly user?: string;
  say(text: string): void;
}

/** The GPUs of the place. */
export interface PlaceGpus {
  /** What is known, renewed in the background when it is old. The first call may wait. */
  report(): Promise<readonly GpuReport[]>;
  hostHasGpus(): boolean;
  /** Asks now. Processes of strangers on these GPUs, or what is wrong with them, in words; null when all are there and free. */
  taken(indices: readonly number[]): Promise<string | null>;
}

export interface Place {
  /** In words, for messages: "this host", or the host's name. */
  readonly name: string;
  /** The place's own variables that every program gets, beneath what its stage says. A host adds its own by name itself. */
  readonly variables: Readonly<Record<string, string>>;
  /** Values of these that look like secrets by their names; they leave the agent nowhere. */
  readonly secrets: readonly string[];
  readonly gpus: PlaceGpus;
  /** Processors that a trainer may count on, as far as is known. */
  cpus(): number;
  /** What stands in the way of programs there, in words; null when nothing does. What may pass within seconds is not told. */
  trouble(): string | null;
  /** Why nobody connects to the place any more until a person has decided (its host key has changed), in words; null otherwise. Programs there may live, and cannot be ended. */
  barred(): string | null;
  /** Calls back when `cpus`, `trouble` or `barred` say something else. Returns how to end that. */
  onChange(listener: () => void): () => void;

  // ── programs ──
  /** False: no program was ever started for these files, for sure and at once. True: ask `state`. */
  mayHaveBegun(directory: AttemptDirectory): boolean;
  state(directory: AttemptDirectory): Promise<ProgramState>;
  /** P3. Throws LaunchError, and the signal's reason. */
  start(start: ProgramStart): Promise<StartedProgram>;
  /** Resolves when that program has ended, or belongs to an earlier boot of its machine. */
  untilGone(program: ProgramIdentity, directory: AttemptDirectory): Promise<void>;
  /** Whether the machine, or the container of the agent, was restarted since the program began: its pids mean nothing any more. */
  outlived(program: ProgramIdentity): Promise<boolean>;
  /** All that belongs to the program and lives, the launcher included. */
  members(target: ProgramTarget): Promise<readonly ProcessIdentity[]>;
  /** Ends a program with everything it started: a signal, the grace, SIGKILL for what is left. Resolves with what could not be ended, normally nothing. */
  stop(target: ProgramTarget, graceMs: number): Promise<readonly ProcessIdentity[]>;
  /** Runs a short program to its end. Never throws. Repeating it must be harmless: a lost connection repeats it. */
  ask(question: Question): Promise<Answer>;

  // ── what programs write ──
  /** Puts lines of the agent's own at the end of a log file (home's path) before the attempt's next program starts. */
  say(file: string, text: string): void;
  /** P4. `failed` hears of a file of home's that cannot be written. */
  follow(files: FollowedFiles, failed: (error: Error) => void): Following;
  /** The file or folder that `path` names (relative ones begin in the attempt's output), when it lies inside the attempt's directory, links resolved; null when it does not, or does not exist. */
  artifact(directory: AttemptDirectory, path: string): Promise<Artifact | null>;
  /** Removes the directory of an attempt that is over, here and there. */
  removeAttempt(directory: Pick<AttemptDirectory, "root">): Promise<void>;
  /** Deletes a checkpoint that this agent reported; resolves with the bytes freed, 0 when it is gone already. Throws Error saying why it was not deleted. */
  deleteArtifact(path: string): Promise<number>;

  // ── files ──
  /** The place's path of a path of home's (P1); paths outside of what the place knows are left as they are. */
  there(path: string): string;
  /** The other way round. */
  here(path: string): string;
  /** Makes files of home's (absolute) readable by programs there; resolves with their paths there, in the same order. They stay there while the attempt `user` goes on. Throws TrainyardError, and the signal's reason. */
  push(paths: readonly string[], options: PushOptions): Promise<readonly string[]>;
  /** Removes there what was pushed and nothing used for `keepDays`. `held`: attempts of this agent that go on, asked when the place is in reach. Resolves with how many files went; 0 where files are not pushed anywhere. */
  removeUnused(keepDays: number, held: () => readonly string[]): Promise<number>;
  /** Paths there; one of home's is translated. Links are not followed; null for what is not there. */
  stat(paths: readonly string[]): Promise<readonly (PlaceStat | null)[]>;
  /** A small file there, as text; null when it is not there, is no regular file or larger than `limitBytes`. */
  readText(path: string, limitBytes: number): Promise<string | null>;
  /** Names in a folder there, with their kinds; empty when it is not there. */
  list(path: string): Promise<readonly (PlaceStat & { readonly name: string })[]>;
  /** Bytes that an ordinary user may still write beside a path there; null when the file system does not say. */
  freeDisk(path: string): Promise<number | null>;
  /** Writes a small file there, whole, with the folders that it needs. Throws Error saying why not. */
  writeText(path: string, text: string): Promise<void>;
  /** A port of the range that nobody listens at there: the first from `from` on, then from the beginning; null when all are taken. Throws Error when it cannot be told. */
  freePort(range: { readonly first: number; readonly last: number }, from: number): Promise<number | null>;
}
