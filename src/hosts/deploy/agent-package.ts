// What an agent needs to run on another host, as one archive: the built program, verl's Python and key tables, and the packages that it imports.
//   K1. The same files give the same hash and the same archive, wherever and whenever they are packed: sorted, without times and owners.
//   K2. What belongs to it is what the bundler saw (dist/agent-files.json, scripts/build.mjs B4) and what those packages say they need; nothing is guessed.
//   K3. Sources, types and maps stay out: Node never reads them.
//   K4. Archives that no deployment used for KEPT_DAYS go when another is made: they can be made again.

import { createHash, randomBytes } from "node:crypto";
import { createReadStream, createWriteStream, existsSync, mkdirSync, readdirSync, readFileSync, realpathSync, renameSync, rmSync, statSync, utimesSync } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import { tarArchive, type TarEntry } from "./tar-writer.js";

export interface PackedFile {
  /** Here. */
  readonly path: string;
  readonly sha256: string;
  readonly sizeBytes: number;
}

export interface AgentPackage {
  readonly version: string;
  /** sha256 of the manifest, which names every file with its own. */
  readonly hash: string;
  /** tar.gz: `manifest`, then the files below `package/`. */
  readonly archive: PackedFile;
  readonly unpackedBytes: number;
}

export interface PackedNode {
  /** Of the binary itself. */
  readonly sha256: string;
  /** v20.19.0 */
  readonly version: string;
  /** The binary, gzipped. */
  readonly archive: PackedFile;
  readonly unpackedBytes: number;
}

/** The package or a part of it is missing here. */
export class AgentPackageError extends Error {
  readonly code = "AGENT_PACKAGE_INCOMPLETE";
}

const LEFT_OUT = /\.(?:map|md|markdown|[cm]?ts|flow)$/i;
const PROGRAM = "dist/agent/deployed-agent.program.js";

/** Packs the agent of the installation at `root`. `folder` keeps archives; one that is there already is used again. Throws AgentPackageError. */
export async function packAgent({ root, folder }: { readonly root: string; readonly folder: string }): Promise<AgentPackage> {
  const files = filesOf(root);
  const entries: TarEntry[] = [];
  for (const [path, source] of [...files].sort(([a], [b]) => (a < b ? -1 : 1))) entries.push({ path: `package/${path}`, executable: ((await stat(source)).mode & 0o100) !== 0, content: await readFile(source) });
  const manifest = Buffer.from(entries.map(({ path, executable, content }) => `${sha256(content)} ${executable ? "x" : "-"} ${path}\n`).join(""));
  const hash = sha256(manifest);
  const archive = await kept(folder, `agent-${hash}.tar.gz`, () => Readable.from(tarArchive([{ path: "manifest", executable: false, content: manifest }, ...entries])));
  const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { version: string };
  return { version, hash, archive, unpackedBytes: entries.reduce((sum, { content }) => sum + content.length, manifest.length) };
}

/** Packs the Node that runs this process. */
export async function packNode({ folder, binary = process.execPath, version = process.version }: { readonly folder: string; readonly binary?: string; readonly version?: string }): Promise<PackedNode> {
  const hash = await fileHash(binary);
  return { sha256: hash, version, archive: await kept(folder, `node-${hash}.gz`, () => createReadStream(binary)), unpackedBytes: statSync(binary).size };
}

/** Path in the package → file here. */
function filesOf(root: string): Map<string, string> {
  const listed = readListed(root);
  const files = new Map<string, string>();
  const take = (path: string): void => {
    const source = join(root, path);
    if (!existsSync(source)) throw new AgentPackageError(`${path} is missing in ${root}. Install trainyard again, or build it (npm run build).`);
    files.set(path, source);
  };
  for (const name of ["package.json", "LICENSE", ...listed.files.map((file) => `dist/${file}`)]) take(name);
  if (!files.has(PROGRAM)) throw new AgentPackageError(`${PROGRAM} is not among the built files. Install trainyard again, or build it (npm run build).`);
  for (const folder of ["src/verl/python", "src/verl/keys"]) for (const file of filesBelow(join(root, folder))) take(`${folder}/${file}`);
  for (const [place, source] of packagesOf(root, listed.packages)) for (const file of filesBelow(source)) if (!LEFT_OUT.test(file)) files.set(`${place}/${file}`, join(source, file)); // K3
  return files;
}

