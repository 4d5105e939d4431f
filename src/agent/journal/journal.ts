// The journal: records appended to segment files, durable when `append` resolves.
//   J1. Records that arrive while a write is under way go out with the next one: many appends share one flush to disk.
//   J2. Order on disk is order of arrival. A batch is on disk whole or not at all once the process lives on; after a crash its torn end is cut off.
//   J3. Each segment begins with a snapshot of what is held, so an old segment is needed only for the reports in it that are not committed.
//   J4. When the disk is full, what is not vital is refused (JournalFullError) and vital records take the reserve; they wait rather than get lost.

import { close, constants, fsync, ftruncate, mkdirSync, open, readFileSync, readdirSync, rmSync, truncateSync, write } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { JournalDamagedError, JournalFullError } from "./journal-errors.js";
import { decodeRecord, type JournalRecord } from "./records.js";
import type { Reserve } from "./reserve.js";

const openFile = promisify(open);
const closeFile = promisify(close);
const flush = promisify(fsync);
const cutFile = promisify(ftruncate);
const writeAt = promisify(write) as unknown as (handle: number, data: Buffer, offset: number, length: number, position: number) => Promise<{ bytesWritten: number }>;

/** Size at which a new segment begins, in bytes. */
export const SEGMENT_BYTES = 8 * 1024 * 1024;
/** Pause before vital records try a full disk again, in milliseconds. */
const FULL_RETRY_MS = 500;

/** Where a record stands: the segment's number and its place in that file, in bytes, line end excluded. */
export interface Place { readonly segment: number; readonly offset: number; readonly length: number }

export interface Entry {
  /** The line; called when the batch is put together, and again if it must be put together anew. */
  line(): string;
  readonly vital: boolean;
  /** It is durable; called in order, before `append` resolves. */
  written?(place: Place): void;
}

export interface JournalOptions {
  readonly directory: string;
  readonly reserve: Reserve;
  /** The line a new segment begins with (J3). */
  snapshot(): string;
  /** A batch is about to be put together. */
  beforeBatch(): void;
  readonly segmentBytes?: number;
}

interface Waiting { readonly entries: readonly Entry[]; readonly resolve: () => void; readonly reject: (error: Error) => void }

export interface Journal {
  /** Resolves when the records are on disk. Rejects with JournalFullError, or with the disk's error, after which the journal accepts nothing more. */
  append(entries: readonly Entry[]): Promise<void>;
  /** Number of the newest segment whose snapshot is on disk. */
  segment(): number;
  /** Removes the segments below this number, of those that a newer snapshot covers. */
  dropBelow(segment: number): void;
  fileOf(segment: number): string;
  close(): Promise<void>;
}

/** Reads every whole record in order. Cuts a torn end off the newest segment. Throws JournalDamagedError. */
export function replayJournal(directory: string, visit: (record: JournalRecord, place: Place) => void): void {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const segments = segmentsIn(directory);
  for (const segment of segments) {
    const file = fileIn(directory, segment);
    const bytes = readFileSync(file);
    let line = 1;
    for (let from = 0; from < bytes.length; line++) {
      const end = bytes.indexOf(10, from);
      const record = end < 0 ? null : decodeRecord(bytes.toString("utf8", from, end));
      if (record === null) {
        if (segment !== segments.at(-1) || hasWholeRecord(bytes, end)) throw new JournalDamagedError(file, line);
        truncateSync(file, from); // J2
        break;
      }
      visit(record, { segment, offset: from, length: end - from });
      from = end + 1;
    }
  }
}

