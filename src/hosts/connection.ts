// One SSH connection to a host, shared by all channels. The only place that opens one.
//   H1. A host key is compared with the pinned one before anything is sent about who we are. Without a pin, and on any other key, the connection ends there.
//   H2. A pin names its type: only keys of that type are asked for, so that a server with several keys always shows the pinned one.
//   H3. Modern algorithms only: no SHA-1, no CBC, no DSA, no compression.
//   H4. Keepalives find a dead peer within KEEPALIVE_MS × KEEPALIVE_MISSES; every wait for a host has an end.
//   H5. At most CHANNELS at once on a connection (sshd allows 10) and HANDSHAKES at once in this process: a fleet that comes back does not storm its jump host.
//   H6. sshd counts a session until it has reaped its program, after the channel is closed, and may allow fewer than CHANNELS: a refused session is asked for again until
//       none of this connection was opened or closed for REFUSALS_MS.

import type { Duplex } from "node:stream";
import ssh2, { type Algorithms, type Client, type ClientChannel, type SFTPWrapper } from "ssh2";
import { authMethods } from "./credential.js";
import { JUMP_LIMIT, type HostAccess } from "./host-access.js";
import { HOST_KEY_TYPES, hostKeyOf, sameKey } from "./host-key.js";
import { createSlots } from "./slots.js";
import { SshError, type HostKey } from "./ssh-error.js";

/** Waits for TCP, key exchange and authentication together, in milliseconds. */
export const CONNECT_TIMEOUT_MS = 15_000;
const KEEPALIVE_MS = 10_000;
const KEEPALIVE_MISSES = 3;
/** Wait for a channel to open, in milliseconds. */
const CHANNEL_TIMEOUT_MS = 10_000;
const CHANNELS = 8;
/** How long after the last session came or went one that sshd refuses is asked for again, and the pauses in between, which double up to the longest; in milliseconds. */
const REFUSALS_MS = 3_000;
const REFUSAL_PAUSES_MS = { first: 20, longest: 160 };
const HANDSHAKES = 8;

