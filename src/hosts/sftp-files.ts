// Bytes of one file over several SFTP channels at once, in pieces, many of them under way.
//   B1. Pieces are asked for, and answered for, in the order of the file: what has been answered for is always its beginning, without holes.
//   B2. At most WINDOW pieces of a file are under way or held in memory.
//      Their buffers are used again: what a piece holds is gone when the next one is asked for. Fresh ones would cost as much in garbage collection as all the rest.
//   B3. Nothing comes for STALL_MS: the host is taken for not answering.

import ssh2 from "ssh2";
import { SshError } from "./ssh-error.js";
import { CHANNELS, type TransferChannel, type TransferLines } from "./transfer-lines.js";
import { within } from "./waiting.js";

/** As much as OpenSSH takes in one SFTP packet, in bytes: fewer packets cost this single thread less. Where a server takes less, ssh2 splits. */
export const PIECE = 254 * 1024;
/** Pieces under way: 16 MiB, enough for 200 MB/s over a way of 80 ms. */
const WINDOW = 64;
/** In milliseconds. */
const STALL_MS = 120_000;
/** A file from here on is worth several channels, in bytes. */
const LARGE = 8 * 1024 * 1024;

export interface Piece { readonly offset: number; readonly bytes: Buffer }

export interface RemoteFile {
  /** The pieces of a range as they come (B1). A piece holds until the next is asked for (B2). `keep` is given each as soon as it is there, out of order and several at once. */
  read(from: number, to: number, keep?: (bytes: Buffer, offset: number) => Promise<void>): AsyncGenerator<Piece, void>;
  /** Fills a range with what `fill` puts into the buffers that it is given; yields what has arrived (B1). */
  write(from: number, to: number, fill: (buffer: Buffer, offset: number) => Promise<void>): AsyncGenerator<Piece, void>;
}

/** Opens a regular file on the host on as many channels as its size is worth, hands it to `use`, closes it. A link at that place is followed by SFTP: callers have looked. Throws SshError. */
export async function withRemoteFile<T>(lines: TransferLines, options: { readonly path: string; readonly bytes: number; readonly mode: "r" | "r+"; readonly signal: AbortSignal | undefined }, use: (file: RemoteFile) => Promise<T>): Promise<T> {
  const { path, bytes, mode, signal } = options;
  const channels = await lines.take(bytes >= LARGE ? CHANNELS : 1, signal);
  let reusable = false;
  try {
    const handles = await within(Promise.all(channels.map(async (channel) => ({ channel, handle: await ask<Buffer>(channel, lines.name, path, (done) => channel.sftp.open(path, mode, done)) }))), STALL_MS, signal, () => silent(lines.name));
    const pieces = (from: number, to: number, each: (at: (typeof handles)[number], buffer: Buffer, offset: number) => Promise<void>) => inOrder(from, to, signal, () => silent(lines.name), (buffer, offset, turn) => each(handles[turn % handles.length]!, buffer, offset));
    const result = await use({
      read: (from, to, keep) => pieces(from, to, async ({ channel, handle }, buffer, offset) => {
        await readPiece(channel, handle, { name: lines.name, path }, buffer, offset);
        await keep?.(buffer, offset);
      }),
      write: (from, to, fill) => pieces(from, to, async ({ channel, handle }, buffer, offset) => {
        await fill(buffer, offset);
        await ask<void>(channel, lines.name, path, (done) => channel.sftp.write(handle, buffer, 0, buffer.length, offset, (error) => done(error ?? undefined, undefined)));
      }),
    });
    await within(Promise.all(handles.map(({ channel, handle }) => ask<void>(channel, lines.name, path, (done) => channel.sftp.close(handle, (error) => done(error ?? undefined, undefined))))), STALL_MS, signal, () => silent(lines.name));
    reusable = true;
    return result;
  } finally {
    lines.giveBack(channels, reusable); // requests may still be under way
  }
}

/** B1, B2, B3. */
async function* inOrder(from: number, to: number, signal: AbortSignal | undefined, late: () => Error, work: (buffer: Buffer, offset: number, turn: number) => Promise<void>): AsyncGenerator<Piece, void> {
  const free: Buffer[] = [];
  const under: { piece: Piece; done: Promise<void> }[] = [];
  let [next, turn] = [from, 0];
  for (;;) {
    for (; next < to && under.length < WINDOW; turn++) {
      const length = Math.min(PIECE, to - next);
      const bytes = (free.pop() ?? Buffer.allocUnsafeSlow(Math.min(PIECE, to - from))).subarray(0, length);
      const done = work(bytes, next, turn);
      done.catch(() => undefined); // the first in order is the one that is told
      under.push({ piece: { offset: next, bytes }, done });
      next += length;
    }
    const first = under.shift();
    if (first === undefined) return;
    await within(first.done, STALL_MS, signal, late);
    yield first.piece;
    if (first.piece.bytes.length === PIECE) free.push(first.piece.bytes);
  }
}

/** Fills the buffer; servers may give less at once. */
async function readPiece(channel: TransferChannel, handle: Buffer, { name, path }: { readonly name: string; readonly path: string }, buffer: Buffer, offset: number): Promise<void> {
  for (let done = 0; done < buffer.length;) {
    const count = await ask<number>(channel, name, path, (answer) => channel.sftp.read(handle, buffer, done, buffer.length - done, offset + done, (error, read) => answer(error ?? undefined, read)));
    if (count === 0) throw new SshError("SSH_FILE_CHANGED", name, `${path} became shorter while it was read: it ends at ${offset + done} bytes. Fetch it when whoever writes it has finished.`);
    done += count;
  }
}

function silent(name: string): SshError {
  return new SshError("SSH_NOT_ANSWERING", name, `nothing came or went for ${STALL_MS / 1_000} s while a file was transferred. Its disk may hang.`);
}

/** A request of SFTP that failed without a cause that SFTP has a word for: a full disk among others. */
export class SftpFailure extends Error {}

function ask<T>(channel: TransferChannel, name: string, path: string, begin: (done: (error: Error | undefined, value: T) => void) => void): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const lost = (): SshError => new SshError("SSH_CONNECTION_LOST", name, `the connection was lost while ${path} was transferred.`);
    if (!channel.isOpen()) return reject(lost());
    begin((error, value) => {
      if (error === undefined) return resolve(value);
      const { code } = error as Error & { code?: number };
      const { STATUS_CODE } = ssh2.utils.sftp;
      if (code === STATUS_CODE.NO_SUCH_FILE) reject(new SshError("SSH_FILE_MISSING", name, `there is no file ${path} any more. It may have been tidied up; look at the host.`, { cause: error }));
      else if (code === STATUS_CODE.PERMISSION_DENIED) reject(new SshError("SSH_DIRECTORY_REFUSED", name, `${path} is closed to this user. Give the user the right to it.`, { cause: error }));
      else if (code === undefined || code === STATUS_CODE.CONNECTION_LOST || code === STATUS_CODE.NO_CONNECTION) reject(lost());
      else reject(new SftpFailure(`${path}: ${error.message}`, { cause: error }));
    });
  });
}
