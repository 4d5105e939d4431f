// A real OpenSSH server for tests, on a high loopback port, with host keys and authorized_keys of its own in a temporary folder. It lets in the user who runs the
// tests, and nobody else. Started as root it needs /run/sshd, as its own service would make it.
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { createConnection } from "node:net";
import { accessSync, appendFileSync, constants, existsSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import type { Credential, HostAccess } from "../../src/hosts/host-access.js";
import { hostKeyOf } from "../../src/hosts/host-key.js";
import type { HostKey } from "../../src/hosts/ssh-error.js";
import { anyFreePort } from "../../src/cli/stack/ports.js";
import { pollUntil } from "../../src/server/embedded/server-process.js";

const PLACES = ["/usr/sbin/sshd", "/usr/local/sbin/sshd", "/opt/homebrew/sbin/sshd"];
const sshd = PLACES.find((path) => {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
});

/** Accounts of services: sshd lets them in and their shell ends at once. */
const mayLogIn = !/\/(?:nologin|false)$/.test(userInfo().shell ?? "");

/** For `describe.skipIf(!sshdIsHere)`. */
export const sshdIsHere = sshd !== undefined && mayLogIn;
if (sshd === undefined) console.warn("NOT RUN: the tests of SSH hosts, because there is no sshd here. Install openssh-server (.ci/run does).");
else if (!mayLogIn) console.warn(`NOT RUN: the tests of SSH hosts, because the account ${userInfo().username} may not log in: its shell is ${userInfo().shell}. Run them as an ordinary user.`);

export type KeyType = "ed25519" | "rsa" | "ecdsa";

export interface OwnSshd {
  readonly port: number;
  /** Holds everything; programs of tests may use it too. */
  readonly folder: string;
  /** The ed25519 host key. */
  readonly hostKey: HostKey;
  /** A key that is let in. */
  readonly privateKey: string;
  readonly publicKey: string;
  /** Everything sshd said. */
  log(): string;
  /** How to reach it, with the key and the pin that are right; parts may be replaced. */
  access(changes?: Partial<HostAccess>): HostAccess;
  /** Makes another user key, and lets it in unless told otherwise. */
  makeKey(type: KeyType, options?: { passphrase?: string; letIn?: boolean }): { readonly privateKey: string; readonly publicKey: string; readonly file: string };
  /** Ends every session and the server: what a reboot of sshd, or a dead network, looks like. */
  kill(): Promise<void>;
  /** Ends the sessions only; the server goes on listening. */
  cutSessions(): number;
  /** Sessions that are open now. */
  sessions(): number;
  /** Starts it again on the same port after kill(). */
  start(): Promise<void>;
  /** Other host keys from the next start on. */
  changeHostKeys(): void;
  stop(): Promise<void>;
}

/** Starts one. `config`: more lines for sshd_config, which win over ours. */
export async function startSshd(options: { config?: readonly string[]; hostKeys?: readonly KeyType[] } = {}): Promise<OwnSshd> {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), "ty-sshd-")));
  const port = await anyFreePort();
  const hostKeys = options.hostKeys ?? ["ed25519", "rsa", "ecdsa"];
  const keygen = (file: string, type: KeyType, passphrase = ""): void => {
    rmSync(file, { force: true });
    execFileSync("ssh-keygen", ["-q", "-t", type, ...(type === "rsa" ? ["-b", "2048"] : []), "-N", passphrase, "-C", "trainyard-test", "-f", file]);
  };
  const makeHostKeys = (): void => hostKeys.forEach((type) => keygen(join(folder, `host_${type}`), type));
  const keyIn = (file: string): HostKey => hostKeyOf(Buffer.from(readFileSync(`${file}.pub`, "utf8").split(" ")[1]!, "base64"));
  makeHostKeys();
  keygen(join(folder, "user"), "ed25519");
  const authorized = join(folder, "authorized_keys");
  writeFileSync(authorized, readFileSync(join(folder, "user.pub")), { mode: 0o600 });
  const logFile = join(folder, "sshd.log");
  writeFileSync(logFile, "");
  writeFileSync(join(folder, "sshd_config"), [
    ...(options.config ?? []), // the first value of a keyword wins
    "ListenAddress 127.0.0.1", `Port ${port}`, ...hostKeys.map((type) => `HostKey ${join(folder, `host_${type}`)}`), `AuthorizedKeysFile ${authorized}`, "StrictModes no", "UsePAM no", "PidFile none",
    "PasswordAuthentication yes", "PermitRootLogin yes", "Subsystem sftp internal-sftp", "MaxStartups 100", "LogLevel VERBOSE", "",
  ].join("\n"));
  if (process.getuid?.() === 0) mkdirSync("/run/sshd", { recursive: true, mode: 0o755 });

  let server: ChildProcess | null = null;
  let keyCount = 0;
  const sessionPids = (): number[] => (server?.pid === undefined ? [] : childrenOf(server.pid));
  const own: OwnSshd = {
    port, folder,
    get hostKey() { return keyIn(join(folder, `host_${hostKeys[0]!}`)); },
    privateKey: readFileSync(join(folder, "user"), "utf8"),
    publicKey: readFileSync(join(folder, "user.pub"), "utf8"),
    log: () => readFileSync(logFile, "utf8"),
    access: (changes = {}) => ({
      name: "gpu1", host: "127.0.0.1", port, username: userInfo().username, credential: { kind: "key", privateKey: own.privateKey, passphrase: null } satisfies Credential, hostKey: own.hostKey, jump: null, ...changes,
    }),
    makeKey(type, { passphrase = "", letIn = true } = {}) {
      const file = join(folder, `key_${++keyCount}`);
      keygen(file, type, passphrase);
      const publicKey = readFileSync(`${file}.pub`, "utf8");
      if (letIn) appendFileSync(authorized, publicKey);
      return { privateKey: readFileSync(file, "utf8"), publicKey, file };
    },
    sessions: () => sessionPids().length,
    cutSessions() {
      const pids = sessionPids();
      for (const pid of pids) killTree(pid);
      return pids.length;
    },
    async kill() {
      const running = server;
      if (running === null) return;
      server = null;
      const children = childrenOf(running.pid!);
      const gone = new Promise<void>((done) => running.once("exit", () => done()));
      running.kill("SIGKILL");
      for (const pid of children) killTree(pid);
      await gone;
    },
    async start() {
      if (server !== null) return;
      const from = readFileSync(logFile, "utf8").length;
      const started = spawn(sshd!, ["-D", "-E", logFile, "-f", join(folder, "sshd_config")], { stdio: ["ignore", "ignore", "pipe"] });
      let said = "";
      started.stderr.on("data", (chunk: Buffer) => { said += chunk.toString(); });
      server = started;
      const up = await pollUntil(async () => started.exitCode !== null || (own.log().slice(from).includes("Server listening") && (await answers(port))), 20_000);
      if (!up || started.exitCode !== null) throw new Error(`sshd did not start: ${said}${own.log()}`);
    },
    changeHostKeys: makeHostKeys,
    async stop() {
      await own.kill();
      rmSync(folder, { recursive: true, force: true });
    },
  };
  await own.start();
  return own;
}

/** Whether an SSH server greets there. */
function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection({ host: "127.0.0.1", port });
    const end = (is: boolean): void => { socket.destroy(); resolve(is); };
    socket.once("data", () => end(true));
    socket.once("error", () => end(false));
    socket.setTimeout(2_000, () => end(false));
  });
}

function childrenOf(pid: number): number[] {
  const file = `/proc/${pid}/task/${pid}/children`;
  return existsSync(file) ? readFileSync(file, "utf8").split(" ").filter((word) => word !== "").map(Number) : [];
}

/** sshd's processes of one session. Programs that it started in sessions of their own live on. */
function killTree(pid: number): void {
  const below = childrenOf(pid);
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // gone meanwhile
  }
  for (const child of below) if (isSshd(child)) killTree(child);
}

function isSshd(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/comm`, "utf8").startsWith("sshd");
  } catch {
    return false;
  }
}
