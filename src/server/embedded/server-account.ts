// Under which account an embedded server runs, and what that account can reach.
//   A1. Postgres refuses to run as root, so root hands its servers to an unprivileged uid. No user or group is created on the system.
//   A2. Whoever owns the store already keeps it: files written by one account stay readable to the next start.
import { accessSync, constants, readFileSync, realpathSync, statSync, type Stats } from "node:fs";
import { dirname } from "node:path";

/** The traditional "nobody": owns no files and needs no entry in the account database. */
const UNPRIVILEGED_ID = 65_534;

/** A uid and gid to start a server with; null to start it as ourselves. */
export type ServerAccount = { readonly uid: number; readonly gid: number } | null;

/** The account for a server whose files lie in `store`, a folder beneath `dataDir`; either may be missing yet. */
export function serverAccount(dataDir: string, store: string): ServerAccount {
  if (process.getuid?.() !== 0) return null;
  for (const folder of [store, dataDir]) {
    const owner = statSync(folder, { throwIfNoEntry: false });
    if (owner !== undefined && owner.uid !== 0) return { uid: owner.uid, gid: owner.gid };
  }
  return { uid: UNPRIVILEGED_ID, gid: UNPRIVILEGED_ID };
}

/** `account` if the system knows it by name, else the least of those it does know (root aside); null when it knows none. */
export function namedAccount(account: { uid: number; gid: number }): { uid: number; gid: number } | null {
  const entries = (readFileOrNothing("/etc/passwd").match(/^[^#\n].*$/gm) ?? []).map((line) => {
    const [name = "", , uid, gid] = line.split(":");
    return { name, uid: Number(uid), gid: Number(gid) };
  });
  const usable = entries.filter((entry) => entry.uid > 0 && entry.uid < 2 ** 31 && entry.gid >= 0); // macOS writes nobody as -2
  const chosen = usable.find((entry) => entry.uid === account.uid) ?? usable.find((entry) => entry.name === "nobody") ?? usable.find((entry) => entry.name === "daemon") ?? usable[0];
  if (chosen === undefined) return null;
  return chosen.uid === account.uid ? account : { uid: chosen.uid, gid: chosen.gid };
}

/** The first path that keeps `account` from using `path` (a parent that cannot be entered, or the path itself), or null when nothing does. */
export function unreachableBecauseOf(path: string, account: ServerAccount): string | null {
  const real = realpathSync(path);
  if (account === null) {
    try {
      accessSync(real, isEntered(statSync(real)) ? constants.R_OK | constants.X_OK : constants.R_OK);
      return null;
    } catch {
      return real;
    }
  }
  const closed = closedOnTheWayTo(dirname(real), account);
  if (closed !== null) return closed;
  const leaf = statSync(real);
  return permits(leaf, account, isEntered(leaf) ? 0o5 : 0o4) ? null : real;
}

/** The first folder from the root down to and including `folder` that `account` cannot enter, or null when it can enter all. */
export function closedOnTheWayTo(folder: string, account: ServerAccount): string | null {
  if (account === null) return null;
  const way: string[] = [];
  for (let step = realpathSync(folder); ; step = dirname(step)) {
    way.unshift(step);
    if (dirname(step) === step) break;
  }
  return way.find((step) => !permits(statSync(step), account, 0o1)) ?? null;
}

/** Spawn options that run a program as `account`. */
export function asAccount(account: ServerAccount): { uid?: number; gid?: number } {
  return account === null ? {} : { uid: account.uid, gid: account.gid };
}

/**
 * The name under which a server started *in* `folder` can call it. Below a closed parent (root's home is one) no absolute path works for the server, but
 * Linux lets a process reach the folder it stands in by /proc/self/cwd, whatever lies above. Null where that does not exist and the folder is closed.
 */
export function nameOfWorkingFolder(folder: string, account: ServerAccount): string | null {
  if (closedOnTheWayTo(dirname(folder), account) === null) return folder;
  return process.platform === "linux" && procIsMounted() ? "/proc/self/cwd" : null;
}

function procIsMounted(): boolean {
  return readFileOrNothing("/proc/self/comm") !== "";
}

function readFileOrNothing(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return "";
  }
}

/** Folders and programs are of use only when they can be entered or executed; of other files reading is enough. */
function isEntered(entry: Stats): boolean {
  return entry.isDirectory() || (entry.mode & 0o111) !== 0;
}

/** `wanted` in the bits of one class: 4 read, 2 write, 1 execute or enter. Access lists beyond the mode are not looked at, which errs towards "closed". */
function permits(entry: Stats, account: { uid: number; gid: number }, wanted: number): boolean {
  const shift = entry.uid === account.uid ? 6 : entry.gid === account.gid ? 3 : 0;
  return ((entry.mode >> shift) & wanted) === wanted;
}
