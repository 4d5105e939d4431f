// SSH hosts as rows: added after their key was confirmed and they let us in, checked, removed. Credentials enter here and leave only as HostAccess, in memory.
//   S1. Nothing is stored of a host that was not reached, did not show the confirmed key, or did not let us in.
//   S2. A changed key is remembered: from then on every process refuses before it connects, until the host is removed and added again.
//   S3. No row that leaves this file holds a credential, sealed or open.
//   S4. A host has one server: `served_by` is "ssh" for an agent that acts for it over SSH, "agent" for its own (host-deployments.ts changes it, in a transaction that holds the row, when
//       neither holds an attempt there). Whoever acts over SSH reads it anew before it opens a session for the host, and leaves the host alone while it says "agent".

import { homedir } from "node:os";
import { isAbsolute } from "node:path";
import type { Selectable } from "kysely";
import type { Database } from "../db/tables.js";
import { excerpt, ConflictError, InvalidInputError, NotFoundError, type Problem } from "../domain/errors.js";
import { isId, newId, type SshHostId } from "../domain/ids.js";
import { NAME_PATTERN } from "../domain/pipeline/spec.js";
import { connectHost, readHostKey } from "../hosts/connection.js";
import { JUMP_LIMIT, type Credential, type HostAccess } from "../hosts/host-access.js";
import { checkHost, type HostReport } from "../hosts/host-check.js";
import { HOST_KEY_TYPES, isFingerprint } from "../hosts/host-key.js";
import { remotePath } from "../hosts/remote-path.js";
import { configuredHost, type ConfiguredHost } from "../hosts/ssh-config.js";
import { SshError, type HostKey } from "../hosts/ssh-error.js";
import { isHostSetting } from "./host-settings.js";
import type { SealedSecrets } from "./sealed-secrets.js";
import type { AccessDb } from "./tokens.js";

type StoredHost = Selectable<Database["ssh_hosts"]>;
/** A host without anything secret (S3). */
export type SshHostRow = Omit<StoredHost, "sealed_secret" | "sealed_passphrase" | "sealed_environment" | "key_path">;

export const DEFAULT_WORKING_DIRECTORY = "~/.trainyard";
const COLUMNS = [
  "id", "name", "host", "port", "username", "credential", "jump_host_id", "working_directory", "python_environment", "command_prefix", "environment_names", "host_key_type", "host_key_fingerprint",
  "alarm_at", "alarm_fingerprint", "created_by", "created_at", "served_by",
] as const satisfies readonly (keyof SshHostRow)[];
const SSH_PORT = 22;
const VARIABLE = /^[A-Za-z_][A-Za-z0-9_]{0,199}$/;

export interface NewSshHost {
  readonly name: string;
  /** Name, address, or a name of ~/.ssh/config of the control plane's user. */
  readonly host: string;
  readonly port: number;
  readonly username: string;
  readonly privateKey: string | null;
  readonly privateKeyPath: string | null;
  readonly passphrase: string | null;
  readonly password: string | null;
  readonly useSshAgent: boolean;
  /** Name of a host that was added before. */
  readonly jump: string | null;
  readonly workingDirectory: string | null;
  readonly pythonEnvironment: string | null;
  readonly commandPrefix: readonly string[];
  readonly environment: Readonly<Record<string, unknown>>;
  readonly hostKeyFingerprint: string | null;
}

/** What an agent needs to act for a host. */
export interface OpenedHost {
  readonly row: SshHostRow;
  readonly access: HostAccess;
  readonly environment: Readonly<Record<string, string>>;
}

export interface SshHosts {
  list(): Promise<SshHostRow[]>;
  /** Null when there is none. */
  find(id: string): Promise<SshHostRow | null>;
  /** S1. `audit` writes the row of the accepted order in the same transaction. Throws InvalidInputError, ConflictError, SshError, SealError. */
  add(input: NewSshHost, by: string, audit: (trx: AccessDb, id: string) => Promise<void>): Promise<SshHostRow>;
  /** Throws NotFoundError. What stands in the way of a connection is thrown as SshError or SealError. */
  check(id: string): Promise<HostReport>;
  /** Throws NotFoundError, ConflictError. */
  remove(id: string, audit: (trx: AccessDb) => Promise<void>): Promise<SshHostRow>;
  /** Opens a host's credentials. Throws NotFoundError, SealError, and SshError while its key alarm stands (S2). */
  open(id: string): Promise<OpenedHost>;
  /** Remembers that another key was shown (S2); other errors are ignored. */
  noteAlarm(id: string, error: unknown): Promise<void>;
}

