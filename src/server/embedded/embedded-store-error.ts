// Why an embedded Postgres or Redis is not there. Every message names the folder or file, the cause, and what to do next.
import { TrainyardError } from "../../domain/errors.js";

export type EmbeddedStoreErrorCode =
  /** No binaries exist for this operating system, processor or C library. */
  | "EMBEDDED_PLATFORM_UNSUPPORTED"
  /** The optional package with the binaries is not installed, or cannot be made runnable for the account. */
  | "EMBEDDED_BINARIES_MISSING"
  /** A living process holds this data directory. */
  | "EMBEDDED_STORE_IN_USE"
  /** The account that must run the server cannot enter the data directory. */
  | "EMBEDDED_DIRECTORY_UNREACHABLE"
  /** The data directory was written by another major version. */
  | "EMBEDDED_VERSION_MISMATCH"
  /** A server of this directory runs, but refuses the stored password. */
  | "EMBEDDED_PASSWORD_REFUSED"
  /** The server did not come up, or went away while starting. */
  | "EMBEDDED_START_FAILED"
  /** The server did not end in time, or cannot be signalled. */
  | "EMBEDDED_STOP_FAILED";

export class EmbeddedStoreError extends TrainyardError {
  readonly kind = "UNAVAILABLE";
  readonly facts: Readonly<Record<string, string | number | null>>;
  constructor(
    code: EmbeddedStoreErrorCode,
    message: string,
    facts: Readonly<Record<string, string | number | null>> = {},
    options: { retryable?: boolean; cause?: unknown } = {},
  ) {
    super(code, message, options);
    this.facts = facts;
  }
}

/** What the embedded stores tell while they start and stop; a pino logger fits. */
export interface EmbeddedStoreLog {
  info(facts: object, message: string): void;
  warn(facts: object, message: string): void;
}
