// What may go wrong with an SSH host, each with a code of its own. A message names the host, the cause and the next step; none holds a credential.

import { TrainyardError } from "../domain/errors.js";

export type SshErrorCode =
  | "SSH_UNREACHABLE" | "SSH_NOT_ANSWERING" | "SSH_HOST_KEY_UNKNOWN" | "SSH_HOST_KEY_CHANGED" | "SSH_AUTH_REFUSED" | "SSH_KEY_UNUSABLE" | "SSH_AGENT_UNUSABLE" | "SSH_ALGORITHMS"
  | "SSH_CONNECTION_LOST" | "SSH_CHANNEL_REFUSED" | "SSH_PYTHON_MISSING" | "SSH_DIRECTORY_REFUSED" | "SSH_DISK_FULL" | "SSH_HELPER_FAILED"
  | "SSH_FILE_MISSING" | "SSH_FILE_CHANGED" | "SSH_FILE_CORRUPT" | "SSH_LOCAL_FILE" | "SSH_TRANSFER_FAILED";

/** Passes by itself, as far as anybody can tell: worth another try without a change. */
const PASSING: ReadonlySet<SshErrorCode> = new Set(["SSH_UNREACHABLE", "SSH_NOT_ANSWERING", "SSH_CONNECTION_LOST", "SSH_CHANNEL_REFUSED"]);

export class SshError extends TrainyardError {
  readonly kind = "CONFLICT";
  declare readonly code: SshErrorCode;
  /** The host as the user calls it. */
  readonly host: string;
  /** The host key that was presented, when the error is about it. */
  readonly hostKey: HostKey | null;
  constructor(code: SshErrorCode, host: string, message: string, options: { cause?: unknown; hostKey?: HostKey } = {}) {
    super(code, `${host}: ${message}`, { retryable: PASSING.has(code), cause: options.cause });
    this.host = host;
    this.hostKey = options.hostKey ?? null;
  }
}

export interface HostKey {
  /** ssh-ed25519, ecdsa-sha2-nistp256, ssh-rsa, …; null when only the fingerprint is known yet. */
  readonly type: string | null;
  /** SHA256:… as ssh-keygen -lf shows it. */
  readonly fingerprint: string;
}

/** An SshError as one thread tells it another; `message` without the name of the host. */
export interface ToldSshError { readonly code: SshErrorCode; readonly host: string; readonly message: string; readonly hostKey: HostKey | null }

export function tellSshError({ code, host, message, hostKey }: SshError): ToldSshError {
  return { code, host, message: message.slice(`${host}: `.length), hostKey };
}

export function hearSshError({ code, host, message, hostKey }: ToldSshError): SshError {
  return new SshError(code, host, message, hostKey === null ? {} : { hostKey });
}
