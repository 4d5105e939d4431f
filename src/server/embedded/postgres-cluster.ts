// The files of one embedded PostgreSQL and how they come to be.
//   C1. A cluster appears under its final name only when it is complete: a killed initdb leaves nothing that a start would mistake for data.
//   C2. The password (store-directory.ts) exists before the cluster that knows it.
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { chownSync, existsSync, lchownSync, mkdirSync, readdirSync, readFileSync, readlinkSync, realpathSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { EmbeddedStoreError } from "./embedded-store-error.js";
import type { PostgresBinaries } from "./postgres-binaries.js";
import { identifyProcess, type ProcessIdentity } from "../../process-identity.js";
import { asAccount, closedOnTheWayTo, namedAccount, nameOfWorkingFolder, type ServerAccount } from "./server-account.js";
import { cleanEnvironment, lastLines, readIfThere } from "./server-process.js";

/** Major version of the binaries; a data directory of another one cannot be opened. */
export const POSTGRES_MAJOR = "18";
/** Name of the role and of the database. */
export const POSTGRES_NAME = "trainyard";

/** Begins the names of what one run of initdb works on. No two runs share a name: one whose owner was killed may still be at it, and it cleans up by name. */
const UNFINISHED = "unfinished-";

/** Where everything lies beneath the data directory. */
export interface PostgresFiles {
  readonly store: string;
  readonly data: string;
  readonly password: string;
  readonly owner: string;
  readonly log: string;
  readonly port: string;
}

export function postgresFiles(dataDir: string): PostgresFiles {
  const store = join(dataDir, "postgres");
  return { store, data: join(store, "data"), password: join(store, "password"), owner: join(store, "owner.lock"), log: join(store, "postgres.log"), port: join(store, "port") };
}

/** The name under which a server started in `folder` calls it. Throws EMBEDDED_DIRECTORY_UNREACHABLE where its account cannot get there at all. */
export function workingFolderName(folder: string, account: ServerAccount): string {
  const name = nameOfWorkingFolder(folder, account);
  if (name !== null) return name;
  throw new EmbeddedStoreError(
    "EMBEDDED_DIRECTORY_UNREACHABLE",
    `${folder} lies below ${closedOnTheWayTo(folder, account)}, which uid ${account?.uid} cannot enter. Choose a data directory elsewhere, or run as an ordinary user.`,
    { folder },
  );
}

/** Runs initdb unless the cluster is there (C1). `sync` false leaves out the final flush, for clusters nobody will miss. */
export async function ensureCluster(files: PostgresFiles, binaries: PostgresBinaries, account: ServerAccount, password: string, sync: boolean): Promise<boolean> {
  removeUnfinished(files.store);
  if (existsSync(join(files.data, "PG_VERSION"))) {
    const found = readFileSync(join(files.data, "PG_VERSION"), "utf8").trim();
    if (found === POSTGRES_MAJOR) return false;
    throw new EmbeddedStoreError(
      "EMBEDDED_VERSION_MISMATCH",
      `${files.data} was written by PostgreSQL ${found}; this version of trainyard brings ${POSTGRES_MAJOR}. Use the trainyard version that wrote it, or give another data directory.`,
      { folder: files.data, found },
    );
  }
  const attempt = `${UNFINISHED}${randomBytes(4).toString("hex")}`;
  const fresh = join(files.store, attempt);
  const passwordCopy = `${fresh}-password`;
  mkdirSync(fresh, { mode: 0o700 });
  // initdb, unlike the server, insists on an account with a name. Root can borrow one and hand the files over afterwards.
  const maker = account === null ? null : (namedAccount(account) ?? account);
  try {
    writeFileSync(passwordCopy, `${password}\n`, { mode: 0o600 });
    if (maker !== null) for (const path of [fresh, passwordCopy]) chownSync(path, maker.uid, maker.gid);
    const folder = workingFolderName(fresh, maker);
    await runInitdb(binaries.initdb, fresh, maker, [
      ...["-D", folder, "--pwfile", `${folder}/../${attempt}-password`, "--username", POSTGRES_NAME, "--auth", "scram-sha-256"],
      ...["--encoding", "UTF8", "--locale", "C", "--no-instructions", ...(sync ? [] : ["--no-sync"])],
    ]);
  } finally {
    rmSync(passwordCopy, { force: true });
  }
  if (account !== null && account.uid !== maker?.uid) giveAway(fresh, account.uid, account.gid);
  renameSync(fresh, files.data);
  return true;
}

function removeUnfinished(store: string): void {
  for (const left of readdirSync(store).filter((name) => name.startsWith(UNFINISHED))) {
    try {
      rmSync(join(store, left), { recursive: true, force: true });
    } catch {
      // The initdb of an owner killed just now still writes there; it ends when it notices that nobody reads it, and the next start removes the rest.
    }
  }
}

export interface RunningPostmaster {
  readonly identity: ProcessIdentity;
  readonly port: number;
  /** True once it accepts connections. */
  readonly ready: boolean;
}

/**
 * The living postmaster of this very cluster, as its postmaster.pid tells. "stale": the file names a process that is gone. "foreign": the pid now belongs to
 * another program.
 */
export function findPostmaster(data: string): RunningPostmaster | "none" | "stale" | "foreign" {
  const lines = readIfThere(join(data, "postmaster.pid"))?.split("\n");
  if (lines === undefined) return "none";
  const identity = identifyProcess(Number(lines[0]));
  if (identity === null) return "stale";
  if (!standsIn(identity.pid, data, lines[1])) return "foreign";
  return { identity, port: Number(lines[3] ?? 0), ready: lines[7]?.trim() === "ready" };
}

/**
 * Makes Postgres see a stale or foreign pid for what it is: it would take a stranger, or a killed postmaster that nobody has reaped yet, for a rival. The rest
 * of the file must stay: its shared memory key is how Postgres notices that backends of a killed postmaster still work on the data. Postgres never takes its
 * own parent for a rival, so our pid goes in.
 */
export function disownPidFile(data: string): void {
  const file = join(data, "postmaster.pid");
  const lines = readFileSync(file, "utf8").split("\n");
  writeFileSync(file, [String(process.pid), ...lines.slice(1)].join("\n"));
}

/** Every Postgres process stands in its data directory; a copied directory therefore never adopts the server of the original. */
function standsIn(pid: number, data: string, recorded: string | undefined): boolean {
  if (process.platform !== "linux") return recorded !== undefined && existsSync(recorded) && realpathSync(recorded) === realpathSync(data);
  try {
    return readlinkSync(`/proc/${pid}/cwd`) === realpathSync(data);
  } catch {
    return false; // a process of another account: ours would let us look
  }
}

function giveAway(folder: string, uid: number, gid: number): void {
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) lchownSync(join(entry.parentPath, entry.name), uid, gid);
  chownSync(folder, uid, gid);
}

function runInitdb(binary: string, folder: string, account: ServerAccount, args: readonly string[]): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(binary, args, { cwd: folder, env: cleanEnvironment(), stdio: ["ignore", "pipe", "pipe"], ...asAccount(account) });
    let output = "";
    child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
    child.stderr.on("data", (chunk: Buffer) => (output += chunk.toString()));
    const fail = (what: string, cause?: unknown) =>
      reject(new EmbeddedStoreError("EMBEDDED_START_FAILED", `A PostgreSQL cluster cannot be made in ${folder}: ${what}\n${lastLines(output)}`, { folder }, { cause }));
    child.once("error", (error) => fail(`${binary} cannot be executed (${error.message}). The binaries need glibc; on Alpine and the like set DATABASE_URL.`, error));
    child.once("close", (code, signal) => {
      if (code === 0) return resolve();
      const nameless = output.includes("could not look up effective user ID");
      fail(`initdb ended with ${code ?? signal}.${nameless ? ` It needs an account with a name, and uid ${process.getuid?.()} has none: add a line for it to /etc/passwd, run as another user, or set DATABASE_URL.` : ""} Its last lines:`);
    });
  });
}
