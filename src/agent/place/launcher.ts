// Starts a program so that neither its life nor its exit status depends on this agent.
//   L1. A small shell of constant text stands between agent and program: it says who it is, runs the program, writes the exit status. What users
//       write reaches it as positional parameters only, behind an absolute path: never parsed, never a builtin, never an option.
//   L2. The launch file is created exclusively: of two launchers of one attempt (an agent killed between start and note) only one runs the program.
//   L3. The exit file has its block before the program starts: the status can be written when the program has filled the disk.
//   L4. It leads a session of its own and writes to files: no pipe, no terminal and no signal of ours is shared with it.

import { spawn } from "node:child_process";
import { accessSync, closeSync, constants, openSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { delimiter, isAbsolute, join, resolve } from "node:path";
import { LAUNCHER } from "../../launcher-script.js";
import { identifyProcess, pidRealm } from "../../process-identity.js";
import { commandLineOf } from "./process-table.js";
import type { ProgramIdentity } from "../journal/records.js";
import type { AttemptDirectory } from "../attempt/attempt-directory.js";
import { LaunchError } from "./place.js";

const EXIT_FILE_ROOM = `${" ".repeat(62)}\n`;
/** How long a launch file may stay half written, in milliseconds. */
const HALF_WRITTEN_MS = 2_000;

export interface Launched {
  /** The launcher, leader of the program's session. When another launcher of this attempt was first (L2) it ends at once and the launch file names the other. */
  readonly pid: number;
  /** Resolves when the launcher has ended. */
  readonly ended: Promise<void>;
}

/** Starts the launcher. `outputs`: the files of standard output and error, which may be one. Throws LaunchError. */
export async function launch(options: {
  argv: readonly string[]; environment: Readonly<Record<string, string>>; workingDirectory: string; directory: AttemptDirectory; outputs: { readonly stdout: string; readonly stderr: string };
}): Promise<Launched> {
  const { directory, environment, workingDirectory } = options;
  if (kindOf(workingDirectory) !== "directory") {
    throw new LaunchError("FILE_NOT_FOUND", `The working directory ${workingDirectory} does not exist on this host, or is closed to this agent.`);
  }
  const [name, ...rest] = options.argv;
  const program = findProgram(name ?? "", environment["PATH"], workingDirectory);
  const opened: number[] = [];
  try {
    writeFileSync(directory.exitFile, EXIT_FILE_ROOM, { mode: 0o600, flag: "a" });
    for (const file of [options.outputs.stdout, options.outputs.stderr]) opened.push(openSync(file, "a", 0o600));
  } catch (error) {
    for (const handle of opened) closeSync(handle);
    throw new LaunchError((error as NodeJS.ErrnoException).code === "ENOSPC" ? "DISK_FULL" : "INTERNAL", `The attempt's directory cannot be written: ${(error as Error).message}`);
  }
  try {
    const child = spawn("/bin/sh", ["-c", LAUNCHER, "sh", directory.launchFile, directory.exitFile, program, ...rest], {
      cwd: workingDirectory, env: environment, detached: true, stdio: ["ignore", ...opened], // L4
    });
    await new Promise<void>((done, failed) => {
      child.once("spawn", done);
      child.once("error", failed);
    });
    const ended = new Promise<void>((done) => child.once("exit", () => done()));
    child.unref();
    return { pid: child.pid as number, ended };
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "E2BIG") throw new LaunchError("INTERNAL", "The program's arguments and environment are larger than this system allows. Pass the long ones in a file.");
    throw new LaunchError("INTERNAL", `The program cannot be started: ${(error as Error).message}`);
  } finally {
    for (const handle of opened) closeSync(handle);
  }
}

/** Whether a launcher of this attempt has begun. */
export function hasLaunched(directory: AttemptDirectory): boolean {
  return statSync(directory.launchFile, { throwIfNoEntry: false }) !== undefined;
}

/** Whether a launcher has begun and could not say who it is. */
export function isSpeechless(directory: AttemptDirectory): boolean {
  return statSync(directory.launchFile, { throwIfNoEntry: false })?.size === 0;
}

/** Who the attempt's launcher is, once it has said so; null when nobody is known. On systems without /proc the start time is asked for while it lives. */
export function readLaunch(directory: AttemptDirectory): ProgramIdentity | "half-written" | null {
  let text: string;
  try {
    text = readFileSync(directory.launchFile, "utf8");
  } catch {
    return null;
  }
  if (!text.endsWith("\n")) {
    const age = Date.now() - (statSync(directory.launchFile, { throwIfNoEntry: false })?.mtimeMs ?? 0);
    return age < HALF_WRITTEN_MS ? "half-written" : null;
  }
  const { pid, stat, boot } = JSON.parse(text) as { pid: number; stat: string; boot: string };
  const ticks = stat.split(" ")[19]; // what follows the command name in /proc/self/stat
  if (ticks !== undefined) return { pid, startedAt: ticks, realm: pidRealm().startsWith(boot) ? pidRealm() : boot };
  const living = identifyProcess(pid);
  return living === null || !commandLineOf(pid)?.includes(directory.launchFile) ? { pid, startedAt: "gone", realm: pidRealm() } : { ...living, realm: pidRealm() };
}

/** The program's exit status as the launcher's shell gives it (128 + signal for a signal), or null while there is none. */
export function readExitStatus(directory: AttemptDirectory): number | null {
  try {
    const match = /^\{"status":(\d+)\}\n/.exec(readFileSync(directory.exitFile, "utf8"));
    return match === null ? null : Number(match[1]);
  } catch {
    return null;
  }
}

/** The absolute path that `name` means; folders of PATH that are closed to us are passed over. Throws LaunchError. */
export function findProgram(name: string, path: string | undefined, workingDirectory: string): string {
  if (name === "" || name.includes("\0")) throw new LaunchError("COMMAND_NOT_FOUND", "run[0] is empty: there is no program to start.");
  const candidates = name.includes("/")
    ? [isAbsolute(name) ? name : resolve(workingDirectory, name)]
    : (path ?? "/usr/local/bin:/usr/bin:/bin").split(delimiter).filter((folder) => folder !== "").map((folder) => resolve(workingDirectory, join(folder, name)));
  const files = candidates.filter((candidate) => kindOf(candidate) === "file");
  for (const file of files) {
    try {
      accessSync(file, constants.X_OK);
      return file;
    } catch {
      // Another folder of PATH may have one that may be executed.
    }
  }
  if (files[0] !== undefined) throw new LaunchError("PERMISSION_DENIED", `${files[0]} may not be executed by this agent.`);
  throw new LaunchError("COMMAND_NOT_FOUND", name.includes("/") ? `The program ${name} does not exist on this host, or is closed to this agent.` : `There is no program ${JSON.stringify(name)} on this agent's PATH.`);
}

function kindOf(path: string): "file" | "directory" | "other" {
  try {
    const found = statSync(path);
    return found.isFile() ? "file" : found.isDirectory() ? "directory" : "other";
  } catch {
    return "other"; // not there, or behind a folder we may not enter
  }
}
