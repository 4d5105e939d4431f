// How an SSH host is reached: address, who logs in and with what, and the key that the host must show. Plain data, secrets opened; it lives in memory only.

import type { HostKey } from "./ssh-error.js";

export type Credential =
  | { readonly kind: "key"; /** PEM or OpenSSH form. */ readonly privateKey: string; readonly passphrase: string | null }
  | { readonly kind: "key-file"; /** On this machine; read at each connection. */ readonly path: string; readonly passphrase: string | null }
  | { readonly kind: "password"; readonly password: string }
  | { readonly kind: "agent"; /** Socket of an ssh-agent on this machine. */ readonly socket: string };

export interface HostAccess {
  /** What the user calls it; for messages. */
  readonly name: string;
  /** Host name or address. */
  readonly host: string;
  readonly port: number;
  readonly username: string;
  readonly credential: Credential;
  /** Connections to any other key are refused; null: every connection is refused, with the key that was found. */
  readonly hostKey: HostKey | null;
  /** Connect through this host. */
  readonly jump: HostAccess | null;
}

/** Most hosts that a connection may pass on its way. */
export const JUMP_LIMIT = 4;
