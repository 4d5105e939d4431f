// Speaks to the helper on a host: installs it by content hash, starts it, asks it, hears from it.
//   C1. The command line is a constant; working directory and everything after it are JSON on standard input. Only the interpreter of a named environment stands in it, as a validated, quoted path.
//   C2. What a login script prints is passed over; whatever else is not a line of the helper's ends it with SSH_HELPER_FAILED.
//   C3. Every question is answered or fails: with the helper's own error, or with the end of the connection. Nothing is asked twice by itself.
//   C4. Pings keep the helper alive and show that it is: one that is silent for SILENCE_MS is given up with its connection.

import { createHash } from "node:crypto";
import type { HostConnection } from "./connection.js";
import { HELPER_BOOTSTRAP, HELPER_PROGRAM } from "./helper-program.js";
import { remoteAttempts, type RemoteAttempts } from "./remote-attempts.js";
import { shellWord } from "./remote-path.js";
import { remoteStore, type RemoteStore } from "./remote-store.js";
import { SshError, type SshErrorCode } from "./ssh-error.js";

const SOURCE = Buffer.from(HELPER_PROGRAM);
/** Names the helper's file on hosts. */
export const HELPER_HASH = createHash("sha256").update(SOURCE).digest("hex");
const START_TIMEOUT_MS = 20_000;
const PING_EVERY_MS = 15_000;
const SILENCE_MS = 45_000;
/** Longest line of the helper; a piece of a file is 256 KiB of base64. */
const LINE_LIMIT = 32 * 1024 * 1024;
const NOISE_LIMIT = 64 * 1024;

/** A process on a host: pid and start time, as src/process-identity.ts has them. */
export interface RemoteProcess { readonly pid: number; readonly startedAt: string }
export interface RemoteStat { readonly kind: "file" | "folder" | "link" | "other" | "gone"; readonly size: number; readonly changedMs: number }

export interface HelperFacts {
  /** Boot of the machine and pid namespace: pids of another one mean nothing here. */
  readonly realm: string;
  readonly boot: string;
  /** The working directory, absolute and real. */
  readonly directory: string;
  readonly home: string;
  readonly python: string;
  /** Processors that the user may use. */
  readonly cpus: number;
  readonly memoryMiB: number;
}

/** What the helper could not do, in its words. */
export class HelperRefusal extends Error {
  readonly code: "COMMAND_NOT_FOUND" | "PERMISSION_DENIED" | "FILE_NOT_FOUND" | "DISK_FULL" | "INTERNAL";
  constructor(code: HelperRefusal["code"], message: string) {
    super(message);
    this.code = code;
  }
}

export interface TailListener {
  /** Bytes of the file from `offset` on, in order and without gaps. */
  bytes(offset: number, bytes: Buffer): void;
  /** The file was truncated or replaced: it follows from 0. */
  restarted(): void;
}

export interface RemoteHelper {
  readonly facts: HelperFacts;
  readonly attempts: RemoteAttempts;
  members(program: { readonly launcher: RemoteProcess; readonly mark: string; readonly known: readonly RemoteProcess[] }): Promise<readonly RemoteProcess[]>;
  /** TERM, or `first` to the program itself; the grace; KILL for what is left, sessions of their own included. Resolves with what could not be ended. */
  stop(program: { readonly launcher: RemoteProcess; readonly mark: string; readonly first: NodeJS.Signals | null; readonly known: readonly RemoteProcess[]; readonly graceMs: number }): Promise<readonly RemoteProcess[]>;
  /** What nvidia-smi says; `status` null: there is none. */
  gpus(program: string): Promise<{ readonly gpus: { readonly status: number | null; readonly text: string }; readonly processes: { readonly text: string } | null }>;
  stat(paths: readonly string[]): Promise<readonly (RemoteStat | null)[]>;
  list(path: string): Promise<readonly (RemoteStat & { readonly name: string })[]>;
  read(path: string, offset: number, length: number): Promise<{ readonly bytes: Buffer; readonly size: number }>;
  /** Follows a file from an offset. Returns how to end it. A file that is not there yet is waited for; a link is never followed. */
  tail(path: string, offset: number, listener: TailListener): () => void;
  /** For files that are brought or fetched. */
  readonly store: RemoteStore;
  /** Resolves when it is over, with the reason; null when we ended it. */
  readonly closed: Promise<Error | null>;
  end(): void;
}

