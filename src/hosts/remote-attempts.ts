// What the helper does for attempts (helper-attempts.ts), as calls. Each is asked once; who asks again knows whether that is harmless.

import type { RemoteProcess } from "./remote-helper.js";

/** The folder of an attempt, and whose it is. */
export interface AttemptFolder { readonly root: string; readonly owner: string }

export interface EnvironmentRequest {
  readonly environment: Readonly<Record<string, string>>;
  /** Variables of the host's own environment that pass, by name. */
  readonly inherit: readonly string[];
  /** Stands first in PATH: the bin of a Python environment. */
  readonly pathFirst: string | null;
}

export interface StartRequest extends EnvironmentRequest, AttemptFolder {
  readonly argv: readonly string[];
  /** Folders made before. */
  readonly make: readonly string[];
  readonly workingDirectory: string;
  readonly launch: string;
  readonly exit: string;
  readonly stdout: string;
  readonly stderr: string;
  /** Written to `stderr` before the program starts. */
  readonly said?: string;
}

export interface RemoteLaunch extends RemoteProcess { readonly boot: string }

export interface ProgramState {
  /** Whether a launcher has begun. */
  readonly begun: boolean;
  readonly launch: RemoteLaunch | null;
  /** As the launcher's shell gives it; null while there is none. */
  readonly status: number | null;
  readonly alive: boolean;
  /** A launcher has begun and could not write who it is. */
  readonly speechless: boolean;
}

export interface QuestionRequest extends EnvironmentRequest {
  /** Words before the argv; a program that is not there may be where they lead to. */
  readonly prefix: readonly string[];
  readonly argv: readonly string[];
  readonly input: string;
  readonly timeoutMs: number;
}

export type QuestionAnswer =
  | { readonly kind: "answered"; readonly program: string; readonly status: number; readonly stdout: string; readonly stderr: string }
  | { readonly kind: "absent" | "silent" | "failed"; readonly why: string };

export interface RemoteAttempts {
  /** Starts the program unless one was started for this launch file. `launch`: who runs, once the launcher has said so; another pid than ours when another launcher was first. Throws HelperRefusal. */
  start(request: StartRequest): Promise<{ readonly pid: number; readonly launch: RemoteLaunch | null }>;
  /** `program`: whose life is asked about, of this boot; without, that of the launcher that the launch file names. */
  state(files: AttemptFolder & { readonly launch: string; readonly exit: string; readonly program?: RemoteProcess }): Promise<ProgramState>;
  /** Ends, and is ended, with the helper. Returns the answer and the way to give the question up. */
  ask(question: QuestionRequest): { readonly answer: Promise<QuestionAnswer>; giveUp(): void };
  /** What `path` (relative ones begin at `base`) names below `root`, links resolved, and its bytes; path null: nothing there. */
  artifact(where: { readonly root: string; readonly base: string; readonly path: string }): Promise<{ readonly path: string | null; readonly size: number | null }>;
  /** Deletes what lies at least `depth` levels below `root`; with 3, a whole attempt, empty folders above go too. Throws HelperRefusal saying why not. */
  delete(what: { readonly root: string; readonly path: string; readonly depth: number }): Promise<{ readonly freed: number }>;
  /** Bytes that the user may still write there. */
  disk(path: string): Promise<{ readonly free: number }>;
}

export function remoteAttempts(ask: <T>(op: string, parameters: object) => Promise<T>): RemoteAttempts {
  let questions = 0;
  return {
    start: (request) => ask("start", request),
    state: (files) => ask("state", files),
    ask(question) {
      const key = ++questions;
      return { answer: ask("ask", { ...question, key }), giveUp: () => void ask("unask", { key }).catch(() => undefined) };
    },
    artifact: (where) => ask("artifact", where),
    delete: (what) => ask("delete", what),
    disk: (path) => ask("disk", { path }),
  };
}
