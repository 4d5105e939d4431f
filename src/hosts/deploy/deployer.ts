// Speaks to the program that installs agents (deploy-program.ts): puts it there by content hash, as the helper is, asks it, and asks again when the connection was cut.
//   Q1. The command line is a constant; only the interpreter of a named environment stands in it, as a validated, quoted path. Everything else is JSON on standard input.
//   Q2. Every operation may be begun again (deploy-program.ts, Y4), so a cut connection is only a wait: up to PATIENCE_MS without a single answer, FIRST_PATIENCE_MS before the first.
//   Q3. Every question has an end.

import { createHash } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import type { ClientChannel } from "ssh2";
import { connectHost, type HostConnection } from "../connection.js";
import { HELPER_BOOTSTRAP } from "../helper-program.js";
import type { HostAccess } from "../host-access.js";
import { retryDelayMs } from "../host-link.js";
import { shellWord } from "../remote-path.js";
import { SshError } from "../ssh-error.js";
import { DeployError } from "./deploy-error.js";
import { DEPLOY_PROGRAM } from "./deploy-program.js";

const SOURCE = Buffer.from(DEPLOY_PROGRAM);
const HASH = createHash("sha256").update(SOURCE).digest("hex");
/** Q2, in milliseconds; a host that was not there at all gets less. */
const PATIENCE_MS = 10 * 60_000;
const FIRST_PATIENCE_MS = 15_000;
const START_MS = 20_000;
const ANSWER_MS = 120_000;
const LINE_LIMIT = 4 * 1024 * 1024;