/** Starts the helper on a connection. `pythonEnvironment`: folder of a venv or conda environment whose python3 runs it. Throws SshError. */
export async function startHelper(connection: HostConnection, options: { readonly name: string; readonly directory: string; readonly pythonEnvironment: string | null }): Promise<RemoteHelper> {
  const { name } = options;
  const python = options.pythonEnvironment === null ? "python3" : shellWord(`${options.pythonEnvironment}/bin/python3`);
  const bootstrap = Buffer.from(HELPER_BOOTSTRAP).toString("base64");
  const channel = await connection.exec(`exec ${python} -u -c 'import base64;exec(base64.b64decode("${bootstrap}"))'`); // C1
  const failed = (code: SshErrorCode, message: string): SshError => new SshError(code, name, message);

  return new Promise<RemoteHelper>((resolve, reject) => {
    const waiting = new Map<number, { resolve(value: never): void; reject(error: Error): void }>();
    const tails = new Map<number, TailListener>();
    let count = 0;
    let facts: HelperFacts | null = null;
    let parts: Buffer[] = [];
    let partsLength = 0;
    let noise = 0;
    let said = "";
    let exitCode: number | null = null;
    let over: Error | null | undefined;
    let heardAt = performance.now();
    let sayClosed: (reason: Error | null) => void = () => undefined;
    const closed = new Promise<Error | null>((done) => { sayClosed = done; });

    const finish = (reason: Error | null): void => {
      if (over !== undefined) return;
      over = reason;
      clearTimeout(starting);
      clearInterval(pinging);
      const error = reason ?? failed("SSH_CONNECTION_LOST", "the helper was ended.");
      for (const question of waiting.values()) question.reject(error); // C3
      waiting.clear();
      tails.clear();
      channel.destroy();
      if (facts === null) reject(error);
      sayClosed(reason);
    };
    const ask = <T>(op: string, parameters: object): Promise<T> => {
      if (over !== undefined) return Promise.reject(over ?? failed("SSH_CONNECTION_LOST", "the helper was ended."));
      const id = ++count;
      return new Promise<T>((done, no) => {
        waiting.set(id, { resolve: done as (value: never) => void, reject: no });
        channel.write(`${JSON.stringify({ id, op, ...parameters })}\n`);
      });
    };
    const starting = setTimeout(() => finish(failed("SSH_NOT_ANSWERING", `its helper did not start within ${START_TIMEOUT_MS / 1_000} s. The host may be overloaded, or its home directory hang.`)), START_TIMEOUT_MS);
    const pinging = setInterval(() => {
      if (performance.now() - heardAt > SILENCE_MS) finish(failed("SSH_NOT_ANSWERING", "its helper has fallen silent. Programs there go on; it is connected again.")); // C4
      else if (facts !== null) void ask("ping", {}).catch(() => undefined);
    }, PING_EVERY_MS);
    pinging.unref();

    const hear = (line: string): void => {
      let message: Record<string, unknown>;
      try {
        message = JSON.parse(line) as Record<string, unknown>;
        if (message === null || typeof message !== "object") throw new SyntaxError("no object");
      } catch {
        noise += line.length;
        said = line;
        if (facts !== null || noise > NOISE_LIMIT) finish(failed("SSH_HELPER_FAILED", `something writes into what its helper says: ${JSON.stringify(line.slice(0, 200))}. Keep login scripts of that user quiet.`)); // C2
        return;
      }
      if (facts === null) {
        if (message["need"] === 1) channel.write(SOURCE);
        else if (typeof message["refused"] === "string") finish(refusal(message["refused"], String(message["message"])));
        else if (message["ready"] === 1) {
          facts = message as unknown as HelperFacts;
          clearTimeout(starting);
          resolve(helper(facts));
        }
        return;
      }
      if (typeof message["tail"] === "number") {
        const listener = tails.get(message["tail"]);
        if (message["restart"] === true) listener?.restarted();
        else listener?.bytes(message["offset"] as number, Buffer.from(message["data"] as string, "base64"));
        return;
      }
      const question = waiting.get(message["id"] as number);
      waiting.delete(message["id"] as number);
      const error = message["error"] as { code: HelperRefusal["code"]; message: string } | undefined;
      if (error === undefined) question?.resolve(message["ok"] as never);
      else question?.reject(new HelperRefusal(error.code, error.message));
    };
    const refusal = (code: string, message: string): SshError => code === "ENOSPC" || code === "EDQUOT"
      ? failed("SSH_DISK_FULL", `its disk is full: ${message}. Free space, or name a working directory on a larger disk.`)
      : failed("SSH_DIRECTORY_REFUSED", `the working directory ${options.directory} cannot be used: ${message}. Give the user the right to it, or name another one.`);

    const helper = (found: HelperFacts): RemoteHelper => ({
      facts: found, closed,
      attempts: remoteAttempts(ask),
      members: async (program) => (await ask<{ members: RemoteProcess[] }>("members", program)).members,
      stop: async (program) => (await ask<{ left: RemoteProcess[] }>("stop", program)).left,
      gpus: (program) => ask("gpus", { program }),
      stat: async (paths) => (await ask<{ stats: (RemoteStat | null)[] }>("stat", { paths })).stats,
      list: async (path) => (await ask<{ entries: (RemoteStat & { name: string })[] }>("list", { path })).entries,
      read: async (path, offset, length) => {
        const { data, size } = await ask<{ data: string; size: number }>("read", { path, offset, length });
        return { bytes: Buffer.from(data, "base64"), size };
      },
      tail(path, offset, listener) {
        const key = ++count;
        tails.set(key, listener);
        void ask("tail", { key, path, offset }).catch(() => undefined); // the end of the helper is told by `closed`
        return () => {
          if (tails.delete(key)) void ask("untail", { key }).catch(() => undefined);
        };
      },
      store: remoteStore(ask),
      end: () => finish(null),
    });

    channel.on("data", (chunk: Buffer) => {
      heardAt = performance.now();
      for (let from = 0; from < chunk.length;) {
        const lf = chunk.indexOf(10, from);
        const piece = chunk.subarray(from, lf < 0 ? chunk.length : lf);
        parts.push(piece);
        partsLength += piece.length;
        if (partsLength > LINE_LIMIT) return finish(failed("SSH_HELPER_FAILED", "its helper said more in one line than it ever says."));
        if (lf < 0) return;
        const line = Buffer.concat(parts).toString("utf8");
        parts = [];
        partsLength = 0;
        from = lf + 1;
        hear(line);
        if (over !== undefined) return;
      }
    });
    channel.stderr.on("data", (chunk: Buffer) => { said = (said + chunk.toString("utf8")).slice(-2_000); });
    channel.on("exit", (code: number | null) => { exitCode = code; });
    channel.on("close", () => {
      if (facts !== null) return finish(failed("SSH_CONNECTION_LOST", "its helper ended. Programs there go on; it is started again."));
      if (!connection.isOpen()) return finish(failed("SSH_CONNECTION_LOST", "the connection was lost while its helper started."));
      finish(startFailure(name, exitCode, said, options.pythonEnvironment));
    });
    channel.write(`${JSON.stringify({ directory: options.directory, sha256: HELPER_HASH, size: SOURCE.length })}\n`);
  });
}

/** Why nothing came of the helper. */
function startFailure(name: string, exitCode: number | null, said: string, pythonEnvironment: string | null): SshError {
  const words = said.trim().split("\n").at(-1)?.slice(0, 300) ?? "";
  if (exitCode === 127 || exitCode === 126 || /python3?: (?:command )?not found|no such file/i.test(said)) {
    return new SshError("SSH_PYTHON_MISSING", name, `there is no python3 ${pythonEnvironment === null ? "on the PATH of that user" : `in ${pythonEnvironment}`}${words === "" ? "" : ` (${words})`}. Install Python 3.6 or newer, or name an environment that has it.`);
  }
  return new SshError("SSH_HELPER_FAILED", name, `its helper did not start${exitCode === null ? "" : ` (exit status ${exitCode})`}${words === "" ? "" : `: ${words}`}. Log in by hand and run python3 -V; a login script may end the shell, or a forced command stand in authorized_keys.`);
}