/** Rows by id, in no order. */
export function readSshHosts(db: AccessDb, ids: readonly SshHostId[]): Promise<SshHostRow[]> {
  return db.selectFrom("ssh_hosts").select(COLUMNS).where("id", "in", ids).execute();
}

export function createSshHosts({ db, secrets, agentSocket, home = homedir() }: { db: AccessDb; secrets: SealedSecrets; agentSocket: string | undefined; /** Of the user whose ~/.ssh/config is read. */ home?: string }): SshHosts {
  const stored = async (id: string): Promise<StoredHost> => {
    const row = isId("ssh", id) ? await db.selectFrom("ssh_hosts").selectAll().where("id", "=", id).executeTakeFirst() : undefined;
    if (row === undefined) throw new NotFoundError("SSH host", id);
    return row;
  };
  const accessOf = async (row: StoredHost, depth = 0): Promise<HostAccess> => {
    if (row.alarm_at !== null) { // S2
      throw new SshError("SSH_HOST_KEY_CHANGED", row.name, `ITS HOST KEY HAS CHANGED: on ${row.alarm_at.toISOString()} it showed ${row.alarm_fingerprint ?? "no key of the confirmed type"} instead of ${row.host_key_fingerprint}. Nobody connects to it. Find out why on the host itself; if the new key is right, remove the host and add it again.`);
    }
    if (depth > JUMP_LIMIT) throw new ConflictError("SSH_JUMP_REFUSED", `${row.name} is reached over more than ${JUMP_LIMIT} jump hosts.`);
    const open = (sealed: string | null, part: string): string | null => (sealed === null ? null : secrets.open(sealed, contextOf(row.id, part)));
    const passphrase = open(row.sealed_passphrase, "passphrase");
    const credential = ((): Credential => {
      switch (row.credential) {
        case "key": return { kind: "key", privateKey: open(row.sealed_secret, "secret") ?? "", passphrase };
        case "key-file": return { kind: "key-file", path: row.key_path ?? "", passphrase };
        case "password": return { kind: "password", password: open(row.sealed_secret, "secret") ?? "" };
        case "agent": return { kind: "agent", socket: agentSocket ?? "" };
      }
    })();
    return {
      name: row.name, host: row.host, port: row.port, username: row.username, credential, hostKey: { type: row.host_key_type, fingerprint: row.host_key_fingerprint },
      jump: row.jump_host_id === null ? null : await accessOf(await stored(row.jump_host_id), depth + 1),
    };
  };

  const hosts: SshHosts = {
    list: () => db.selectFrom("ssh_hosts").select(COLUMNS).orderBy("name").execute(),
    find: async (id) => (isId("ssh", id) ? ((await db.selectFrom("ssh_hosts").select(COLUMNS).where("id", "=", id).executeTakeFirst()) ?? null) : null),

    async add(input, by, audit) {
      const configured = configuredHost(input.host, home);
      const problems = inputProblems(input, configured, agentSocket);
      if (problems.length > 0) throw new InvalidInputError(`The host cannot be added: ${problems[0]!.message}`, problems);
      await refuseTaken(db, input.name);
      const jumpName = input.jump ?? jumpOf(configured);
      const jump = jumpName === null ? null : await jumpHost(db, jumpName, input.jump === null);
      const credential = credentialOf(input, configured, agentSocket);
      const address = { host: configured?.hostName ?? input.host, port: input.port === SSH_PORT ? (configured?.port ?? SSH_PORT) : input.port, username: input.username };
      const bare: HostAccess = { name: input.name, ...address, credential, hostKey: null, jump: jump === null ? null : await accessOf(jump) };
      const hostKey = await confirmedKey(bare, input.hostKeyFingerprint);
      const connection = await connectHost({ ...bare, hostKey }); // S1
      connection.end();
      const id = newId("ssh");
      const seal = (text: string | null, part: string): string | null => (text === null ? null : secrets.seal(text, contextOf(id, part)));
      const environment = Object.entries(input.environment).map(([key, value]): [string, string] => [key, String(value)]);
      return db.transaction().execute(async (trx) => {
        const row = await trx.insertInto("ssh_hosts").values({
          id, name: input.name, ...address, credential: credential.kind,
          sealed_secret: seal(credential.kind === "key" ? credential.privateKey : credential.kind === "password" ? credential.password : null, "secret"),
          key_path: credential.kind === "key-file" ? credential.path : null,
          sealed_passphrase: seal("passphrase" in credential ? credential.passphrase : null, "passphrase"),
          jump_host_id: jump?.id ?? null, working_directory: remotePath(input.workingDirectory ?? DEFAULT_WORKING_DIRECTORY)!, python_environment: input.pythonEnvironment === null ? null : remotePath(input.pythonEnvironment),
          command_prefix: [...input.commandPrefix], sealed_environment: environment.length === 0 ? null : seal(JSON.stringify(Object.fromEntries(environment)), "environment"), environment_names: environment.map(([key]) => key).sort(),
          host_key_type: hostKey.type!, host_key_fingerprint: hostKey.fingerprint, alarm_at: null, alarm_fingerprint: null, created_by: by, created_at: new Date(),
        }).onConflict((conflict) => conflict.column("name").doNothing()).returning(COLUMNS).executeTakeFirst();
        if (row === undefined) throw taken(input.name);
        await audit(trx, row.id);
        return row;
      });
    },

    async check(id) {
      const row = await stored(id);
      try {
        return await checkHost(await accessOf(row), { workingDirectory: row.working_directory, pythonEnvironment: row.python_environment });
      } catch (error) {
        await hosts.noteAlarm(id, error);
        throw error;
      }
    },

    async remove(id, audit) {
      const { name } = await stored(id);
      return db.transaction().execute(async (trx) => {
        const behind = await trx.selectFrom("ssh_hosts").select("name").where("jump_host_id", "=", id as SshHostId).orderBy("name").execute();
        if (behind.length > 0) throw new ConflictError("SSH_HOST_IN_USE", `${name} is the jump host of ${behind.map((host) => host.name).join(", ")}. Remove those first.`);
        const deployment = await trx.selectFrom("host_deployments").select(["kind", "state"]).where("host_id", "=", id as SshHostId).forUpdate().executeTakeFirst();
        if (deployment !== undefined && !(deployment.kind === "REMOVE" && deployment.state === "DONE")) throw new ConflictError("SSH_HOST_IN_USE", `${name} has an agent of its own, which would go on without anybody who can reach it. Remove that first: trainyard host deploy ${name} --remove`);
        const running = await trx.selectFrom("assignments as a").innerJoin("agents as g", "g.id", "a.agent_id").select((eb) => eb.fn.countAll<number>().as("count"))
          .where("g.name", "=", name).where("g.run_mode", "=", "SSH").executeTakeFirstOrThrow();
        if (Number(running.count) > 0) throw new ConflictError("SSH_HOST_IN_USE", `${name} still runs ${running.count} attempt${Number(running.count) === 1 ? "" : "s"}. Drain its agent and wait, or cancel them; then remove it.`);
        await trx.deleteFrom("host_deployments").where("host_id", "=", id as SshHostId).execute();
        const row = await trx.deleteFrom("ssh_hosts").where("id", "=", id as SshHostId).returning(COLUMNS).executeTakeFirst();
        if (row === undefined) throw new NotFoundError("SSH host", id);
        await audit(trx);
        return row;
      });
    },

    async open(id) {
      const whole = await stored(id);
      const { sealed_secret: _secret, sealed_passphrase: _passphrase, sealed_environment: sealedEnvironment, key_path: _path, ...row } = whole;
      const environment = sealedEnvironment === null ? {} : (JSON.parse(secrets.open(sealedEnvironment, contextOf(row.id, "environment"))) as Record<string, string>);
      return { row, access: await accessOf(whole), environment };
    },

    async noteAlarm(id, error) {
      if (!(error instanceof SshError) || error.code !== "SSH_HOST_KEY_CHANGED") return;
      // The error may be about a jump host on the way.
      await db.updateTable("ssh_hosts").set({ alarm_at: new Date(), alarm_fingerprint: error.hostKey?.fingerprint ?? null }).where("name", "=", error.host).where("alarm_at", "is", null).execute();
    },
  };
  return hosts;
}

