// An SSH host as a place for programs: the helper there does what local-place.ts does here, over a connection that may be cut at any moment.
//   S1. A cut is waited for, whatever was asked. What was asked is asked again, unless asking twice could do harm; a changed host key is waited for too, since only a person can decide.
//   S2. A start whose answer was lost is looked into before it is asked for again. That it was asked for is noted here first, durably: an agent that takes over asks the host.
//   S3. What is known of the host (its directory, its processors) is kept beside the journal: paths mean the same after a restart of ours with the host away.
//   S4. A program has ended when its launcher is gone, or its boot is over; the exit status is then read, and kept here for housekeeping.
//   S5. What an attempt uses of the files that were brought is noted there as soon as they are, and looked at once more before each start: what was swept meanwhile is brought again.

import { rmSync, statSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { HostAccess } from "../../hosts/host-access.js";
import type { HostLink } from "../../hosts/host-link.js";
import type { RemoteLaunch } from "../../hosts/remote-attempts.js";
import { HelperRefusal, type RemoteHelper } from "../../hosts/remote-helper.js";
import { SshError } from "../../hosts/ssh-error.js";
import { isBelow, ownerOf, type AttemptDirectory } from "../attempt/attempt-directory.js";
import { inheritable } from "../attempt/program-environment.js";
import type { ProgramIdentity } from "../journal/records.js";
import { deleteCheckpointFiles } from "../telemetry/checkpoint-files.js";
import { writeDurably } from "./durable-file.js";
import { createGpuKeeper } from "./gpu-keeper.js";
import type { NvidiaAnswer } from "./gpus.js";
import { LaunchError, type Answer, type Place, type PlaceStat, type ProgramStart, type Question, type StartedProgram } from "./place.js";
import { bringFiles } from "./ssh-brought.js";
import { followOverSsh } from "./ssh-following.js";
import { translated } from "./ssh-paths.js";
import { AGAIN_MS, reachHost, TROUBLE_AFTER_MS } from "./ssh-reach.js";
import { FREE_PORT, WRITE_TEXT } from "./ssh-programs.js";

/** Interval of looking whether a program still lives, in milliseconds: one short question over the open connection. */
const LOOK_MS = 250;
/** For a small program of ours, in milliseconds. */
const SMALL_MS = 60_000;
/** Names of a host's variables whose values are redacted. */
const SECRET = /TOKEN|KEY|SECRET|PASS|CREDENTIAL/i;
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

export function createSshPlace(options: SshPlaceOptions): SshPlace {
  const { name, attemptsRoot } = options;
  const host = reachHost(options);
  const { link, closing, facts, reach, overCuts } = host;
  const said = new Map<string, string>();

  const root = (): string => {
    const known = facts();
    if (known === null) throw new Error(`${name} was never reached: nothing is known of its directories.`);
    return join(known.directory, "attempts");
  };
  const there = (text: string): string => (facts() === null ? text : translated(text, attemptsRoot, root()));
  const here = (text: string): string => (facts() === null ? text : translated(text, root(), attemptsRoot));
  const thereIn = (environment: Readonly<Record<string, string | undefined>>): Record<string, string> =>
    Object.fromEntries(Object.entries(environment).flatMap(([key, value]) => (value === undefined ? [] : [[key, there(value)]])));
  const around = (environment: Readonly<Record<string, string | undefined>>) => ({
    environment: thereIn(environment), inherit: inheritable(options.inherited),
    pathFirst: options.pythonEnvironment === null ? null : `${options.pythonEnvironment.replace(/^~/, facts()?.home ?? "~")}/bin`,
  });
  const files = bringFiles(host, name, attemptsRoot, there);
  const say = (file: string, text: string): void => void said.set(file, (said.get(file) ?? "") + text);
  const filesOf = (directory: AttemptDirectory) => ({ root: there(directory.root), owner: ownerOf(directory) ?? "unknown", launch: there(directory.launchFile), exit: there(directory.exitFile) });
  const identityOf = (helper: RemoteHelper, launch: RemoteLaunch | null): ProgramIdentity | null =>
    (launch === null ? null : { pid: launch.pid, startedAt: launch.startedAt, realm: helper.facts.boot === launch.boot ? helper.facts.realm : launch.boot });

  const start = async (asks: ProgramStart): Promise<StartedProgram> => {
    const { directory, argv, environment, workingDirectory, outputs, signal } = asks;
    await reach(signal); // the paths are known then
    const brought = await files.bring(asks, (text) => say(outputs.stderr, `[trainyard] ${text}\n`)).catch((error: unknown) => {
      if (error instanceof SshError) throw new LaunchError(error.code === "SSH_DISK_FULL" ? "DISK_FULL" : error.code === "SSH_DIRECTORY_REFUSED" ? "PERMISSION_DENIED" : "INTERNAL", error.message);
      throw error;
    });
    const words = said.get(outputs.stderr) ?? "";
    const attempt = filesOf(directory);
    const request = { ...around(environment), argv: [...options.commandPrefix, ...argv].map(brought), environment: Object.fromEntries(Object.entries(environment).map(([key, value]) => [key, brought(value)])) };
    for (let asked = false; ;) {
      const helper = await reach(asked ? undefined : signal);
      try {
        if (asked) { // S2
          const state = await helper.attempts.state(attempt);
          if (state.begun) return following(identityOf(helper, state.launch), directory);
        } else {
          signal.throwIfAborted();
          writeDurably(directory.launchFile, JSON.stringify({ asked: Date.now() }));
          asked = true;
        }
        const { launch } = await helper.attempts.start({
          ...attempt, ...request, make: [directory.root, directory.output, directory.work].map(there),
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
      await delay(LOOK_MS, undefined, { signal: closing });
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

  const gpus = createGpuKeeper(async () => {
    const found = await overCuts((helper) => helper.gpus(options.nvidiaSmi));
    const { processes } = found;
    return { listed: nvidiaAnswer(found.gpus), processes: async () => (processes === null ? { kind: "absent" } : { kind: "answered", text: processes.text }), memoryMiB: facts()?.memoryMiB ?? 0 };
  }, options.ours);
  let gpusKnown = false;

  return {
    name, link, variables: options.variables,
    secrets: Object.entries(options.variables).flatMap(([variable, value]) => (SECRET.test(variable) ? [value] : [])),
    gpus: {
      ...gpus,
      async report() {
        if (!gpusKnown && !host.isUp()) return [];
        const report = await Promise.race([gpus.report().then((known) => { gpusKnown = true; return known; }), delay(TROUBLE_AFTER_MS, [], { ref: false })]);
        return report;
      },
    },
    cpus: () => options.cpus ?? facts()?.cpus ?? 1,
    trouble: host.trouble,
    barred: host.barred,
    onChange: host.onChange,
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
    say,
    follow: (followed, failed) => followOverSsh(followed, { link, there, overCuts, signal: closing }, failed),
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
    push: files.push,
    async removeUnused(keepDays, held) {
      if (keepDays > 0) await reach();
      return files.removeUnused(keepDays, held());
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
      host.close();
      files.close();
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

function passOverMissing(error: unknown): void {
  if (!(error instanceof HelperRefusal) || error.code !== "FILE_NOT_FOUND") throw error;
}
