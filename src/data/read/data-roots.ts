// The folders in which data may lie (TRAINYARD_DATA_DIRS), and how a path that somebody gave becomes a file inside them.
//   D1. A path is judged after every symlink in it was resolved, and what lies outside is refused whether it exists or not: no answer tells what is there.
//   D2. Equal contents of the folders give equal answers in equal order.

import { realpath, stat } from "node:fs/promises";
import { isAbsolute, join, relative, resolve, sep } from "node:path";
import { glob, isDynamicPattern } from "tinyglobby";
import { excerpt, TrainyardError } from "../../domain/errors.js";

/** PATH_REFUSED: outside the data directories. FILE_NOT_FOUND: inside, but there is no such file. */
export class PathRefusedError extends TrainyardError {
  readonly kind = "INVALID_INPUT";
  readonly path: string;
  constructor(code: "PATH_REFUSED" | "FILE_NOT_FOUND", path: string, message: string) {
    super(code, message);
    this.path = path;
  }
}

export interface DataRoots {
  /** Real paths of the files that `pattern` names, sorted. A relative path or glob holds for the first folder, in order, where it names anything. Throws PathRefusedError when it names nothing. */
  expand(pattern: string): Promise<readonly string[]>;
  /** Real path of one file. Throws PathRefusedError. */
  locate(path: string): Promise<string>;
  /** The path inside its data directory, for manifests: it names no folder of the host. */
  relativeName(realPath: string): string;
}

/** Files a glob may name; more is a slip of the pen. */
const MAX_FILES = 10_000;
/** Time a glob may take to search. */
const MAX_WALK_MS = 30_000;

export function createDataRoots(roots: readonly string[]): DataRoots {
  const given = roots.map((root) => resolve(root));
  const named = given.length === 0 ? "none are configured" : `they are ${given.join(", ")}`;
  const known = new Map<string, string>(given.map((root) => [root, root]));

  const realRoots = async (): Promise<readonly string[]> => {
    for (const root of given) known.set(root, await realpath(root).catch(() => root)); // may be mounted or linked anew while we run
    return given.map((root) => known.get(root)!);
  };
  const outside = (path: string) => new PathRefusedError("PATH_REFUSED", path,
    `${excerpt(path)} lies outside the data directories of this host (${named}). Move the file into one of them, or add its folder to TRAINYARD_DATA_DIRS and start again.`);
  const missing = (path: string, what: string) => new PathRefusedError("FILE_NOT_FOUND", path,
    `${what} ${excerpt(path)} in the data directories of this host (${named}). Check the path; files of one host are not on another. Folders are added in TRAINYARD_DATA_DIRS.`);

  /** The file at an absolute path, or null; refuses what lies outside (D1). */
  const fileAt = async (path: string, asked: string, real: readonly string[]): Promise<string | null> => {
    if (!isInside(path, [...given, ...real])) throw outside(asked);
    const target = await realpath(path).catch(() => null);
    if (target === null) return null;
    if (!isInside(target, real)) throw outside(asked);
    return (await stat(target).catch(() => null))?.isFile() === true ? target : null;
  };

  /** Absolute places that `path` may mean. */
  const candidates = (path: string): readonly string[] => {
    if (path.includes("\0") || path === "") throw missing(path, "There is no file");
    if (given.length === 0) throw outside(path);
    if (isAbsolute(path)) return [resolve(path)];
    const places = given.map((root) => join(root, path)).filter((place, index) => isInside(place, [given[index]!])); // a path that climbs out names its folder in full
    if (places.length === 0) throw outside(path);
    return places;
  };

  const locate = async (path: string): Promise<string> => {
    const places = candidates(path);
    const real = await realRoots();
    for (const place of places) {
      const found = await fileAt(place, path, real);
      if (found !== null) return found;
    }
    throw missing(path, "There is no file");
  };

  const matches = async (pattern: string): Promise<readonly string[]> => {
    const cwds = isAbsolute(pattern) ? ["/"] : given;
    const real = await realRoots();
    if (isAbsolute(pattern) && !isInside(resolve("/", fixedPart(pattern)), [...given, ...real])) throw outside(pattern);
    if (!isAbsolute(pattern) && pattern.split("/").includes("..")) throw outside(pattern);
    for (const cwd of cwds) {
      const folder = await realpath(resolve(cwd, fixedPart(pattern))).catch(() => null);
      if (folder !== null && !isInside(folder, real)) throw outside(pattern); // D1
      // Links are followed, as caches of downloads consist of them; one to / must not make an endless walk over the host.
      const signal = AbortSignal.timeout(MAX_WALK_MS);
      const found = await glob(pattern, { cwd, absolute: true, onlyFiles: true, expandDirectories: false, signal }).catch(() => []);
      if (signal.aborted) throw missing(pattern, `The search was given up after ${MAX_WALK_MS / 1_000} s; name a folder more exactly than`);
      if (found.length > MAX_FILES) throw missing(pattern, `More than ${MAX_FILES} files match; there is no room for`);
      const files = new Set<string>();
      for (const path of found) {
        const file = await fileAt(path, pattern, real);
        if (file !== null) files.add(file);
      }
      if (files.size > 0) return [...files].sort();
    }
    throw missing(pattern, "No file matches");
  };

  return {
    locate,
    async expand(pattern) {
      if (!isDynamicPattern(pattern)) return [await locate(pattern)];
      const places = candidates(pattern); // a name may hold brackets and stars of its own
      const real = await realRoots();
      for (const place of places) {
        const found = isInside(place, [...given, ...real]) ? await fileAt(place, pattern, real) : null;
        if (found !== null) return [found];
      }
      return await matches(pattern);
    },
    relativeName(realPath) {
      const root = [...known.values(), ...given].filter((one) => isInside(realPath, [one])).sort((a, b) => b.length - a.length)[0];
      return root === undefined ? (realPath.split(sep).at(-1) ?? realPath) : relative(root, realPath).split(sep).join("/");
    },
  };
}

function isInside(path: string, roots: readonly string[]): boolean {
  return roots.some((root) => path === root || path.startsWith(root.endsWith(sep) ? root : root + sep));
}

/** The folders of a glob before its first special character. */
function fixedPart(pattern: string): string {
  const parts = pattern.split("/");
  const first = parts.findIndex((part) => isDynamicPattern(part));
  return parts.slice(0, first === -1 ? parts.length : first).join("/");
}
