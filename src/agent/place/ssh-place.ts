// An SSH host as a place for programs: the helper there does what local-place.ts does here, over a connection that may be cut at any moment.
//   S1. A cut is waited for, whatever was asked. What was asked is asked again, unless asking twice could do harm; a changed host key is waited for too, since only a person can decide.
//   S2. A start whose answer was lost is looked into before it is asked for again. That it was asked for is noted here first, durably: an agent that takes over asks the host.
//   S3. What is known of the host (its directory, its processors) is kept beside the journal: paths mean the same after a restart of ours with the host away.
//   S4. A program has ended when its launcher is gone, or its boot is over; the exit status is then read, and kept here for housekeeping.
//   S5. What an attempt uses of the files that were brought is noted there as soon as they are, and looked at once more before each start: what was swept meanwhile is brought again.

import { setMaxListeners } from "node:events";
import { readFileSync, rmSync, statSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { HostAccess } from "../../hosts/host-access.js";
import { openFileSync, type LocalFile } from "../../hosts/file-sync.js";
import { openHostLink, type HostLink } from "../../hosts/host-link.js";
import type { RemoteLaunch } from "../../hosts/remote-attempts.js";
import { HelperRefusal, type HelperFacts, type RemoteHelper } from "../../hosts/remote-helper.js";
import { SshError } from "../../hosts/ssh-error.js";
import { isBelow, ownerOf, realPathInside, type AttemptDirectory } from "../attempt/attempt-directory.js";
import { inheritable } from "../attempt/program-environment.js";
import type { ProgramIdentity } from "../journal/records.js";
import { deleteCheckpointFiles } from "../telemetry/checkpoint-files.js";
import { writeDurably } from "./durable-file.js";
import { createGpuKeeper } from "./gpu-keeper.js";
import type { NvidiaAnswer } from "./gpus.js";
import { LaunchError, type Answer, type Place, type PlaceStat, type ProgramStart, type PushOptions, type Question, type StartedProgram } from "./place.js";
import { followOverSsh } from "./ssh-following.js";
import { pathsBelow, translated } from "./ssh-paths.js";
import { FREE_PORT, WRITE_TEXT } from "./ssh-programs.js";

/** Interval of looking whether a program still lives, in milliseconds: one short question over the open connection. */
const LOOK_MS = 250;
/** Pause before something that failed with the connection is asked again; the link notices within it. Milliseconds. */
const AGAIN_MS = 50;
/** How long trouble that may pass is kept to itself, in milliseconds. */
const TROUBLE_AFTER_MS = 5_000;
/** For a small program of ours, in milliseconds. */
const SMALL_MS = 60_000;
/** Names of a host's variables whose values are redacted. */
const SECRET = /TOKEN|KEY|SECRET|PASS|CREDENTIAL/i;
/** In place of trouble, before the host was ever reached. */
const UNKNOWN = "It has not been reached yet.";

export interface SshPlaceOptions {
  /** The host as the user calls it. */
  readonly name: string;
  /** Asked before each connection. */
  access(): Promise<HostAccess>;
  /** On the host: absolute or beginning with ~/. */
  readonly workingDirectory: string;
  /** Folder of a venv or conda environment there; its bin stands first in PATH. */
  readonly pythonEnvironment: string | null;
  /** Words that stand before each program. */
  readonly commandPrefix: readonly string[];
  /** Variables that programs get there. */
  readonly variables: Readonly<Record<string, string>>;
  /** Absolute, there: what runs over several nodes leave on a file system that their hosts share, deletable like attempts; null: there is none. */
  readonly sharedRoot: string | null;
  /** Processors that trainers may count on; null: those that the user may use there. */
  readonly cpus?: number | null;
  /** Names of the host's own variables that programs get. */
  readonly inherited: readonly string[];
  /** Path or name there. */
  readonly nvidiaSmi: string;
  /** Of the agent, here. */
  readonly directory: string;
  readonly attemptsRoot: string;
  /** Which of these processes there belong to attempts. */
  ours(pids: readonly number[]): Promise<ReadonlySet<number>>;
  /** Another host key was shown; nothing connects any more. */
  alarmed(error: SshError): void;
}

export interface SshPlace extends Place {
  readonly link: HostLink;
  /** Ends the connection. Programs go on. */
  close(): void;
}

type KnownFacts = Pick<HelperFacts, "directory" | "home" | "cpus" | "memoryMiB">;

export function createSshPlace(options: SshPlaceOptions): SshPlace {
  const { name, attemptsRoot } = options;
  const closing = new AbortController();
  setMaxListeners(0, closing.signal); // whoever waits for the host listens
  const factsFile = join(options.directory, "host.json");
  const listeners = new Set<() => void>();
  const said = new Map<string, string>();
  let facts = readFacts(factsFile);
  let isUp = false;
  let barred: string | null = null;
  let told: string | null = facts === null ? UNKNOWN : null;
  let telling: NodeJS.Timeout | null = null;
  const tell = (trouble: string | null): void => {
    if (telling !== null) clearTimeout(telling);
    telling = null;
    if (trouble === told) return;
    told = trouble;
    for (const listener of listeners) listener();
  };

  const link = openHostLink({
    name, access: options.access, directory: options.workingDirectory, pythonEnvironment: options.pythonEnvironment, alarmed: options.alarmed,
    changed(trouble) {
      isUp = trouble === null;
      if (trouble instanceof SshError && trouble.code === "SSH_HOST_KEY_CHANGED") barred = trouble.message;
      if (trouble === null || !(trouble instanceof SshError) || !trouble.retryable) return tell(trouble === null ? null : wordsOf(trouble));
      if (told !== null) return tell(wordsOf(trouble));
      telling ??= setTimeout(() => tell(wordsOf(link.trouble() ?? trouble)), TROUBLE_AFTER_MS).unref();
    },
  });
  link.each((helper) => {
    const { directory, home, cpus, memoryMiB } = helper.facts;
    const found = { directory, home, cpus, memoryMiB };
    if (JSON.stringify(found) === JSON.stringify(facts)) return;
    facts = found;
    writeDurably(factsFile, JSON.stringify(found)); // S3
    for (const listener of listeners) listener();
  });

  const files = openFileSync(link);

  /** The helper, however long it takes (S1). Rejects with the signal's reason. */
  const reach = async (signal?: AbortSignal): Promise<RemoteHelper> => {
    const ended = signal === undefined ? closing.signal : AbortSignal.any([closing.signal, signal]);
    ended.throwIfAborted();
    try {
      return await link.helper(ended);
    } catch {
      ended.throwIfAborted();
      return new Promise((_, reject) => ended.addEventListener("abort", () => reject(ended.reason as Error), { once: true })); // its key has changed
    }
  };
  /** For what may be asked twice. Throws what the helper refuses, and the signal's reason. */
  const overCuts = async <T>(use: (helper: RemoteHelper) => Promise<T>, signal?: AbortSignal): Promise<T> => {
    for (;;) {
      const helper = await reach(signal);
      try {
        return await use(helper);
      } catch (error) {
        if (!(error instanceof SshError)) throw error;
        await delay(AGAIN_MS);
      }
    }
  };

  const root = (): string => {
    if (facts === null) throw new Error(`${name} was never reached: nothing is known of its directories.`);
    return join(facts.directory, "attempts");
  };
  const there = (text: string): string => (facts === null ? text : translated(text, attemptsRoot, root()));
  const here = (text: string): string => (facts === null ? text : translated(text, root(), attemptsRoot));
  const thereIn = (environment: Readonly<Record<string, string | undefined>>): Record<string, string> =>
    Object.fromEntries(Object.entries(environment).flatMap(([key, value]) => (value === undefined ? [] : [[key, there(value)]])));
  const around = (environment: Readonly<Record<string, string | undefined>>) => ({
    environment: thereIn(environment), inherit: inheritable(options.inherited),
    pathFirst: options.pythonEnvironment === null ? null : `${options.pythonEnvironment.replace(/^~/, facts?.home ?? "~")}/bin`,
  });
  const filesOf = (directory: AttemptDirectory) => ({ root: there(directory.root), owner: ownerOf(directory) ?? "unknown", launch: there(directory.launchFile), exit: there(directory.exitFile) });
  const identityOf = (helper: RemoteHelper, launch: RemoteLaunch | null): ProgramIdentity | null =>
    (launch === null ? null : { pid: launch.pid, startedAt: launch.startedAt, realm: helper.facts.boot === launch.boot ? helper.facts.realm : launch.boot });

  const start = async (asks: ProgramStart): Promise<StartedProgram> => {
    const { directory, argv, environment, workingDirectory, outputs, signal } = asks;
    await reach(signal); // the paths are known then
    const brought = await bringAgain(asks).then(() => bring(asks)).catch((error: unknown) => {
      if (error instanceof SshError) throw new LaunchError(error.code === "SSH_DISK_FULL" ? "DISK_FULL" : error.code === "SSH_DIRECTORY_REFUSED" ? "PERMISSION_DENIED" : "INTERNAL", error.message);
      throw error;
    });
    const words = said.get(outputs.stderr) ?? "";
    const files = filesOf(directory);
    const request = { ...around(environment), argv: [...options.commandPrefix, ...argv].map(brought), environment: Object.fromEntries(Object.entries(environment).map(([key, value]) => [key, brought(value)])) };
    for (let asked = false; ;) {
      const helper = await reach(asked ? undefined : signal);
      try {
        if (asked) { // S2
          const state = await helper.attempts.state(files);
          if (state.begun) return following(identityOf(helper, state.launch), directory);
        } else {
          signal.throwIfAborted();
          writeDurably(directory.launchFile, JSON.stringify({ asked: Date.now() }));
          asked = true;
        }
        const { launch } = await helper.attempts.start({
          ...files, ...request, make: [directory.root, directory.output, directory.work].map(there),
          workingDirectory: there(workingDirectory), stdout: there(outputs.stdout), stderr: there(outputs.stderr), said: words,
        });
        said.delete(outputs.stderr);
        return following(identityOf(helper, launch), directory);
      } catch (error) {
        if (error instanceof HelperRefusal) {
          rmSync(directory.launchFile, { force: true });
          throw new LaunchError(error.code, error.message);
        }
        if (!(error instanceof SshError)) throw error;
        await delay(AGAIN_MS);
      }
    }
  };
  const following = (program: ProgramIdentity | null, directory: AttemptDirectory): StartedProgram => {
    const gone = program === null ? Promise.resolve() : untilGone(program, directory);
    gone.catch(() => undefined); // an agent that leaves meanwhile waits for it no more
    return { program, gone };
  };

  /** S4. */
  const untilGone = async (program: ProgramIdentity, directory: AttemptDirectory): Promise<void> => {
    for (;;) {
      const lives = await overCuts(async (helper) => {
        if (helper.facts.realm !== program.realm) return false;
        const { alive, status } = await helper.attempts.state({ ...filesOf(directory), program: { pid: program.pid, startedAt: program.startedAt } });
        if (!alive && status !== null) writeDurably(directory.exitFile, `{"status":${status}}\n`);
        return alive;
      });
      if (!lives) return;
      await delay(LOOK_MS, undefined, { signal: closing.signal });
    }
  };

  const ask = async ({ argv, environment, input, timeoutMs, signal }: Question): Promise<Answer> => {
    try {
      await reach(signal);
      return await overCuts(async (helper) => {
        const asked = helper.attempts.ask({ ...around({ ...options.variables, ...environment }), prefix: options.commandPrefix, argv: argv.map(there), input: input ?? "", timeoutMs });
        signal?.addEventListener("abort", asked.giveUp, { once: true });
        try {
          return await asked.answer;
        } finally {
          signal?.removeEventListener("abort", asked.giveUp);
        }
      }, signal);
    } catch (error) {
      return { kind: signal?.aborted === true ? "silent" : "failed", why: (error as Error).message };
    }
  };

  /** What a small program of ours says there. Throws Error in its words. */
  const asked = async (program: string, words: readonly string[], input: string): Promise<string> => {
    const answer = await ask({ argv: ["python3", "-c", program, ...words], environment: {}, input, timeoutMs: SMALL_MS });
    if (answer.kind === "answered" && answer.status === 0) return answer.stdout;
    throw new Error(`${name}: ${answer.kind === "answered" ? (answer.stderr.trim().split("\n").at(-1) ?? "") : answer.why}`);
  };

  /** S1, for what `files` does. */
  const overAlarms = async <T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> => {
    for (;;) {
      await reach(signal);
      try {
        return await work();
      } catch (error) {
        if (!(error instanceof SshError) || error.code !== "SSH_HOST_KEY_CHANGED") throw error;
      }
    }
  };
  /** S5: what each attempt uses, by sha256. */
  const uses = new Map<string, Map<string, LocalFile>>();
  const pushFiles = async (locals: readonly LocalFile[], { signal: outer, user, say }: PushOptions): Promise<readonly string[]> => {
    if (locals.length === 0) return [];
    const signal = AbortSignal.any([closing.signal, outer]);
    for (;;) {
      const pushed = await overAlarms(outer, () => files.pushAll(locals, { signal }));
      pushed.forEach(({ path, sentBytes }, index) => { if (sentBytes > 0) say(`sent ${locals[index]!.path} to ${name} (${sentBytes} bytes): ${path}`); });
      if (user !== undefined) {
        const used = uses.get(user) ?? new Map<string, LocalFile>();
        uses.set(user, used);
        pushed.forEach(({ sha256 }, index) => void used.set(sha256, { ...locals[index]!, sha256 }));
        if ((await overAlarms(outer, () => files.use(user, pushed.map(({ sha256 }) => sha256), signal))).length > 0) continue;
      }
      return pushed.map(({ path }) => path);
    }
  };
  const push = (paths: readonly string[], pushing: PushOptions): Promise<readonly string[]> => pushFiles(paths.map((path) => ({ path })), pushing);
  /** S5. */
  const bringAgain = async (start: ProgramStart): Promise<void> => {
    const user = ownerOf(start.directory);
    const used = user === null ? undefined : uses.get(user);
    if (user === null || used === undefined) return;
    const missing = await overAlarms(start.signal, () => files.use(user, [...used.keys()], AbortSignal.any([closing.signal, start.signal])));
    await pushFiles(missing.map((sha256) => used.get(sha256)!), pushingFor(start));
  };
  const pushingFor = (start: ProgramStart): PushOptions => {
    const { directory, signal, outputs: { stderr } } = start;
    const user = ownerOf(directory);
    return { signal, ...(user === null ? {} : { user }), say: (text) => void said.set(stderr, `${said.get(stderr) ?? ""}[trainyard] ${text}\n`) };
  };
  /** What an earlier stage left at home (a preprocess stage's files), and what the program is to read of its own attempt's, goes to the host before it is told of it. The real path decides: no `..` and
   *  no link in what a stage names leads to another file of home's. */
  const bring = async (start: ProgramStart): Promise<(text: string) => string> => {
    const texts = [...start.argv, ...Object.values(start.environment)];
    const ofOthers = texts.flatMap((text) => pathsBelow(text, attemptsRoot)).filter((path) => !isBelow(start.directory.root, path) && realPathInside(attemptsRoot, attemptsRoot, path) !== null && statSync(path, { throwIfNoEntry: false })?.isFile() === true);
    const paths = [...new Set([...ofOthers, ...(start.reads ?? [])])];
    const sent = await push(paths, pushingFor(start));
    return (text) => there(paths.reduce((result, path, index) => translated(result, path, sent[index]!), text));
  };

  const gpus = createGpuKeeper(async () => {
    const found = await overCuts((helper) => helper.gpus(options.nvidiaSmi));
    const { processes } = found;
    return { listed: nvidiaAnswer(found.gpus), processes: async () => (processes === null ? { kind: "absent" } : { kind: "answered", text: processes.text }), memoryMiB: facts?.memoryMiB ?? 0 };
  }, options.ours);
  let gpusKnown = false;

  return {
    name, link, variables: options.variables,
    secrets: Object.entries(options.variables).flatMap(([variable, value]) => (SECRET.test(variable) ? [value] : [])),
    gpus: {
      ...gpus,
      async report() {
        if (!gpusKnown && !isUp) return [];
        const report = await Promise.race([gpus.report().then((known) => { gpusKnown = true; return known; }), delay(TROUBLE_AFTER_MS, [], { ref: false })]);
        return report;
      },
    },
    cpus: () => options.cpus ?? facts?.cpus ?? 1,
    trouble: () => told,
    barred: () => barred,
    onChange(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    mayHaveBegun: (directory) => statSync(directory.launchFile, { throwIfNoEntry: false }) !== undefined,
    state: (directory) => overCuts(async (helper) => {
      const { begun, launch, status, speechless } = await helper.attempts.state(filesOf(directory));
      return { begun, program: identityOf(helper, launch), status, speechless };
    }),
    start, untilGone,
    outlived: async (program) => (await reach()).facts.realm !== program.realm,
    members: ({ launcher, mark, known }) => overCuts((helper) => helper.members({ launcher: bare(launcher), mark, known: (known ?? []).map(bare) })),
    stop({ launcher, mark, first, known }, graceMs) {
      const until = performance.now() + graceMs;
      return overCuts((helper) => helper.stop({ launcher: bare(launcher), mark, first: first ?? null, known: (known ?? []).map(bare), graceMs: Math.max(0, until - performance.now()) }));
    },
    ask,
    say: (file, text) => void said.set(file, (said.get(file) ?? "") + text),
    follow: (files, failed) => followOverSsh(files, { link, there, overCuts, signal: closing.signal }, failed),
    async artifact(directory, path) {
      const found = await overCuts((helper) => helper.attempts.artifact({ root: there(directory.root), base: there(directory.output), path: there(path) }));
      return found.path === null ? null : { path: found.path, sizeBytes: found.size };
    },
    async removeAttempt({ root: folder }) {
      await reach();
      await overCuts((helper) => helper.attempts.delete({ root: root(), path: there(folder), depth: 3 })).catch(passOverMissing);
      await rm(folder, { recursive: true, force: true });
    },
    async deleteArtifact(path) {
      if (isBelow(attemptsRoot, path)) return deleteCheckpointFiles([attemptsRoot], path);
      await reach();
      const { sharedRoot } = options;
      return (await overCuts((helper) => helper.attempts.delete({ root: sharedRoot !== null && isBelow(sharedRoot, path) ? sharedRoot : root(), path, depth: 4 }))).freed;
    },
    there, here,
    push,
    async removeUnused(keepDays, held) {
      if (keepDays > 0) await reach();
      const holding = held();
      for (const user of uses.keys()) if (!holding.includes(user)) uses.delete(user);
      return keepDays === 0 ? 0 : (await files.sweep(keepDays, holding)).length;
    },
    async stat(paths) {
      await reach();
      const found = await overCuts((helper) => helper.stat(paths.map(there)));
      return found.map((stat): PlaceStat | null => (stat === null || stat.kind === "gone" ? null : { kind: stat.kind, size: stat.size, changedMs: stat.changedMs }));
    },
    async readText(path, limitBytes) {
      await reach();
      return overCuts(async (helper) => {
        const [stat] = await helper.stat([there(path)]);
        if (stat?.kind !== "file" || stat.size > limitBytes) return null;
        const pieces: Buffer[] = [];
        for (let at = 0; ;) {
          const { bytes } = await helper.read(there(path), at, limitBytes);
          if (bytes.length === 0) return Buffer.concat(pieces).toString("utf8");
          pieces.push(bytes);
          at += bytes.length;
        }
      }).catch((error: unknown) => {
        if (error instanceof HelperRefusal) return null;
        throw error;
      });
    },
    async list(path) {
      await reach();
      const entries = await overCuts((helper) => helper.list(there(path))).catch((error: unknown) => {
        if (error instanceof HelperRefusal) return [];
        throw error;
      });
      return entries.flatMap(({ name: entry, kind, size, changedMs }) => (kind === "gone" ? [] : [{ name: entry, kind, size, changedMs }]));
    },
    async freeDisk(path) {
      await reach();
      return overCuts((helper) => helper.attempts.disk(there(path))).then(({ free }) => free, (error: unknown) => {
        if (error instanceof HelperRefusal) return null;
        throw error;
      });
    },
    async writeText(path, text) {
      await asked(WRITE_TEXT, [path], text);
    },
    freePort: async ({ first, last }, from) => JSON.parse(await asked(FREE_PORT, [first, last, from].map(String), "")) as number | null,
    close() {
      if (telling !== null) clearTimeout(telling);
      closing.abort();
      files.close();
      link.close();
    },
  };
}

function bare({ pid, startedAt }: { readonly pid: number; readonly startedAt: string }) {
  return { pid, startedAt };
}

function nvidiaAnswer({ status, text }: { readonly status: number | null; readonly text: string }): NvidiaAnswer {
  if (status === null) return { kind: "absent" };
  return status === 0 ? { kind: "answered", text } : { kind: "failed", reason: `nvidia-smi: ${text.trim().split("\n")[0] ?? ""}`.slice(0, 500) };
}

function wordsOf(error: Error): string {
  return error instanceof SshError ? `${error.code}: ${error.message}` : error.message;
}

function readFacts(file: string): KnownFacts | null {
  try {
    return JSON.parse(readFileSync(file, "utf8")) as KnownFacts;
  } catch {
    return null;
  }
}

function passOverMissing(error: unknown): void {
  if (!(error instanceof HelperRefusal) || error.code !== "FILE_NOT_FOUND") throw error;
}