function isAddress(text: string): boolean {
  return text !== "" && text.length <= 255 && !/[\s\0/@]/.test(text);
}

function contextOf(id: SshHostId, part: string): string {
  return `ssh_hosts/${id}/${part}`;
}

/** Everything that is wrong with what was given, before anything is connected. */
function inputProblems(input: NewSshHost, configured: ConfiguredHost | null, agentSocket: string | undefined): Problem[] {
  const problems: Problem[] = [];
  const wrong = (path: string, message: string, hint: string | null = null): void => void problems.push({ path, severity: "ERROR", code: "INVALID_FIELD", message, hint });
  if (!NAME_PATTERN.test(input.name) || input.name.length > 100) wrong("name", "a name has 1 to 100 lower-case letters, digits, '.', '_' or '-', and begins with a letter or digit.");
  if (!isAddress(input.host)) wrong("host", `${JSON.stringify(excerpt(input.host))} is no host name or address.`, "The user goes into username, the port into port.");
  if (input.port < 1 || input.port > 65_535) wrong("port", "a port is a number from 1 to 65535.");
  if (!/^[A-Za-z0-9_][A-Za-z0-9._@-]{0,99}$/.test(input.username)) wrong("username", `${JSON.stringify(excerpt(input.username))} is no user name.`);
  const given = [["privateKey", input.privateKey], ["privateKeyPath", input.privateKeyPath], ["password", input.password], ["useSshAgent", input.useSshAgent || null]].filter(([, value]) => value !== null && value !== "");
  if (given.length > 1) wrong(String(given[1]![0]), `give one of ${given.map(([name]) => String(name)).join(" and ")}, not both.`);
  if (given.length === 0 && configured?.identityFile == null) wrong("privateKey", "there is nothing to log in with.", "Give privateKey, privateKeyPath, password or useSshAgent; or an IdentityFile for this name in ~/.ssh/config of the control plane's user.");
  if (input.privateKeyPath !== null && !isAbsolute(input.privateKeyPath)) wrong("privateKeyPath", "the path of the key must be absolute: it lies on the control plane's machine.");
  if (input.passphrase !== null && (input.password !== null || input.useSshAgent)) wrong("passphrase", "a passphrase belongs to a private key, and none is used.");
  if (input.useSshAgent && agentSocket === undefined) wrong("useSshAgent", "the control plane knows no ssh-agent.", "Start it with SSH_AUTH_SOCK set.");
  if (input.workingDirectory !== null && (remotePath(input.workingDirectory) ?? "~") === "~") wrong("workingDirectory", "it must be absolute or begin with ~/, of letters, digits and . _ + @ - only.");
  if (input.pythonEnvironment !== null && remotePath(input.pythonEnvironment) === null) wrong("pythonEnvironment", "the folder of a venv or conda environment on the host must be absolute or begin with ~/, of letters, digits and . _ + @ - only.");
  if (input.commandPrefix.length > 100 || input.commandPrefix.some((word) => word.includes("\0")) || input.commandPrefix[0] === "") wrong("commandPrefix", "up to 100 words, the first of which is a program.");
  for (const [key, value] of Object.entries(input.environment)) {
    if (!VARIABLE.test(key)) wrong(`environment.${excerpt(key)}`, "it is no name of a variable.");
    else if (/^(TRAINYARD_|LD_PRELOAD$|CUDA_VISIBLE_DEVICES$)/.test(key) && !isHostSetting(key)) wrong(`environment.${key}`, "Trainyard sets it itself, or never lets it through.");
    else if (!["string", "number", "boolean"].includes(typeof value) || String(value).includes("\0") || String(value).length > 32_768) wrong(`environment.${key}`, "its value must be a text, number or boolean.");
    else if (key === "TRAINYARD_AGENT_ADDRESS" && !isAddress(String(value))) wrong(`environment.${key}`, `${JSON.stringify(excerpt(String(value)))} is no host name or address at which other hosts reach this one.`);
    else if (key === "TRAINYARD_AGENT_SHARED_DIR" && !isAbsolute(String(value))) wrong(`environment.${key}`, "a folder that hosts share must be an absolute path, the same on all of them.");
    else if (key === "TRAINYARD_AGENT_CPUS" && !(Number.isInteger(Number(value)) && Number(value) >= 1 && Number(value) <= 65_536)) wrong(`environment.${key}`, "the processors that trainers may count on are a whole number, 1–65,536.");
  }
  if (input.hostKeyFingerprint !== null && !isFingerprint(input.hostKeyFingerprint)) wrong("hostKeyFingerprint", "a fingerprint reads SHA256: and 43 characters, as ssh-keygen -lf shows it.");
  return problems;
}

