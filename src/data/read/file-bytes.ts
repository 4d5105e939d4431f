// The bytes of a text file, decompressed where it is gzipped, in pieces. What is no UTF-8 text at all (UTF-16, Parquet, an archive) is refused here by its first bytes.
//   B1. Nothing is held beyond a few pieces, however large the file and however hostile the compression: the next piece is made when the last one was taken.
//   B2. onContent sees every byte of the file exactly once and in order, before anything made of it is given out.

import { open } from "node:fs/promises";
import { createGunzip, type Gunzip } from "node:zlib";
import { BrokenContentError } from "./refusals.js";

/** Bytes per piece: large enough to pay for itself, small enough that rows made of one piece die young. */
const PIECE_BYTES = 256 * 1024;

export interface ByteOptions {
  readonly gzip: boolean;
  /** Begin at this byte of an unpacked file instead, where nothing but text is expected. Default 0. */
  readonly start?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Bytes taken from disk so far. */
  readonly onBytes?: ((consumedOnDisk: number) => void) | undefined;
  /** The file's raw bytes; valid during the call. */
  readonly onContent?: ((chunk: Uint8Array) => void) | undefined;
}

/** The text's bytes without a byte order mark; no piece is empty. Throws BrokenContentError, the file system's errors, and the signal's reason. */
export async function* textBytes(path: string, options: ByteOptions): AsyncGenerator<Buffer, void> {
  const onDisk = fileBytes(path, options);
  if (options.start !== undefined && options.start > 0) return yield* onDisk;
  try {
    const head = await onDisk.next();
    if (head.done === true) return;
    const packed = head.value[0] === 0x1f && head.value[1] === 0x8b; // a gzipped file whose name does not say so is read all the same
    if (options.gzip && !packed) throw new BrokenContentError("the file is not gzipped although its name says so: rename it, or compress it again");
    const whole = joined(head.value, onDisk);
    yield* withoutMark(packed ? unpacked(whole, options.signal) : whole);
  } finally {
    await onDisk.return(); // whatever was asked of it last
  }
}

async function* fileBytes(path: string, { start = 0, signal, onBytes, onContent }: ByteOptions): AsyncGenerator<Buffer, void> {
  signal?.throwIfAborted();
  const file = await open(path, "r");
  try {
    let consumed = 0;
    for (;;) {
      const piece = Buffer.allocUnsafeSlow(PIECE_BYTES);
      const { bytesRead } = await file.read(piece, 0, PIECE_BYTES, start + consumed);
      signal?.throwIfAborted();
      if (bytesRead === 0) return;
      consumed += bytesRead;
      const content = bytesRead === PIECE_BYTES ? piece : piece.subarray(0, bytesRead);
      onContent?.(content);
      onBytes?.(consumed);
      yield content;
    }
  } finally {
    await file.close();
  }
}

async function* joined(first: Buffer, rest: AsyncIterable<Buffer>): AsyncGenerator<Buffer, void> {
  yield first;
  yield* rest;
}

/** Every member of a gzip file, one after the other. */
async function* unpacked(packed: AsyncIterable<Buffer>, signal: AbortSignal | undefined): AsyncGenerator<Buffer, void> {
  const gunzip = createGunzip({ chunkSize: PIECE_BYTES });
  const ready: Buffer[] = [];
  let over = false;
  let failure: (Error & { code?: string }) | null = null;
  let wake: (() => void) | null = null;
  const woken = () => {
    wake?.();
    wake = null;
  };
  // Not `for await` over the stream: that drops what was unpacked before an error, and with it the line up to which the file is whole. Not `pipeline` either:
  // it is content once everything was written, and only then does a stream that stops early say so.
  gunzip.on("data", (piece: Buffer) => {
    if (ready.push(piece) >= 4) gunzip.pause();
    woken();
  });
  gunzip.on("error", (error) => {
    failure = error;
    woken();
  });
  gunzip.on("close", () => {
    over = true; // after the end as after an error
    woken();
  });
  const fed = feed(packed, gunzip);
  try {
    for (;;) {
      const piece = ready.shift();
      if (piece !== undefined) {
        if (ready.length < 2) gunzip.resume();
        yield piece;
      } else if (over) break;
      else await new Promise<void>((resolve) => { wake = resolve; });
    }
    signal?.throwIfAborted();
    if (failure !== null) throw asBroken(failure);
  } finally {
    gunzip.destroy();
    await fed;
  }
}

