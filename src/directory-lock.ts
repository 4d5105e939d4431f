// One living owner per directory: a lock file that names its holder.
//   D1. The file appears whole (written aside, then linked), so a reader never sees half a holder.
//   D2. A holder is dead when its pid is gone or belongs to a later process. A dead holder's lock is replaced by one taker only: takers of one
//       dead holder meet at a second lock named after that holder, and look again once inside it.
//   D3. A holder in another pid namespace (a container on a shared volume) cannot be asked; it counts as alive while it refreshes the file's time.
import { createHash, randomBytes } from "node:crypto";
import { linkSync, readFileSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { identifyProcess, isAlive, pidRealm, type ProcessIdentity } from "./process-identity.js";

/** How often a holder refreshes its lock file, in milliseconds. */
const REFRESH_MS = 5_000;
/** A holder that cannot be asked is dead after this long without a refresh, in milliseconds: four missed refreshes. */
const UNSEEN_HOLDER_TTL_MS = 20_000;

export interface LockHolder extends ProcessIdentity {
  readonly realm: string;
  /** Tells apart two locks of one process. */
  readonly nonce: string;
}

export interface DirectoryLock {
  /** Gives the lock back; harmless when repeated. */
  release(): void;
}

export type LockOutcome = { kind: "held"; lock: DirectoryLock } | { kind: "refused"; holder: LockHolder };

/** Takes the lock at `file`, or says who has it. Waits only for a holder of another pid namespace, at most UNSEEN_HOLDER_TTL_MS. */
export async function acquireDirectoryLock(file: string): Promise<LockOutcome> {
  for (;;) {
    const own = newHolder();
    if (createWhole(file, own)) return { kind: "held", lock: hold(file, own) };
    const holder = readHolder(file);
    if (holder === null) continue; // released, or taken over, since the attempt above
    if (await livesFor(file, holder)) return { kind: "refused", holder };

    const succession = await acquireDirectoryLock(`${file}.${nameOf(holder)}`);
    if (succession.kind === "refused") {
      await delay(20); // another taker is at it; it either becomes the living holder or dies
      continue;
    }
    try {
      if (readHolder(file)?.nonce !== holder.nonce) continue;
      replaceWhole(file, own);
      return { kind: "held", lock: hold(file, own) };
    } finally {
      succession.lock.release();
    }
  }
}

function hold(file: string, own: LockHolder): DirectoryLock {
  const refresh = setInterval(() => {
    try {
      utimesSync(file, new Date(), new Date());
    } catch {
      // The directory may have been removed under a running server; the holder notices that elsewhere.
    }
  }, REFRESH_MS);
  refresh.unref();
  return {
    release() {
      clearInterval(refresh);
      if (readHolder(file)?.nonce === own.nonce) rmSync(file, { force: true });
    },
  };
}

function newHolder(): LockHolder {
  const self = identifyProcess(process.pid);
  if (self === null) throw new Error(`The start time of this process (pid ${process.pid}) cannot be read: neither /proc nor ps answers.`);
  return { ...self, realm: pidRealm(), nonce: randomBytes(8).toString("hex") };
}

/** False as soon as the holder is known to be dead; true once it is known to live. */
async function livesFor(file: string, holder: LockHolder): Promise<boolean> {
  if (holder.realm === pidRealm()) return isAlive(holder);
  const seenAt = modifiedAt(file);
  const deadline = Date.now() + UNSEEN_HOLDER_TTL_MS;
  while (seenAt !== null && Date.now() < deadline) {
    if (modifiedAt(file) !== seenAt) return readHolder(file)?.nonce === holder.nonce;
    if (Date.now() - seenAt > UNSEEN_HOLDER_TTL_MS) return false;
    await delay(200);
  }
  return false;
}

function modifiedAt(file: string): number | null {
  return statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? null;
}

function readHolder(file: string): LockHolder | null {
  try {
    return JSON.parse(readFileSync(file, "utf8")) as LockHolder;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    if (!(error instanceof SyntaxError)) throw error;
    // Not written by this code, or lost its content to a power cut: nobody living can be behind it.
    return { pid: 0, startedAt: "", realm: pidRealm(), nonce: `unreadable ${modifiedAt(file)}` };
  }
}

function nameOf(holder: LockHolder): string {
  return createHash("sha256").update(JSON.stringify([holder.realm, holder.pid, holder.startedAt, holder.nonce])).digest("hex").slice(0, 16);
}

function createWhole(file: string, own: LockHolder): boolean {
  const aside = `${file}.${own.nonce}.new`;
  writeFileSync(aside, JSON.stringify(own), { mode: 0o600, flag: "wx" });
  try {
    linkSync(aside, file);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  } finally {
    rmSync(aside, { force: true });
  }
}

function replaceWhole(file: string, own: LockHolder): void {
  const aside = `${file}.${own.nonce}.new`;
  writeFileSync(aside, JSON.stringify(own), { mode: 0o600, flag: "wx" });
  renameSync(aside, file);
}