/** Opens a new segment after those that are there. */
export async function openJournal(options: JournalOptions): Promise<Journal> {
  const { directory, reserve } = options;
  const segmentBytes = options.segmentBytes ?? SEGMENT_BYTES;
  let segment = segmentsIn(directory).at(-1) ?? 0;
  let begun = segment;
  let lowest = segmentsIn(directory)[0] ?? segment + 1;
  let handle = -1;
  let size = 0;
  let waiting: Waiting[] = [];
  let writing: Promise<void> | null = null;
  let broken: Error | null = null;

  const writeWhole = async (data: Buffer): Promise<void> => {
    try {
      for (let done = 0; done < data.length;) done += (await writeAt(handle, data, done, data.length - done, size + done)).bytesWritten;
      size += data.length;
    } catch (error) {
      await cutFile(handle, size); // J2
      throw error;
    }
  };
  const beginSegment = async (): Promise<void> => {
    if (handle >= 0) await closeFile(handle);
    segment++;
    size = 0;
    handle = await openFile(fileIn(directory, segment), constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_DSYNC, 0o600);
    const folder = await openFile(directory, "r");
    await flush(folder).finally(() => closeFile(folder));
    await whileFull(async () => writeWhole(Buffer.from(`${options.snapshot()}\n`)));
    begun = segment;
  };
  const whileFull = async (attempt: () => Promise<void>): Promise<void> => {
    for (;;) {
      try {
        return await attempt();
      } catch (error) {
        if (!isFull(error)) throw error;
        if (reserve.isKept()) reserve.release(); // J4
        else await delay(FULL_RETRY_MS);
      }
    }
  };
  const writeBatch = async (batch: readonly Waiting[]): Promise<void> => {
    options.beforeBatch();
    const entries = batch.flatMap((item) => item.entries);
    const lines = entries.map((entry) => entry.line());
    const data = Buffer.from(`${lines.join("\n")}\n`);
    let offset = size;
    await writeWhole(data);
    entries.forEach((entry, i) => {
      const line = lines[i] as string;
      const length = Buffer.byteLength(line);
      entry.written?.({ segment, offset, length });
      offset += length + 1;
    });
    for (const item of batch) item.resolve();
  };
  const work = async (): Promise<void> => {
    while (waiting.length > 0 && broken === null) {
      const batch = waiting;
      waiting = [];
      try {
        if (!reserve.isKept() && batch.some((item) => !isVital(item)) && !reserve.keep()) throw Object.assign(new Error("no room for the reserve"), { code: "ENOSPC" });
        if (size >= segmentBytes) await beginSegment();
        await writeBatch(batch);
      } catch (error) {
        if (!isFull(error)) {
          broken = error as Error;
          for (const item of [...batch, ...waiting]) item.reject(broken);
          waiting = [];
          return;
        }
        const vital = batch.filter(isVital);
        for (const item of batch) if (!isVital(item)) item.reject(new JournalFullError(directory)); // J4
        try {
          if (vital.length > 0) await whileFull(() => writeBatch(vital));
        } catch (fatal) {
          broken = fatal as Error;
          for (const item of [...vital, ...waiting]) item.reject(broken);
          waiting = [];
        }
      }
    }
  };

  const start = (): void => {
    writing ??= Promise.resolve().then(work).then(() => { // J1: what the rest of this turn appends joins the first write
      writing = null;
      if (waiting.length > 0 && broken === null) start();
    });
  };

  await beginSegment();
  return {
    append(entries) {
      if (broken !== null) return Promise.reject(broken);
      if (entries.length === 0) return Promise.resolve();
      const done = new Promise<void>((resolve, reject) => waiting.push({ entries, resolve, reject }));
      start();
      return done;
    },
    segment: () => begun,
    dropBelow(keep) {
      for (; lowest < Math.min(keep, begun); lowest++) rmSync(fileIn(directory, lowest), { force: true });
    },
    fileOf: (number) => fileIn(directory, number),
    async close() {
      while (writing !== null) await writing;
      broken ??= new Error("The journal is closed.");
      if (handle >= 0) await closeFile(handle);
      handle = -1;
    },
  };
}

const isVital = (item: Waiting): boolean => item.entries.some((entry) => entry.vital);
const isFull = (error: unknown): boolean => ["ENOSPC", "EDQUOT", "EFBIG"].includes((error as NodeJS.ErrnoException).code ?? "");

function hasWholeRecord(bytes: Buffer, end: number): boolean {
  for (let from = end < 0 ? bytes.length : end + 1; from < bytes.length;) {
    const next = bytes.indexOf(10, from);
    if (next < 0) return false;
    if (decodeRecord(bytes.toString("utf8", from, next)) !== null) return true;
    from = next + 1;
  }
  return false;
}

function segmentsIn(directory: string): number[] {
  return readdirSync(directory).flatMap((name) => (/^\d{10}\.journal$/.test(name) ? [Number(name.slice(0, 10))] : [])).sort((a, b) => a - b);
}

function fileIn(directory: string, segment: number): string {
  return join(directory, `${String(segment).padStart(10, "0")}.journal`);
}