/** Writes everything into `gunzip`, as fast as it takes it; an error of the source becomes its error. */
async function feed(packed: AsyncIterable<Buffer>, gunzip: Gunzip): Promise<void> {
  try {
    for await (const piece of packed) {
      if (gunzip.destroyed) return;
      if (!gunzip.write(piece)) await new Promise<void>((resolve) => { gunzip.once("drain", resolve).once("close", resolve); });
    }
    gunzip.end();
  } catch (error) {
    gunzip.destroy(error as Error);
  }
}

function asBroken(error: Error & { code?: string }): Error {
  if (error.code === "Z_BUF_ERROR") return new BrokenContentError("the gzip stream stops early, the file is truncated: copy it again");
  return error.code?.startsWith("Z_") === true ? new BrokenContentError(`the gzip stream is damaged (${error.message}): copy it again`) : error;
}

/** Looks at the first bytes, takes a UTF-8 byte order mark away, and refuses what is no UTF-8 text. */
async function* withoutMark(pieces: AsyncIterable<Buffer>): AsyncGenerator<Buffer, void> {
  let head: Buffer | null = Buffer.alloc(0);
  for await (const piece of pieces) {
    if (head === null) {
      yield piece;
      continue;
    }
    head = head.length === 0 ? piece : Buffer.concat([head, piece]);
    if (head.length < HEAD_BYTES) continue;
    yield* headOf(head);
    head = null;
  }
  if (head !== null) yield* headOf(head);
}

const HEAD_BYTES = 64;

function* headOf(head: Buffer): Generator<Buffer, void> {
  const foreign = foreignContent(head);
  if (foreign !== null) throw new BrokenContentError(foreign);
  const text = head[0] === 0xef && head[1] === 0xbb && head[2] === 0xbf ? head.subarray(3) : head;
  if (text.length > 0) yield text;
}

const SIGNATURES: readonly (readonly [string, string])[] = [
  ["50415231", "the file is Parquet: name it .parquet, or set format: parquet"],
  ["504b0304", "the file is a zip archive (or a spreadsheet): unpack it, or save it as CSV"],
  ["28b52ffd", "the file is compressed with zstd: unpack it, or compress it with gzip"],
  ["fd377a58", "the file is compressed with xz: unpack it, or compress it with gzip"],
  ["425a68", "the file is compressed with bzip2: unpack it, or compress it with gzip"],
  ["4152524f5731", "the file is Arrow IPC: save it as Parquet"],
];

/** Why these are not the first bytes of a UTF-8 text; null when they may be. */
function foreignContent(head: Buffer): string | null {
  const hex = head.toString("hex", 0, 8);
  for (const [signature, why] of SIGNATURES) if (hex.startsWith(signature) && !isLine(head)) return why;
  if (hex.startsWith("fffe") || hex.startsWith("feff") || looksLikeUtf16(head)) return "the file is UTF-16 (or UTF-32): save it as UTF-8";
  return null;
}

/** "BZh" and "PAR1" may begin a CSV header: then text goes on. */
function isLine(head: Buffer): boolean {
  return head.every((byte) => byte >= 32 || byte === 9 || byte === 10 || byte === 13) && head.every((byte) => byte < 127);
}

/** Latin text in UTF-16 without a mark: every other byte is NUL. */
function looksLikeUtf16(head: Buffer): boolean {
  if (head.length < 4) return false;
  const zeros = [0, 0];
  const pairs = Math.floor(Math.min(head.length, HEAD_BYTES) / 2);
  for (let index = 0; index < pairs * 2; index++) if (head[index] === 0) zeros[index % 2]!++;
  return (zeros[0] === 0 && zeros[1]! > pairs * 0.7) || (zeros[1] === 0 && zeros[0]! > pairs * 0.7);
}
