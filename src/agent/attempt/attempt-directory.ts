// Where an attempt lives on this host: <agent dir>/attempts/<pipeline>/<stage>/<number>/, closed to others.
//   D1. Names come from the control plane and are checked before they become a path.
//   D2. A directory belongs to one attempt id. After a database was restored the same number may be given again: the forgotten attempt's directory is set aside
//       then, never taken for the new one's.

import { mkdirSync, readdirSync, readFileSync, realpathSync, renameSync, statSync, writeFileSync } from "node:fs";
import { isAbsolute, join, relative, resolve } from "node:path";
import { isId } from "../../domain/ids.js";
import { NAME_PATTERN } from "../../domain/pipeline/spec.js";
import type { Assignment } from "../../protocol/messages.js";

export interface AttemptDirectory {
  readonly root: string;
  /** Results and checkpoints; TRAINYARD_OUTPUT_DIR. */
  readonly output: string;
  /** Where the program starts, unless it says otherwise. */
  readonly work: string;
  readonly outputsFile: string;
  readonly metricsFile: string;
  /** Standard output and error of the program, in the order in which they came. */
  readonly logFile: string;
  /** Of a program whose outputs are kept apart; `logFile` then holds both, merged line by line. */
  readonly stdoutFile: string;
  readonly stderrFile: string;
  /** Both outputs of programs that run beside the agent, and of those in the attempt's place, where these are kept apart; `logFile` then holds all, merged line by line. */
  readonly homeOutputFile: string;
  readonly placeOutputFile: string;
  /** Written by the launcher: who it is (launch.json) and how the program ended (exit.json). */
  readonly launchFile: string;
  readonly exitFile: string;
  /** One path per line: checkpoints reported from here. */
  readonly checkpointsFile: string;
  /** One path per line: data files that are registered as data sets. */
  readonly datasetsFile: string;
  /** What is being run, for an agent that takes over. */
  readonly planFile: string;
}

/** The paths of an attempt. `attemptsRoot` is absolute. Throws Error when the assignment's names cannot be part of a path (D1). */
export function attemptDirectory(attemptsRoot: string, assignment: Pick<Assignment, "pipelineId" | "stage" | "fence">): AttemptDirectory {
  if (!isId("pip", assignment.pipelineId)) throw new Error(`${JSON.stringify(assignment.pipelineId)} is no pipeline id.`);
  if (!NAME_PATTERN.test(assignment.stage) || assignment.stage.length > 100) throw new Error(`${JSON.stringify(assignment.stage)} is no stage name.`);
  const root = join(attemptsRoot, assignment.pipelineId, assignment.stage, String(assignment.fence));
  const at = (name: string) => join(root, name);
  return {
    root, output: at("output"), work: at("work"), outputsFile: at("outputs.json"), metricsFile: at("metrics.jsonl"), logFile: at("log"), stdoutFile: at("stdout"), stderrFile: at("stderr"), homeOutputFile: at("output-home"), placeOutputFile: at("output-place"),
    launchFile: at("launch.json"), exitFile: at("exit.json"), checkpointsFile: at("checkpoints"), datasetsFile: at("datasets"), planFile: at("plan.json"),
  };
}

/** The same directory as the program of a later phase sees it: launch and exit files of its own. */
export function phaseDirectory(directory: AttemptDirectory, phase: number, name: string): AttemptDirectory {
  return phase === 0 ? directory : { ...directory, launchFile: join(directory.root, `launch-${name}.json`), exitFile: join(directory.root, `exit-${name}.json`) };
}

/** Whose directory this is; null when it does not say, or does not exist. */
export function ownerOf(directory: AttemptDirectory): string | null {
  try {
    return readFileSync(join(directory.root, OWNER_FILE), "utf8").trim();
  } catch {
    return null;
  }
}
const OWNER_FILE = "attempt";

/** Makes the attempt the owner of its directory (D2). What another attempt left there is set aside beside it, and where is told; null when there was nothing. */
export function claimAttemptDirectory(attemptsRoot: string, assignment: Pick<Assignment, "pipelineId" | "stage" | "fence" | "attemptId">): string | null {
  const directory = attemptDirectory(attemptsRoot, assignment);
  const owner = ownerOf(directory);
  if (owner === assignment.attemptId) return null;
  let aside: string | null = null;
  if (owner !== null) {
    aside = `${directory.root}.${isId("att", owner) ? owner : "unknown"}`;
    renameSync(directory.root, aside);
  }
  mkdirSync(directory.root, { recursive: true, mode: 0o700 });
  if (owner === null && readdirSync(directory.root).length > 0) return null; // of an agent before there were owners
  writeFileSync(join(directory.root, OWNER_FILE), `${assignment.attemptId}\n`, { mode: 0o600 });
  return aside;
}

/** Makes the directories; what is there already stays. */
export function makeAttemptDirectory(directory: AttemptDirectory): void {
  for (const path of [directory.root, directory.output, directory.work]) mkdirSync(path, { recursive: true, mode: 0o700 });
}

/** The output directory of the newest earlier attempt of the stage on this host, or null. */
export function previousOutputDirectory(attemptsRoot: string, assignment: Pick<Assignment, "pipelineId" | "stage" | "fence">): string | null {
  return earlierOutputDirectories(attemptsRoot, assignment)[0] ?? null;
}

/** Those of all earlier attempts of the stage on this host, newest first. */
export function earlierOutputDirectories(attemptsRoot: string, assignment: Pick<Assignment, "pipelineId" | "stage" | "fence">): readonly string[] {
  return earlierAttempts(attemptsRoot, assignment).map(({ root }) => join(root, "output")).filter((output) => statSync(output, { throwIfNoEntry: false })?.isDirectory());
}

/** The directories of all earlier attempts of the stage below `attemptsRoot`, newest first. */
export function earlierAttempts(attemptsRoot: string, assignment: Pick<Assignment, "pipelineId" | "stage" | "fence">): readonly { readonly fence: number; readonly root: string }[] {
  const stageRoot = join(attemptsRoot, assignment.pipelineId, assignment.stage);
  let numbers: number[];
  try {
    numbers = readdirSync(stageRoot).map(Number).filter((number) => Number.isInteger(number) && number > 0 && number < assignment.fence);
  } catch {
    return [];
  }
  return numbers.sort((a, b) => b - a).map((fence) => ({ fence, root: join(stageRoot, String(fence)) }));
}

/** The real path of `path` (relative ones start at `base`) when it lies inside `root`, links resolved; null when it does not, or does not exist. */
export function realPathInside(root: string, base: string, path: string): string | null {
  if (path.includes("\0")) return null;
  try {
    const realRoot = realpathSync(root);
    const real = realpathSync(isAbsolute(path) ? path : resolve(base, path));
    return isBelow(realRoot, real) ? real : null;
  } catch {
    return null;
  }
}

/** Whether `path` lies below `root`; both absolute and real. The root itself does not. */
export function isBelow(root: string, path: string): boolean {
  const way = relative(root, path);
  return way !== "" && way !== ".." && !way.startsWith("../") && !isAbsolute(way);
}
