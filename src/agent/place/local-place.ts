// This machine as a place for programs: paths are what they are, nothing has to be brought.

import { execFile } from "node:child_process";
import { appendFileSync } from "node:fs";
import { lstat, mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { isAlive, pidRealm } from "../../process-identity.js";
import { realPathInside, type AttemptDirectory } from "../attempt/attempt-directory.js";
import { inheritedVariables } from "../attempt/program-environment.js";
import { createGpuKeeper } from "./gpu-keeper.js";
import { askNvidiaSmi } from "./gpus.js";
import { programMembers } from "./process-table.js";
import { stopProgram } from "./program-stopper.js";
import { freeDisk } from "../host/versions.js";
import type { ProgramIdentity } from "../journal/records.js";
import { deleteCheckpointFiles, sizeOnDisk } from "../telemetry/checkpoint-files.js";
import { findProgram, hasLaunched, isSpeechless, launch, readExitStatus, readLaunch } from "./launcher.js";
import type { Answer, Artifact, Place, PlaceStat, Question } from "./place.js";

/** Interval of looking whether an adopted program still lives, in milliseconds. */
const ADOPTED_LOOK_MS = 100;
/** Interval of looking who the launcher is, in milliseconds. */
const LAUNCH_LOOK_MS = 5;
const ANSWER_LIMIT_BYTES = 64 * 1024 * 1024;

export interface LocalPlaceOptions {
  /** The agent's own environment, and the names in it that programs get. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly inherited: readonly string[];
  /** Absolute and real: below them lie the checkpoints that may be deleted. */
  readonly checkpointRoots: readonly string[];
  readonly nvidiaSmi: string;
  readonly cpus: number;
  /** Which of these processes belong to attempts of this agent. */
  ours(pids: readonly number[]): Promise<ReadonlySet<number>>;
}

export function createLocalPlace(options: LocalPlaceOptions): Place {
  return {
    name: "this host",
    variables: inheritedVariables(options.environment, options.inherited),
    secrets: [],
    gpus: createGpuKeeper(askNvidiaSmi(options.nvidiaSmi), options.ours),
    cpus: () => options.cpus,
    trouble: () => null,
    barred: () => null,
    onChange: () => () => undefined,
    mayHaveBegun: hasLaunched,
    async state(directory) {
      return { begun: hasLaunched(directory), program: await identifyLaunch(directory), status: readExitStatus(directory), speechless: isSpeechless(directory) };
    },
    async start({ directory, argv, environment, workingDirectory, outputs, signal }) {
      signal.throwIfAborted();
      const launched = await launch({ argv, directory, workingDirectory, environment, outputs });
      let hasEnded = false;
      void launched.ended.then(() => { hasEnded = true; });
      for (;;) {
        const program = readLaunch(directory);
        if (program !== null && program !== "half-written") {
          return { program, gone: program.pid === launched.pid ? launched.ended : launched.ended.then(() => untilGone(program)) }; // L2 of launcher.ts: an earlier launcher may run the program
        }
        if (hasEnded) return { program: await identifyLaunch(directory), gone: launched.ended }; // it could not write who it is
        await delay(LAUNCH_LOOK_MS);
      }
    },
    untilGone,
    outlived: async (program) => program.realm !== pidRealm(),
    members: async ({ launcher, mark, known }) => programMembers(launcher, mark, known),
    stop: stopProgram,
    ask: askHere,
    say: (file, text) => appendFileSync(file, text, { mode: 0o600 }),
    follow: () => ({ caughtUp: async () => undefined, close: () => undefined }),
    artifact: localArtifact,
    removeAttempt: ({ root }) => rm(root, { recursive: true, force: true }),
    deleteArtifact: (path) => deleteCheckpointFiles(options.checkpointRoots, path),
    there: (path) => path,
    here: (path) => path,
    push: async (paths) => paths,
    removeUnused: async () => 0,
    stat: (paths) => Promise.all(paths.map(statOf)),
    async readText(path, limitBytes) {
      const found = await statOf(path);
      return found?.kind === "file" && found.size <= limitBytes ? readFile(path, "utf8").catch(() => null) : null;
    },
    async list(path) {
      const names = await readdir(path).catch(() => [] as string[]);
      const found = await Promise.all(names.sort().map(async (name) => ({ name, stat: await statOf(join(path, name)) })));
      return found.flatMap(({ name, stat }) => (stat === null ? [] : [{ name, ...stat }]));
    },
    async freeDisk(path) {
      const free = freeDisk(path);
      return free === null ? null : Number(free);
    },
    async writeText(path, text) {
      await mkdir(dirname(path), { recursive: true, mode: 0o770 });
      await writeFile(`${path}.new`, text, { mode: 0o660, flush: true });
      await rename(`${path}.new`, path);
    },
    async freePort({ first, last }, from) {
      for (let tried = 0, port = from; tried <= last - first; tried++, port = port === last ? first : port + 1) if (await isFree(port)) return port;
      return null;
    },
  };
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once("error", () => resolve(false));
    probe.listen(port, () => probe.close(() => resolve(true)));
  });
}

export async function localArtifact(directory: Pick<AttemptDirectory, "root" | "output">, path: string): Promise<Artifact | null> {
  const real = realPathInside(directory.root, directory.output, path);
  return real === null ? null : { path: real, sizeBytes: await sizeOnDisk(real).catch(() => null) };
}

async function identifyLaunch(directory: AttemptDirectory): Promise<ProgramIdentity | null> {
  for (;;) {
    const found = readLaunch(directory);
    if (found !== "half-written") return found;
    await delay(LAUNCH_LOOK_MS);
  }
}

async function untilGone(program: ProgramIdentity): Promise<void> {
  while (program.realm === pidRealm() && isAlive(program)) await delay(ADOPTED_LOOK_MS);
}

function askHere({ argv, environment, input, timeoutMs, signal }: Question): Promise<Answer> {
  const [name = "", ...args] = argv;
  let program: string;
  try {
    program = findProgram(name, environment["PATH"], "/");
  } catch (error) {
    return Promise.resolve({ kind: "absent", why: (error as Error).message });
  }
  return new Promise((resolve) => {
    const options = { timeout: timeoutMs, killSignal: "SIGKILL" as const, env: environment as NodeJS.ProcessEnv, maxBuffer: ANSWER_LIMIT_BYTES, ...(signal === undefined ? {} : { signal }) };
    const child = execFile(program, args, options, (error, stdout, stderr) => {
      if (error === null || typeof error.code === "number") resolve({ kind: "answered", program, status: error === null ? 0 : error.code as number, stdout, stderr });
      else if (error.killed === true || signal?.aborted === true) resolve({ kind: "silent", why: `it did not answer within ${timeoutMs / 1_000} s` });
      else if (error.signal != null) resolve({ kind: "failed", why: `it was ended by ${error.signal}${stderr.trim() === "" ? "" : `: ${stderr.trim().split("\n").at(-1)}`}` });
      else resolve({ kind: "failed", why: error.message });
    });
    child.stdin?.on("error", () => undefined); // it may end without reading
    child.stdin?.end(input ?? "");
  });
}

async function statOf(path: string): Promise<PlaceStat | null> {
  const found = await lstat(path).catch(() => null);
  if (found === null) return null;
  return { kind: found.isFile() ? "file" : found.isDirectory() ? "folder" : found.isSymbolicLink() ? "link" : "other", size: found.size, changedMs: found.mtimeMs };
}