function credentialOf(input: NewSshHost, configured: ConfiguredHost | null, agentSocket: string | undefined): Credential {
  if (input.privateKey !== null) return { kind: "key", privateKey: input.privateKey, passphrase: input.passphrase };
  if (input.password !== null) return { kind: "password", password: input.password };
  if (input.useSshAgent) return { kind: "agent", socket: agentSocket! };
  return { kind: "key-file", path: input.privateKeyPath ?? configured!.identityFile!, passphrase: input.passphrase };
}

/** The last jump of ProxyJump, without user and port: those are the added host's. */
function jumpOf(configured: ConfiguredHost | null): string | null {
  return configured?.proxyJump?.split(",").at(-1)!.replace(/^[^@]*@/, "").replace(/:\d+$/, "") ?? null;
}

async function jumpHost(db: AccessDb, name: string, fromConfig: boolean): Promise<StoredHost> {
  const row = await db.selectFrom("ssh_hosts").selectAll().where("name", "=", name).executeTakeFirst();
  if (row !== undefined) return row;
  const message = `there is no SSH host ${JSON.stringify(excerpt(name))} to pass through${fromConfig ? " (~/.ssh/config says ProxyJump)" : ""}.`;
  throw new InvalidInputError(`The host cannot be added: ${message}`, [{ path: "jump", severity: "ERROR", code: "INVALID_FIELD", message, hint: "Add the jump host first, under that name." }]);
}

