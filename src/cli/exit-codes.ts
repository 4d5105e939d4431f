// What the exit code of every command means, and the errors that carry one. Scripts hold on to these numbers.

export const EXIT = {
  ok: 0,
  /** Something failed, or the server cannot be reached. */
  failure: 1,
  /** Wrong usage, or a specification that is not valid. */
  usage: 2,
  /** The pipeline that was watched FAILED. */
  pipelineFailed: 3,
  /** No token, a refused token, or a role that does not allow this. */
  auth: 4,
  notFound: 5,
  /** The pipeline that was watched was CANCELLED. */
  cancelled: 6,
  /** --timeout passed first. */
  timedOut: 124,
  /** Ctrl-C. */
  interrupted: 130,
} as const;
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** The same for the reader of the documentation, in order. */
export const EXIT_MEANINGS: readonly (readonly [ExitCode, string])[] = [
  [EXIT.ok, "done"],
  [EXIT.failure, "failed, or the server cannot be reached"],
  [EXIT.usage, "wrong usage, or a specification that is not valid"],
  [EXIT.pipelineFailed, "the watched pipeline FAILED"],
  [EXIT.auth, "no token, a refused token, or a role that does not allow this"],
  [EXIT.notFound, "there is no such pipeline, stage, agent, …"],
  [EXIT.cancelled, "the watched pipeline was CANCELLED"],
  [EXIT.timedOut, "the time given by --timeout passed first"],
  [EXIT.interrupted, "Ctrl-C"],
];

/** An expected end of a command: printed as one message and, beneath it, what to do. Anything else that is thrown is a bug. */
export class CliError extends Error {
  readonly exitCode: ExitCode;
  readonly hint: string | null;
  constructor(exitCode: ExitCode, message: string, options: { hint?: string | null; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = new.target.name;
    this.exitCode = exitCode;
    this.hint = options.hint ?? null;
  }
}

/** The server gave no answer at all; the same call may succeed later. */
export class UnreachableError extends CliError {
  constructor(url: string, reason: string, hint: string, cause?: unknown) {
    super(EXIT.failure, `No Trainyard answers at ${url} (${reason}).`, { hint, cause });
  }
}

/** The exit code that tells how a pipeline ended; null while it has not. */
export function exitCodeOf(status: string): ExitCode | null {
  switch (status) {
    case "COMPLETED": return EXIT.ok;
    case "FAILED": return EXIT.pipelineFailed;
    case "CANCELLED": return EXIT.cancelled;
    default: return null;
  }
}