/** The host's answer was no; `code` is the program's own. */
export class DeployRefusal extends Error {
  readonly code: string;
  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

export interface DeployerOptions {
  readonly access: HostAccess;
  readonly directory: string;
  readonly pythonEnvironment: string | null;
  readonly signal: AbortSignal;
  /** The connection was lost and is tried again; null when it is back. */
  trouble?(error: SshError | null): void;
}

export interface Deployer {
  /** Throws SshError, DeployError for what the host refused, and the signal's reason. `answerMs`: how long one try may take. */
  ask<T>(op: string, parameters?: object, answerMs?: number): Promise<T>;
  close(): void;
}

interface Session { ask(op: string, parameters: object, answerMs: number): Promise<unknown>; readonly connection: HostConnection }

export function openDeployer(options: DeployerOptions): Deployer {
  const { access, signal } = options;
  let session: Session | null = null;
  let heardAt = performance.now();
  let troubled = false;
  let heard = false;
  const close = (): void => {
    session?.connection.end();
    session = null;
  };
  return {
    close,
    async ask<T>(op: string, parameters: object = {}, answerMs = ANSWER_MS): Promise<T> {
      for (let inARow = 0; ;) {
        try {
          session ??= await openSession(options);
          const answer = (await session.ask(op, parameters, answerMs)) as T;
          heardAt = performance.now();
          heard = true;
          if (troubled) options.trouble?.(null);
          troubled = false;
          return answer;
        } catch (error) {
          if (error instanceof DeployRefusal) throw inWords(access.name, error);
          close();
          signal.throwIfAborted();
          if (!(error instanceof SshError) || !error.retryable || performance.now() - heardAt > (heard ? PATIENCE_MS : FIRST_PATIENCE_MS)) throw error; // Q2
          troubled = true;
          options.trouble?.(error);
          await delay(retryDelayMs(inARow++, error, Math.random()), undefined, { signal });
        }
      }
    },
  };
}

async function openSession({ access, directory, pythonEnvironment, signal }: DeployerOptions): Promise<Session> {
  const connection = await connectHost(access, { signal });
  try {
    const python = pythonEnvironment === null ? "python3" : shellWord(`${pythonEnvironment}/bin/python3`);
    const channel = await connection.exec(`exec ${python} -u -c 'import base64;exec(base64.b64decode("${Buffer.from(HELPER_BOOTSTRAP).toString("base64")}"))'`); // Q1
    const ask = await greet(channel, access.name, directory, signal);
    return { ask, connection };
  } catch (error) {
    connection.end();
    throw error;
  }
}

/** Resolves with how to ask, when the program is there and ready. */
function greet(channel: ClientChannel, name: string, directory: string, signal: AbortSignal): Promise<Session["ask"]> {
  return new Promise((resolve, reject) => {
    let waiting: { readonly id: number; resolve(value: unknown): void; reject(error: Error): void } | null = null;
    let ready = false;
    let over: Error | null = null;
    let count = 0;
    let said = "";
    let stderr = "";
    const fail = (error: Error): void => {
      over ??= error;
      clearTimeout(timer);
      signal.removeEventListener("abort", abort);
      reject(error);
      waiting?.reject(error);
      waiting = null;
      channel.destroy();
    };
    const abort = (): void => fail(new SshError("SSH_CONNECTION_LOST", name, "the connection was given up."));
    const timer = setTimeout(() => fail(new SshError("SSH_NOT_ANSWERING", name, `its Python did not start within ${START_MS / 1_000} s. The host may be overloaded.`)), START_MS);
    signal.addEventListener("abort", abort, { once: true });
    const ask: Session["ask"] = (op, parameters, answerMs) => new Promise((done, no) => {
      if (over !== null) return no(over); // it ended between two questions: nobody would answer this one
      const late = setTimeout(() => fail(new SshError("SSH_NOT_ANSWERING", name, `it did not finish (${op}) within ${Math.round(answerMs / 1_000)} s.`)), answerMs); // Q3
      waiting = { id: ++count, resolve: (value) => { clearTimeout(late); done(value); }, reject: (error) => { clearTimeout(late); no(error); } };
      channel.write(`${ascii(JSON.stringify({ id: count, op, ...parameters }))}\n`);
    });
    const hear = (line: string): void => {
      let message: Record<string, unknown>;
      try {
        message = JSON.parse(line) as Record<string, unknown>;
      } catch {
        return; // a login script that talks
      }
      if (message["need"] === 1) channel.write(SOURCE);
      else if (typeof message["refused"] === "string") {
        const full = message["refused"] === "ENOSPC" || message["refused"] === "EDQUOT";
        fail(full
          ? new SshError("SSH_DISK_FULL", name, `its disk is full: ${String(message["message"])}. Free space, or name a working directory on a larger disk.`)
          : new SshError("SSH_DIRECTORY_REFUSED", name, `the working directory ${directory} cannot be used: ${String(message["message"])}. Give the user the right to it, or name another one.`));
      } else if (message["ready"] === 1) {
        ready = true;
        clearTimeout(timer);
        resolve(ask);
      } else if (waiting !== null && message["id"] === waiting.id) {
        const { resolve: answer, reject: refuse } = waiting;
        waiting = null;
        const error = message["error"] as { code: string; message: string } | undefined;
        if (error === undefined) answer(message["ok"]);
        else refuse(new DeployRefusal(error.code, error.message));
      }
    };
    channel.on("data", (chunk: Buffer) => {
      said += chunk.toString("latin1"); // Python writes ASCII
      for (let lf = said.indexOf("\n"); lf >= 0; lf = said.indexOf("\n")) {
        const line = said.slice(0, lf);
        said = said.slice(lf + 1);
        hear(line);
      }
      if (said.length > LINE_LIMIT) fail(new SshError("SSH_HELPER_FAILED", name, "it said more in one line than it ever says."));
    });
    channel.stderr.on("data", (chunk: Buffer) => { stderr = (stderr + chunk.toString("utf8")).slice(-2_000); });
    let exitCode: number | null = null;
    channel.on("exit", (code: number | null) => { exitCode = code; });
    channel.on("close", () => {
      const words = stderr.trim().split("\n").at(-1)?.slice(0, 300) ?? "";
      fail(ready || exitCode === null ? new SshError("SSH_CONNECTION_LOST", name, "the connection was lost. It is tried again.")
        : exitCode === 127 || exitCode === 126 ? new SshError("SSH_PYTHON_MISSING", name, `there is no python3 there${words === "" ? "" : ` (${words})`}. Install Python 3.6 or newer, or name an environment that has it.`)
        : new SshError("SSH_HELPER_FAILED", name, `its Python did not start (exit status ${exitCode})${words === "" ? "" : `: ${words}`}.`));
    });
    channel.write(`${ascii(JSON.stringify({ directory, sha256: HASH, size: SOURCE.length }))}\n`);
  });
}

/** JSON that means the same in every locale. */
function ascii(json: string): string {
  return json.replace(/[^\x20-\x7e]/g, (letter) => `\\u${letter.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

function inWords(name: string, refusal: DeployRefusal): Error {
  const { code, message } = refusal;
  const cause = { cause: refusal };
  switch (code) {
    case "DISK_FULL": return new SshError("SSH_DISK_FULL", name, `its disk is full: ${message}. Free space, or name a working directory on a larger disk.`, cause);
    case "PERMISSION_DENIED": return new SshError("SSH_DIRECTORY_REFUSED", name, `${message}. Give the user the right to it, or name another working directory.`, cause);
    case "NODE_UNFIT": return new DeployError("DEPLOY_HOST_UNFIT", name, `Node does not run there (${message}). Install Node 20.19 or newer on it, or give it a working directory whose file system allows programs.`, cause);
    case "PACKAGE_UNFIT": return new DeployError("DEPLOY_HOST_UNFIT", name, `the agent does not load there: ${message}`, cause);
    case "STILL_RUNNING": return new DeployError("DEPLOY_STILL_RUNNING", name, `${message}. Look at it on the host, then give the order again.`, cause);
    case "BUSY": return new DeployError("DEPLOY_BUSY", name, `${message}. Wait, and give the order again.`, { retryable: true, ...cause });
    default: return new DeployError("DEPLOY_FAILED", name, `${message}. Nothing that runs was changed by this step; give the order again when the cause is gone.`, cause);
  }
}
