// What `doctor` finds on this machine: Node, disk, the embedded stores' programs, the port.
import { existsSync, statSync } from "node:fs";
import { statfs } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { readConfig, serverConfigSchema } from "../../config.js";
import { installedNativeDir } from "../../server/embedded/postgres-binaries.js";
import { findRedisServer } from "../../server/embedded/redis-binary.js";
import { identifyProcess } from "../../process-identity.js";
import type { Cli } from "../cli.js";
import { bytes } from "../render/quantities.js";
import { readServerNote, tokenFile } from "../stack/data-directory.js";
import { isPortFree } from "../stack/ports.js";
import { failure, ok, unknown, warning, type Check } from "./check.js";

const LOW_DISK_BYTES = 2 * 1024 ** 3;
const FULL_DISK_BYTES = 200 * 1024 ** 2;

export async function checkMachine(cli: Cli): Promise<Check[]> {
  const configuration = checkConfiguration(cli);
  const dataDir = cli.connection().dataDir ?? resolve(cli.workingDirectory, cli.options.dataDir ?? cli.config.TRAINYARD_DATA_DIR ?? ".trainyard");
  return [checkNode(), configuration, await checkDisk(dataDir), checkToken(dataDir), checkPostgres(cli), checkRedis(cli), await checkPort(cli, dataDir)].filter((check) => check !== null);
}

function checkNode(): Check {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  const found = `${process.versions.node} on ${process.platform} ${process.arch}`;
  return major > 20 || (major === 20 && minor >= 19) ? ok("Node", found) : failure("Node", found, "Install Node 20.19 or newer.");
}

function checkConfiguration(cli: Cli): Check {
  try {
    readConfig(serverConfigSchema, cli.environment);
    return ok("configuration", "the variables that are set are valid");
  } catch (error) {
    return failure("configuration", (error as Error).message.replaceAll("\n", " "), "Correct or unset the variables named.");
  }
}

async function checkDisk(dataDir: string): Promise<Check> {
  let folder = dataDir;
  while (!existsSync(folder) && dirname(folder) !== folder) folder = dirname(folder);
  try {
    const { bavail, bsize } = await statfs(folder);
    const free = bavail * bsize;
    const found = `${bytes(free)} free at ${folder}`;
    if (free < FULL_DISK_BYTES) return failure("disk", found, "Free space: PostgreSQL stops when the disk is full.");
    return free < LOW_DISK_BYTES ? warning("disk", found, "Free space soon, or move the data directory with --data-dir; checkpoints are large.") : ok("disk", found);
  } catch (error) {
    return unknown("disk", (error as Error).message);
  }
}

function checkToken(dataDir: string): Check | null {
  const file = tokenFile(dataDir, "admin");
  const stat = statSync(file, { throwIfNoEntry: false });
  if (stat === undefined) return null;
  return (stat.mode & 0o077) === 0 ? ok("token file", `${file} is readable by its owner only`) : failure("token file", `${file} is readable by others`, `Run: chmod 600 ${file}`);
}

function checkPostgres(cli: Cli): Check {
  const external = cli.environment["DATABASE_URL"];
  if (external) return ok("PostgreSQL", "DATABASE_URL names one");
  try {
    return ok("PostgreSQL", `embedded, from ${installedNativeDir()}`);
  } catch (error) {
    return failure("PostgreSQL", (error as Error).message, "Run npm ci without --omit=optional, or set DATABASE_URL.");
  }
}

function checkRedis(cli: Cli): Check {
  if (cli.environment["REDIS_URL"]) return ok("Redis", "REDIS_URL names one");
  if (cli.environment["TRAINYARD_REDIS"] === "off") return ok("Redis", "off; agents use HTTPS");
  const binary = findRedisServer();
  return binary === null ? warning("Redis", "none found; agents use HTTPS, and nothing is missing but speed", "Install redis-server or valkey-server, or set REDIS_URL.") : ok("Redis", `${binary.path} ${binary.version}`);
}

async function checkPort(cli: Cli, dataDir: string): Promise<Check> {
  const note = readServerNote(dataDir);
  if (note !== null && identifyProcess(note.pid) !== null) return ok("port", `a server runs here: ${note.url} (process ${note.pid})`);
  const port = Number(cli.environment["TRAINYARD_PORT"] ?? 7070) || 7070;
  return (await isPortFree(port)) ? ok("port", `${port} is free for \`${cli.self} up\``) : warning("port", `${port} on 127.0.0.1 is taken`, `Start with another: ${cli.self} up --port 0`);
}
