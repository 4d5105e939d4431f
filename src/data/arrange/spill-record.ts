// A row on disk while it waits for its turn, and how runs of rows are written and read: [length][key high][key low][seq][source][side][text as UTF-8].

import { open, type FileHandle } from "node:fs/promises";

/** Where a row stands in the order, and what must be known of it before its text is parsed. */
export interface SpillKey {
  /** The order key, 64 bits in two halves. */
  readonly high: number;
  readonly low: number;
  /** The row's number among all rows that were spilled: breaks ties, so that the order is total. */
  readonly seq: number;
}

export interface SpillRecord extends SpillKey {
  /** Number of the input file. */
  readonly source: number;
  /** A byte of the caller's. */
  readonly side: number;
  readonly text: string;
}

export const HEADER_BYTES = 4 + 4 + 4 + 8 + 4 + 1;
const READ_BYTES = 131_072;

export function compareKeys(a: SpillKey, b: SpillKey): number {
  return a.high - b.high || a.low - b.low || a.seq - b.seq;
}

/** The same order, of two records that stand encoded in a buffer. */
export function compareEncoded(buffer: Buffer, a: number, b: number): number {
  return buffer.readUInt32LE(a + 4) - buffer.readUInt32LE(b + 4) || buffer.readUInt32LE(a + 8) - buffer.readUInt32LE(b + 8) || buffer.readDoubleLE(a + 12) - buffer.readDoubleLE(b + 12);
}

/** Writes the record at `at` and returns where it ends. The caller has made room: HEADER_BYTES and the text's UTF-8 length. */
export function encodeRecord(buffer: Buffer, at: number, record: SpillRecord): number {
  const textBytes = record.text.length === 0 ? 0 : buffer.write(record.text, at + HEADER_BYTES, "utf8");
  buffer.writeUInt32LE(textBytes, at);
  buffer.writeUInt32LE(record.high, at + 4);
  buffer.writeUInt32LE(record.low, at + 8);
  buffer.writeDoubleLE(record.seq, at + 12);
  buffer.writeUInt32LE(record.source, at + 20);
  buffer.writeUInt8(record.side, at + 24);
  return at + HEADER_BYTES + textBytes;
}

export function recordAt(buffer: Buffer, at: number): SpillRecord {
  const end = at + HEADER_BYTES + buffer.readUInt32LE(at);
  return { ...keyAt(buffer, at), source: buffer.readUInt32LE(at + 20), side: buffer.readUInt8(at + 24), text: buffer.toString("utf8", at + HEADER_BYTES, end) };
}

function keyAt(buffer: Buffer, at: number): SpillKey {
  return { high: buffer.readUInt32LE(at + 4), low: buffer.readUInt32LE(at + 8), seq: buffer.readDoubleLE(at + 12) };
}

/** Reads a run from its beginning, holding one buffer. */
export interface RunReader {
  /** Key of the record it stands on. */
  readonly key: SpillKey;
  record(): SpillRecord;
  /** Steps to the next record; false at the end. A promise when the disk has to be read. */
  advance(): boolean | Promise<boolean>;
  close(): Promise<void>;
}

/** Opens a run; stands before its first record until `advance`. */
export async function openRun(path: string): Promise<RunReader> {
  const handle: FileHandle = await open(path, "r");
  let buffer = Buffer.allocUnsafe(READ_BYTES);
  let filled = 0;
  let start = 0;
  let end = 0;
  let key: SpillKey = { high: 0, low: 0, seq: -1 };

  function advance(): boolean | Promise<boolean> {
    start = end;
    return step() ?? refill();
  }

  /** Null when the buffer does not hold the whole next record. */
  function step(): true | null {
    if (filled - start < HEADER_BYTES) return null;
    const length = HEADER_BYTES + buffer.readUInt32LE(start);
    if (filled - start < length) return null;
    end = start + length;
    key = keyAt(buffer, start);
    return true;
  }

  async function refill(): Promise<boolean> {
    const rest = filled - start;
    const needed = rest < HEADER_BYTES ? HEADER_BYTES : HEADER_BYTES + buffer.readUInt32LE(start);
    const target = needed > buffer.length ? Buffer.allocUnsafe(needed) : buffer;
    buffer.copy(target, 0, start, filled);
    buffer = target;
    start = 0;
    end = 0;
    filled = rest;
    while (filled < buffer.length) {
      const { bytesRead } = await handle.read(buffer, filled, buffer.length - filled, null);
      if (bytesRead === 0) break;
      filled += bytesRead;
    }
    if (filled === 0) return false;
    if (filled === rest) throw new Error(`The spill file ${path} ends inside a record.`);
    return step() ?? refill();
  }

  return {
    get key() {
      return key;
    },
    record: () => recordAt(buffer, start),
    advance,
    close: () => handle.close(),
  };
}
