// Files that come over HTTP: streamed to disk with their hash, kept under uploads/<id>/<name> of the data directory.
//   U1. An upload is there whole, with its row, or not at all: it is written in a folder of this process, and moved in the transaction that stores its row.
//   U2. What a process left behind that was killed is removed by the next sweep; what a living one is writing is not touched. An upload that was kept is never swept,
//       whatever database this server is given: only a folder that still carries its mark and has no row is a leftover.
//   U3. At most `atOnce` are taken at a time, none above the limit, none that would fill the disk.

import { createHash } from "node:crypto";
import { mkdir, open, readdir, rename, rm, stat, statfs, writeFile, type FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { formatOf, KNOWN_ENDINGS } from "../data/read/format.js";
import type { Db } from "../db/database.js";
import { isId, newId, type UploadId } from "../domain/ids.js";
import { failpoint } from "../failpoints.js";
import { identifyProcess, isAlive, pidRealm } from "../process-identity.js";
import { UploadError } from "./upload-error.js";

export interface Upload {
  readonly id: UploadId;
  readonly name: string;
  readonly sizeBytes: number;
  /** sha256, hex. */
  readonly contentHash: string;
}

export interface NewUpload {
  readonly name: string;
  /** As announced; null when the sender did not say. */
  readonly announcedBytes: number | null;
  /** sha256 that the sender expects, hex; null when it did not say. */
  readonly expectedHash: string | null;
  /** Name of the token. */
  readonly by: string;
  /** Called when all that can be judged beforehand is in order: now the bytes may come. */
  readonly accepted?: () => void;
  /** Must throw when the sender breaks off. */
  readonly body: AsyncIterable<Uint8Array>;
}

export interface Uploads {
  /** Takes a file. `store` runs in the transaction that keeps it. Throws UploadError. */
  receive(upload: NewUpload, store: (trx: Db, upload: Upload) => Promise<void>): Promise<Upload>;
  /** A kept upload and where its file lies; null when there is none. */
  find(id: UploadId): Promise<(Upload & { readonly file: string }) | null>;
  /** U2. Returns the number of leftovers removed. */
  sweep(): Promise<number>;
}

export interface UploadsOptions {
  readonly db: Db;
  /** Where uploads are kept; made when it is missing. */
  readonly folder: string;
  readonly limitBytes: number;
  /** Default 4. */
  readonly atOnce?: number;
  /** Disk that stays free, in bytes; default 256 MiB. */
  readonly reserveBytes?: number;
  /** Age at which a folder that carries its mark counts as left behind, in milliseconds; default one minute. */
  readonly committingMs?: number;
}

const AT_ONCE = 4;
const RESERVE_BYTES = 256 * 1_048_576;
/** Bytes between two looks at the free space when the size was not announced. */
const LOOK_EVERY_BYTES = 64 * 1_048_576;
const MAX_NAME_BYTES = 200;
const PARTIAL = ".partial-";
/** Stands in a folder that was moved into place until its row is committed. */
const UNCOMMITTED = ".uncommitted";
/** A folder without a row may belong to a transaction that is just committing, here or in another process. */
const COMMITTING_MS = 60_000;
/** Far above the silence after which an upload is ended, in milliseconds. */
const STRANGERS_QUIET_MS = 10 * 60_000;

export function createUploads(options: UploadsOptions): Uploads {
  const { db, folder, limitBytes } = options;
  const atOnce = options.atOnce ?? AT_ONCE;
  const reserve = options.reserveBytes ?? RESERVE_BYTES;
  const partial = join(folder, `${PARTIAL}${ownerMark()}`);
  let underWay = 0;

  async function receive(upload: NewUpload, store: (trx: Db, upload: Upload) => Promise<void>): Promise<Upload> {
    judgeName(upload.name);
    if ((upload.announcedBytes ?? 0) > limitBytes) throw tooLarge();
    if (underWay >= atOnce) throw new UploadError("UPLOADS_BUSY", `${atOnce} uploads are under way, as many as this server takes at once. Try again when one is done.`);
    underWay++; // U3
    const id = newId("upl");
    const place = join(partial, id);
    try {
      await mkdir(place, { recursive: true, mode: 0o700 });
      await lookAtSpace(upload.announcedBytes ?? 0);
      upload.accepted?.();
      const kept = { id, name: upload.name, ...(await write(join(place, upload.name), upload)) };
      failpoint("after-upload-before-commit");
      await db.transaction().execute(async (trx) => { // U1
        await trx.insertInto("uploads").values((eb) => ({ id, name: kept.name, size_bytes: kept.sizeBytes, content_hash: kept.contentHash, created_by: upload.by, created_at: eb.fn<Date>("now") })).execute();
        await store(trx, kept);
        await writeFile(join(place, UNCOMMITTED), "");
        await rename(place, join(folder, id));
      }).catch(async (error: unknown) => {
        // The connection may have been lost after the commit: then the row is there, and the file belongs to it.
        if (await isKept(id)) return;
        await rm(join(folder, id), { recursive: true, force: true });
        throw error;
      });
      await rm(join(folder, id, UNCOMMITTED), { force: true }).catch(() => undefined); // the next sweep tries again
      return kept;
    } catch (error) {
      await rm(place, { recursive: true, force: true }).catch(() => undefined); // the next sweep tries again
      throw isDiskFull(error) ? noSpace(error) : error;
    } finally {
      underWay--;
    }
  }

  async function write(file: string, upload: NewUpload): Promise<{ sizeBytes: number; contentHash: string }> {
    const hash = createHash("sha256");
    const handle = await open(file, "wx", 0o600);
    let sizeBytes = 0;
    try {
      let lookedAt = 0;
      for await (const chunk of upload.body) {
        sizeBytes += chunk.byteLength;
        if (sizeBytes > limitBytes) throw tooLarge();
        if (sizeBytes - lookedAt >= LOOK_EVERY_BYTES) {
          lookedAt = sizeBytes;
          await lookAtSpace(Math.max(0, (upload.announcedBytes ?? 0) - sizeBytes));
        }
        hash.update(chunk);
        await writeAll(handle, chunk);
      }
      await handle.sync();
    } finally {
      await handle.close();
    }
    if (upload.announcedBytes !== null && sizeBytes !== upload.announcedBytes) throw new UploadError("UPLOAD_BROKEN_OFF", `${upload.announcedBytes} bytes were announced and ${sizeBytes} came. Send the file again.`);
    const contentHash = hash.digest("hex");
    if (upload.expectedHash !== null && upload.expectedHash !== contentHash) {
      throw new UploadError("UPLOAD_HASH_MISMATCH", `The bytes that came have the sha256 ${contentHash}; ${upload.expectedHash} was announced. The file changed on the way or while it was read: send it again.`);
    }
    return { sizeBytes, contentHash };
  }

  async function lookAtSpace(needed: number): Promise<void> {
    const { bavail, bsize } = await statfs(folder);
    if (bavail * bsize < needed + reserve) throw noSpace();
  }

  async function isKept(id: UploadId): Promise<boolean> {
    return (await db.selectFrom("uploads").select("id").where("id", "=", id).executeTakeFirst()) !== undefined;
  }

  async function find(id: UploadId) {
    const row = await db.selectFrom("uploads").selectAll().where("id", "=", id).executeTakeFirst();
    return row === undefined ? null : { id, name: row.name, sizeBytes: row.size_bytes, contentHash: row.content_hash, file: join(folder, id, row.name) };
  }

  async function sweep(): Promise<number> {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    let removed = 0;
    const remove = async (name: string) => {
      await rm(join(folder, name), { recursive: true, force: true });
      removed++;
    };
    for (const name of await readdir(folder)) {
      if (name.startsWith(PARTIAL)) {
        if (await isAbandoned(join(folder, name), name.slice(PARTIAL.length))) await remove(name);
      } else if (isId("upl", name)) {
        const mark = join(folder, name, UNCOMMITTED);
        const marked = await stat(mark).catch(() => null);
        if (marked === null || Date.now() - marked.ctimeMs < (options.committingMs ?? COMMITTING_MS)) continue;
        if (await isKept(name)) await rm(mark, { force: true });
        else await remove(name);
      }
    }
    return removed;
  }

  function tooLarge(): UploadError {
    return new UploadError("UPLOAD_TOO_LARGE", `An upload has up to ${limitBytes} bytes (TRAINYARD_UPLOAD_LIMIT_BYTES). Compress or split the file, or put it in a data directory of the server (TRAINYARD_DATA_DIRS) and register it by path.`);
  }

  return { receive, find, sweep };
}

/** Refuses what would be no plain file name, or no data file. */
function judgeName(name: string): void {
  const refuse = (why: string): never => { throw new UploadError("UPLOAD_NAME_REFUSED", `The file name ${JSON.stringify(name.slice(0, 100).toWellFormed())} ${why}`); };
  if (name === "" || name.startsWith(".") || /[\p{C}/\\]/u.test(name)) refuse("is refused: it must be a plain name without folders, control characters or a dot at its beginning. Give another with ?name=.");
  if (Buffer.byteLength(name) > MAX_NAME_BYTES) refuse(`is longer than ${MAX_NAME_BYTES} bytes. Give a shorter one with ?name=.`);
  if (formatOf(name) === null) refuse(`says no data format. Known endings: ${KNOWN_ENDINGS}.`);
}

/** Who writes in a folder: the process, within its boot and container. */
function ownerMark(): string {
  const identity = identifyProcess(process.pid);
  return [createHash("sha256").update(pidRealm()).digest("hex").slice(0, 16), process.pid, Buffer.from(identity?.startedAt ?? "0").toString("hex")].join("-");
}

/** U2. A process of another boot or container cannot be asked: its folder is abandoned when nothing was written there for a while. */
async function isAbandoned(folder: string, mark: string): Promise<boolean> {
  const [realm, pid, startedAt = ""] = mark.split("-");
  if (realm === ownerMark().split("-")[0]) return !isAlive({ pid: Number(pid), startedAt: Buffer.from(startedAt, "hex").toString() });
  const entries = await readdir(folder, { recursive: true }).catch(() => []);
  const changes = await Promise.all(["", ...entries].map(async (entry) => (await stat(join(folder, entry)).catch(() => null))?.ctimeMs ?? 0));
  return Date.now() - Math.max(...changes) > STRANGERS_QUIET_MS;
}

async function writeAll(handle: FileHandle, chunk: Uint8Array): Promise<void> {
  for (let from = 0; from < chunk.byteLength;) from += (await handle.write(chunk, from)).bytesWritten;
}

function isDiskFull(error: unknown): boolean {
  return ["ENOSPC", "EDQUOT"].includes((error as { code?: string } | null)?.code ?? "");
}

function noSpace(cause?: unknown): UploadError {
  return new UploadError("UPLOAD_NO_SPACE", "The disk of the server's data directory has no room for this file. Free space there, or move TRAINYARD_DATA_DIR to a larger disk.", cause);
}
