// Errors that a caller is expected to meet. Each has a stable code (docs/errors.md), says whether the same call may succeed later, and tells the reader what
// happened, why, and what to do. Everything that is not a TrainyardError is a bug and is masked at the edge.

/** One thing wrong with a specification or an input. `path` is a JSON path such as `stages[1].dependsOn[0]`; empty for the whole. */
export interface Problem {
  readonly path: string;
  readonly severity: "ERROR" | "WARNING";
  /** Stable and documented, e.g. UNKNOWN_DEPENDENCY. */
  readonly code: string;
  readonly message: string;
  readonly hint: string | null;
}

/** At most this many problems are told at once: nobody reads more, and a hostile document would have millions. */
export const MAX_PROBLEMS = 200;

/** Text from outside as it may stand in a message, whatever its length. */
export function excerpt(text: string): string {
  return text.length <= 100 ? text : `${text.slice(0, 100).toWellFormed()}… (${text.length} characters)`;
}

/** How the API shows an error: which member of a result union carries it. */
export type ErrorKind = "INVALID_INPUT" | "NOT_FOUND" | "CONFLICT" | "FORBIDDEN" | "UNAVAILABLE";

export abstract class TrainyardError extends Error {
  abstract readonly kind: ErrorKind;
  readonly code: string;
  readonly retryable: boolean;
  constructor(code: string, message: string, options: { retryable?: boolean; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = new.target.name;
    this.code = code;
    this.retryable = options.retryable ?? false;
  }
}

/** What was sent cannot be accepted; `problems` names each place. Nothing was stored. */
export class InvalidInputError extends TrainyardError {
  readonly kind = "INVALID_INPUT";
  readonly problems: readonly Problem[];
  constructor(message: string, problems: readonly Problem[], code = "INVALID_INPUT") {
    super(code, message);
    this.problems = problems;
  }
}

/** The named object does not exist, or the caller may not know that it does. */
export class NotFoundError extends TrainyardError {
  readonly kind = "NOT_FOUND";
  constructor(what: string, id: string, code = "NOT_FOUND") {
    super(code, `There is no ${what} ${JSON.stringify(excerpt(id))}. Check the id, or list what exists.`);
  }
}

/** The object is not in a state that allows this. */
export class ConflictError extends TrainyardError {
  readonly kind = "CONFLICT";
  constructor(code: string, message: string, options: { retryable?: boolean } = {}) {
    super(code, message, options);
  }
}

/** The caller's role does not allow this. */
export class ForbiddenError extends TrainyardError {
  readonly kind = "FORBIDDEN";
  constructor(message: string, code = "FORBIDDEN") {
    super(code, message);
  }
}

/** A store or a peer is away for the moment. */
export class UnavailableError extends TrainyardError {
  readonly kind = "UNAVAILABLE";
  constructor(message: string, options: { cause?: unknown } = {}) {
    super("UNAVAILABLE", message, { retryable: true, cause: options.cause });
  }
}

/** A report or renewal that carries a fence which a newer attempt replaced. The agent stops that process. */
export class StaleLeaseError extends TrainyardError {
  readonly kind = "CONFLICT";
  readonly attemptId: string;
  readonly presented: number;
  /** The fence that replaced it; null when the attempt is over and nothing replaced it yet. */
  readonly held: number | null;
  constructor(facts: { attemptId: string; presented: number; held: number | null }) {
    super(
      "STALE_LEASE",
      `Report for ${facts.attemptId} refused: fence ${facts.presented} ${facts.held === null ? "is over" : `was replaced by fence ${facts.held}`}. ` +
        "Stop the process; the next assignment will arrive on its own.",
    );
    this.attemptId = facts.attemptId;
    this.presented = facts.presented;
    this.held = facts.held;
  }
}

/** Makes `switch` exhaustive: a value that reaches it is a bug. */
export function assertNever(value: never): never {
  throw new Error(`Unreachable value: ${JSON.stringify(value)}`);
}