function readListed(root: string): { readonly files: readonly string[]; readonly packages: readonly string[] } {
  try {
    return JSON.parse(readFileSync(join(root, "dist", "agent-files.json"), "utf8")) as { files: string[]; packages: string[] };
  } catch (error) {
    throw new AgentPackageError(`dist/agent-files.json cannot be read in ${root} (${(error as Error).message}). Install trainyard again, or build it (npm run build).`, { cause: error });
  }
}

interface Manifest { readonly dependencies?: Record<string, string>; readonly optionalDependencies?: Record<string, string>; readonly peerDependencies?: Record<string, string>; readonly peerDependenciesMeta?: Record<string, { optional?: boolean }> }

/** K2. Where each package lies in the archive → its folder here. Each lands where Node, walking up, finds for everybody what it finds here. */
function packagesOf(root: string, names: readonly string[]): Map<string, string> {
  const placed = new Map<string, string>();
  const found = (at: string, name: string): string | undefined => {
    for (let up = at; ; up = up.includes("/node_modules/") ? up.slice(0, up.lastIndexOf("/node_modules/")) : "") {
      const here = placed.get(`${up === "" ? "" : `${up}/`}node_modules/${name}`);
      if (here !== undefined || up === "") return here;
    }
  };
  const queue: { readonly at: string; readonly source: string; readonly names: readonly string[] }[] = [{ at: "", source: root, names }];
  for (const { at, source, names: needed } of queue) {
    for (const name of needed) {
      const folder = folderOf(source, name);
      if (folder === null) {
        if (at === "") throw new AgentPackageError(`The package ${name} is missing in ${root}. Install trainyard again.`);
        continue; // optional, or for another system
      }
      const there = found(at, name);
      if (there === folder) continue;
      const place = there === undefined ? `node_modules/${name}` : `${at}/node_modules/${name}`;
      placed.set(place, folder);
      const manifest = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as Manifest;
      const peers = Object.keys(manifest.peerDependencies ?? {}).filter((peer) => manifest.peerDependenciesMeta?.[peer]?.optional !== true);
      queue.push({ at: place, source: folder, names: [...Object.keys(manifest.dependencies ?? {}), ...Object.keys(manifest.optionalDependencies ?? {}), ...peers].sort() });
    }
  }
  return placed;
}

/** As Node looks for it from `from`. */
function folderOf(from: string, name: string): string | null {
  for (let folder = from; ; folder = dirname(folder)) {
    const candidate = join(folder, "node_modules", name);
    if (existsSync(join(candidate, "package.json"))) return realpathSync(candidate);
    if (dirname(folder) === folder) return null;
  }
}

/** Regular files below, relative; packages inside are found on their own. */
function filesBelow(folder: string): string[] {
  const files: string[] = [];
  const look = (at: string): void => {
    for (const entry of readdirSync(at, { withFileTypes: true })) {
      if (entry.isDirectory() && entry.name !== "node_modules" && entry.name !== "__pycache__") look(join(at, entry.name));
      else if (entry.isFile()) files.push(relative(folder, join(at, entry.name)).replaceAll("\\", "/"));
    }
  };
  look(folder);
  return files;
}

/** The gzipped content as a file of the folder, made when it is not there. */
/** K4. */
const KEPT_DAYS = 14;
const ARCHIVE = /^(?:agent-[0-9a-f]{64}\.tar\.gz|node-[0-9a-f]{64}\.gz)(?:\.[0-9a-f]{8})?$/;

async function kept(folder: string, name: string, content: () => Readable): Promise<PackedFile> {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const path = join(folder, name);
  if (!existsSync(path)) {
    forgetUnused(folder);
    const aside = `${path}.${randomBytes(4).toString("hex")}`;
    try {
      await pipeline(content(), createGzip({ level: 6 }), createWriteStream(aside, { mode: 0o600 }));
      renameSync(aside, path);
    } finally {
      rmSync(aside, { force: true });
    }
  }
  utimesSync(path, new Date(), new Date()); // K4
  return { path, sha256: await fileHash(path), sizeBytes: statSync(path).size };
}

function forgetUnused(folder: string): void {
  for (const entry of readdirSync(folder).filter((name) => ARCHIVE.test(name))) {
    const modified = statSync(join(folder, entry), { throwIfNoEntry: false })?.mtimeMs ?? Date.now();
    if (modified < Date.now() - KEPT_DAYS * 86_400_000) rmSync(join(folder, entry), { force: true });
  }
}

async function fileHash(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const piece of createReadStream(path)) hash.update(piece as Buffer);
  return hash.digest("hex");
}

function sha256(content: Buffer): string {
  return createHash("sha256").update(content).digest("hex");
}