/** The host's key of whatever type has this fingerprint. Throws SshError: with the key that was found when none was confirmed, or another one was. */
async function confirmedKey(access: HostAccess, fingerprint: string | null): Promise<HostKey> {
  const first = await readHostKey(access);
  if (fingerprint === null) {
    throw new SshError("SSH_HOST_KEY_UNKNOWN", access.name, `it shows the ${first.type} host key ${first.fingerprint}. Compare it with what ssh-keygen -lf /etc/ssh/ssh_host_${first.type === "ssh-ed25519" ? "ed25519" : first.type === "ssh-rsa" ? "rsa" : "ecdsa"}_key.pub says on the host, then add the host with that hostKeyFingerprint. Nothing was stored.`, { hostKey: first });
  }
  if (first.fingerprint === fingerprint) return first;
  for (const type of Object.keys(HOST_KEY_TYPES).filter((candidate) => candidate !== first.type)) {
    const shown = await readHostKey(access, { type }).catch((error: unknown) => {
      if (error instanceof SshError && error.code === "SSH_ALGORITHMS") return null; // it has none of that type
      throw error;
    });
    if (shown?.fingerprint === fingerprint) return shown;
  }
  throw new SshError("SSH_HOST_KEY_CHANGED", access.name, `it has no host key ${fingerprint}; it shows ${first.fingerprint} (${first.type}). Compare with what ssh-keygen -lf says on the host itself. Nothing was stored.`, { hostKey: first });
}

async function refuseTaken(db: AccessDb, name: string): Promise<void> {
  const found = await db.selectFrom("ssh_hosts").select("id").where("name", "=", name).executeTakeFirst();
  if (found !== undefined) throw taken(name);
  const agent = await db.selectFrom("agents").select("id").where("name", "=", name).where("run_mode", "=", "LOCAL").executeTakeFirst();
  if (agent !== undefined) throw new ConflictError("SSH_HOST_EXISTS", `An agent of its own has the name ${JSON.stringify(name)}; the agent of an SSH host takes the host's name. Choose another name.`);
}

function taken(name: string): ConflictError {
  return new ConflictError("SSH_HOST_EXISTS", `There is an SSH host ${JSON.stringify(name)} already. Choose another name, or remove that one first.`);
}