const ALGORITHMS = {
  kex: [
    "curve25519-sha256", "curve25519-sha256@libssh.org", "ecdh-sha2-nistp256", "ecdh-sha2-nistp384", "ecdh-sha2-nistp521",
    "diffie-hellman-group16-sha512", "diffie-hellman-group18-sha512", "diffie-hellman-group-exchange-sha256", "diffie-hellman-group14-sha256",
  ],
  cipher: ["aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "chacha20-poly1305@openssh.com", "aes256-ctr", "aes192-ctr", "aes128-ctr"],
  hmac: ["hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com", "hmac-sha2-256", "hmac-sha2-512"],
  compress: ["none"],
} as const satisfies Partial<Algorithms>; // H3

export interface HostConnection {
  /** Starts a command in the user's login shell. Callers give constants and validated, quoted paths only. Throws SshError. */
  exec(command: string): Promise<ClientChannel>;
  sftp(): Promise<SFTPWrapper>;
  /** A byte stream from that host to another place. */
  forward(host: string, port: number): Promise<Duplex>;
  /** Resolves when the connection is over, with the reason; null when we ended it. */
  readonly closed: Promise<SshError | null>;
  readonly isOpen: () => boolean;
  /** Ends it, with all channels. May be called twice. */
  end(): void;
}

export interface ConnectOptions {
  /** In milliseconds; CONNECT_TIMEOUT_MS by default. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

/** H5: threads that connect take their place here, too, in the process that started them. */
export const handshakes = createSlots(HANDSHAKES);

/** Connects and logs in. Throws SshError. */
export async function connectHost(access: HostAccess, options: ConnectOptions = {}): Promise<HostConnection> {
  return connect(access, options, access.hostKey, 0);
}

/** The host key that a host shows, of the first type it has, or of `type`. Nobody logs in. Throws SshError. */
export async function readHostKey(access: HostAccess, options: ConnectOptions & { readonly type?: string } = {}): Promise<HostKey> {
  try {
    const connection = await connect({ ...access, hostKey: null }, options, options.type === undefined ? null : { type: options.type, fingerprint: "" }, 0);
    connection.end(); // not reached: without a pin no connection comes about
  } catch (error) {
    if (error instanceof SshError && error.hostKey !== null && error.host === access.name) return error.hostKey;
    throw error;
  }
  throw new Error("a connection without a pinned host key came about");
}

async function connect(access: HostAccess, options: ConnectOptions, pin: HostKey | null, depth: number): Promise<HostConnection> {
  const { name } = access;
  options.signal?.throwIfAborted();
  if (depth > JUMP_LIMIT) throw new SshError("SSH_UNREACHABLE", name, `the way to it passes more than ${JUMP_LIMIT} hosts. Shorten the chain of jump hosts.`);
  const authHandler = pin === null || pin.fingerprint === "" ? [] : authMethods(access);
  const jump = access.jump === null ? null : await connect(access.jump, options, access.jump.hostKey, depth + 1);
  const release = await handshakes.take(options.signal); // H5
  try {
    const socket = jump === null ? null : await jump.forward(access.host, access.port);
    return await handshake(access, options, pin, authHandler, jump, socket);
  } catch (error) {
    jump?.end();
    throw error;
  } finally {
    release();
  }
}

function handshake(access: HostAccess, options: ConnectOptions, pin: HostKey | null, authHandler: ReturnType<typeof authMethods>, jump: HostConnection | null, socket: Duplex | null): Promise<HostConnection> {
  const { name, host, port, username } = access;
  const client = new ssh2.Client();
  let keyError: SshError | null = null;
  let ready = false;
  let endedByUs = false;
  let lastError: Error | null = null;
  let isOpen = false;
  let sayClosed: (reason: SshError | null) => void = () => undefined;
  const closed = new Promise<SshError | null>((done) => { sayClosed = done; });
  const timeoutMs = options.timeoutMs ?? CONNECT_TIMEOUT_MS;

  return new Promise<HostConnection>((resolve, reject) => {
    const abort = (): void => fail(new SshError("SSH_CONNECTION_LOST", name, "the connection was given up."));
    const timer = setTimeout(() => fail(explain(access, Object.assign(new Error("Timed out while waiting for handshake"), { level: "client-timeout" }))), timeoutMs); // H4: ssh2's own limit begins anew with the socket
    const fail = (error: SshError): void => {
      clearTimeout(timer);
      options.signal?.removeEventListener("abort", abort);
      reject(error);
      client.destroy();
    };
    options.signal?.addEventListener("abort", abort);
    client.on("error", (error) => {
      lastError = error;
      if (!ready) fail(keyError ?? explain(access, error));
    });
    client.on("close", () => {
      isOpen = false;
      jump?.end();
      if (!ready) fail(keyError ?? explain(access, lastError ?? new Error("Connection closed before it was ready")));
      else sayClosed(endedByUs ? null : new SshError("SSH_CONNECTION_LOST", name, `the connection was lost${lastError === null ? "" : ` (${lastError.message})`}. Programs on the host go on; it is connected again.`, { cause: lastError }));
    });
    client.on("ready", () => {
      clearTimeout(timer);
      options.signal?.removeEventListener("abort", abort);
      ready = true;
      isOpen = true;
      resolve({
        ...channelsOf(client, name, () => isOpen), closed, isOpen: () => isOpen,
        end() {
          endedByUs = true;
          client.end();
          client.destroy();
        },
      });
    });
    try {
      client.connect({
        host, port, username, authHandler,
        ...(socket === null ? {} : { sock: socket }),
        readyTimeout: timeoutMs, keepaliveInterval: KEEPALIVE_MS, keepaliveCountMax: KEEPALIVE_MISSES,
        algorithms: { ...mutable(ALGORITHMS), serverHostKey: pin?.type == null ? Object.values(HOST_KEY_TYPES).flat() : [...(HOST_KEY_TYPES[pin.type] ?? [])] } as Algorithms, // H2
        hostVerifier: (blob: Buffer): boolean => { // H1
          const shown = hostKeyOf(blob);
          if (pin !== null && pin.fingerprint !== "" && sameKey(pin, shown)) return true;
          keyError = pin === null || pin.fingerprint === ""
            ? new SshError("SSH_HOST_KEY_UNKNOWN", name, `it shows the ${shown.type} host key ${shown.fingerprint}, which nobody has confirmed yet. Compare it with the host's own (on the host: ssh-keygen -lf /etc/ssh/ssh_host_${fileWord(shown.type)}_key.pub) and give it as hostKeyFingerprint.`, { hostKey: shown })
            : new SshError("SSH_HOST_KEY_CHANGED", name, `ITS HOST KEY HAS CHANGED: it shows ${shown.fingerprint} (${shown.type}), and ${pin.fingerprint} was confirmed. Somebody may be in between, or the host was set up anew. Nothing was sent to it. Find out which on the host itself; if the new key is right, remove the host and add it again.`, { hostKey: shown });
          return false;
        },
      });
    } catch (error) {
      fail(explain(access, error as Error));
    }
  });
}

function mutable(algorithms: typeof ALGORITHMS): Partial<Record<keyof typeof ALGORITHMS, string[]>> {
  return Object.fromEntries(Object.entries(algorithms).map(([kind, names]) => [kind, [...names]]));
}

function fileWord(type: string | null): string {
  return type === "ssh-ed25519" ? "ed25519" : type === "ssh-rsa" ? "rsa" : "ecdsa";
}

function channelsOf(client: Client, name: string, isOpen: () => boolean): Pick<HostConnection, "exec" | "sftp" | "forward"> {
  type Closing = { on(event: "close", listener: () => void): unknown };
  type Begin<C> = (callback: (error: Error | undefined, channel: C) => void) => void;
  const slots = createSlots(CHANNELS);
  let wanted = 0;
  let lastChange: number | null = null; // when a session was opened or closed

  const once = <C extends Closing>(what: string, begin: Begin<C>): Promise<C> => new Promise<C>((resolve, reject) => {
    if (!isOpen()) return reject(new SshError("SSH_CONNECTION_LOST", name, "the connection is over."));
    const timer = setTimeout(() => reject(new SshError("SSH_NOT_ANSWERING", name, `it did not open ${what} within ${CHANNEL_TIMEOUT_MS / 1_000} s. Look at sshd on the host.`)), CHANNEL_TIMEOUT_MS);
    const lost = (): void => { clearTimeout(timer); reject(new SshError("SSH_CONNECTION_LOST", name, "the connection was lost while a channel was opened.")); };
    client.once("close", lost);
    begin((error, opened) => {
      clearTimeout(timer);
      client.removeListener("close", lost);
      if (error === undefined || error === null) resolve(opened);
      else reject(new SshError("SSH_CHANNEL_REFUSED", name, `it refused ${what} (${error.message}). sshd's MaxSessions, a forced command or a missing subsystem may be the reason.`, { cause: error }));
    });
  });
  const patiently = async <C extends Closing>(what: string, begin: Begin<C>): Promise<C> => { // H6
    const begun = Date.now();
    for (let pause = REFUSAL_PAUSES_MS.first; ; pause = Math.min(2 * pause, REFUSAL_PAUSES_MS.longest)) {
      try {
        return await once(what, begin);
      } catch (error) {
        if (!(error instanceof SshError && error.code === "SSH_CHANNEL_REFUSED" && (lastChange !== null || wanted > 1) && Date.now() - Math.max(begun, lastChange ?? 0) < REFUSALS_MS)) throw error;
      }
      await new Promise<void>((done) => setTimeout(done, pause));
    }
  };
  const inSlot = async <C extends Closing>(opening: () => Promise<C>): Promise<C> => { // H5
    const release = await slots.take();
    try {
      const channel = await opening();
      channel.on("close", release);
      return channel;
    } catch (error) {
      release();
      throw error;
    }
  };
  const session = async <C extends Closing>(what: string, begin: Begin<C>): Promise<C> => {
    wanted++;
    try {
      const channel = await inSlot(() => patiently(what, begin));
      lastChange = Date.now();
      channel.on("close", () => { lastChange = Date.now(); });
      return channel;
    } finally {
      wanted--;
    }
  };
  return {
    exec: (command) => session("a channel for a program", (callback: (error: Error | undefined, channel: ClientChannel) => void) => client.exec(command, callback)),
    sftp: () => session("a channel for files (SFTP)", (callback: (error: Error | undefined, channel: SFTPWrapper) => void) => client.sftp(callback)),
    forward: (host, port) => inSlot(() => once(`a way to ${host}:${port}`, (callback: (error: Error | undefined, channel: ClientChannel) => void) => client.forwardOut("127.0.0.1", 0, host, port, callback))),
  };
}

const UNREACHABLE: Readonly<Record<string, string>> = {
  ECONNREFUSED: "nothing listens there (connection refused). Start sshd on the host, or correct the port",
  ENOTFOUND: "there is no such host name. Correct it, or use an address",
  EAI_AGAIN: "its name could not be looked up. Check the DNS of this machine",
  ETIMEDOUT: "it does not answer. Check that it is up and that no firewall is in between",
  EHOSTUNREACH: "no way leads there. Check address and network",
  ENETUNREACH: "no way leads there. Check address and network",
};

/** An error of ssh2 in our words. */
function explain(access: HostAccess, error: Error): SshError {
  if (error instanceof SshError) return error;
  const { name, host, port, username, credential, hostKey } = access;
  const at = `${host}:${port}`;
  const { level, code } = error as Error & { level?: string; code?: string };
  const options = { cause: error };
  if (level === "client-timeout") return new SshError("SSH_NOT_ANSWERING", name, `something listens at ${at}, or nothing at all does, but no SSH session came about in time. Check that sshd there is healthy (and not out of memory or start slots) and that no firewall swallows packets.`, options);
  if (level === "client-authentication") {
    const with_ = { key: "this key", "key-file": `the key ${credential.kind === "key-file" ? credential.path : ""}`, password: "this password", agent: "any key of the ssh-agent" }[credential.kind];
    const step = credential.kind === "password" ? "Check user name and password, and that sshd allows passwords (PasswordAuthentication)." : `Add the public key to ~${username}/.ssh/authorized_keys there, or correct the user name.`;
    return new SshError("SSH_AUTH_REFUSED", name, `it does not let ${username} in with ${with_}. ${step}`, options);
  }
  if (level === "agent") return new SshError("SSH_AGENT_UNUSABLE", name, `the ssh-agent does not answer (${error.message}). Check SSH_AUTH_SOCK and ssh-add -l.`, options);
  if (/no matching (host key|key exchange|C->S|S->C)/i.test(error.message)) {
    if (/host key/.test(error.message) && hostKey?.type != null) {
      return new SshError("SSH_HOST_KEY_CHANGED", name, `ITS HOST KEY HAS CHANGED: it no longer has a ${hostKey.type} key, of which ${hostKey.fingerprint} was confirmed. Somebody may be in between, or the host was set up anew. Nothing was sent to it. If that is right, remove the host and add it again.`, options);
    }
    return new SshError("SSH_ALGORITHMS", name, `it offers no algorithm that is still considered safe (${error.message}). Update its sshd, or remove the restrictions in its sshd_config.`, options);
  }
  if (code !== undefined && code in UNREACHABLE) return new SshError("SSH_UNREACHABLE", name, `${at}: ${UNREACHABLE[code]}.`, options);
  if (level === "client-socket" || code !== undefined) return new SshError("SSH_UNREACHABLE", name, `${at}: ${error.message}. Check address, port and network.`, options);
  return new SshError("SSH_NOT_ANSWERING", name, `${at} ended the connection before a session came about (${error.message}). It may be no SSH server, be starting or have too many connections (MaxStartups).`, options);
}
