// Bytes of one file over several SFTP channels at once, in pieces, many of them under way.
//   B1. Pieces are asked for, and answered for, in the order of the file: what has been answered for is always its beginning, without holes.
//   B2. At most WINDOW pieces of a file are under way or held in memory.
//   B3. Nothing comes for STALL_MS: the host is taken for not answering.
//   B4. When it is over, however it ends, nothing touches a descriptor any more (R2 of transfer-thread.ts).

import ssh2 from "ssh2";
import { SshError } from "./ssh-error.js";
import { CHANNELS, type TransferLines } from "./transfer-lines.js";
import { SftpStatusError, type TransferChannel } from "./transfer-thread.js";
import type { Part } from "./transfer-messages.js";
import { within } from "./waiting.js";

/** As much as OpenSSH takes in one SFTP packet, in bytes: fewer packets cost less. Where a server takes less, ssh2 splits. */
const PIECE = 254 * 1024;
/** Pieces under way: 32 MiB, enough for 400 MB/s over a way of 80 ms. */
const WINDOW = 128;
/** In milliseconds. */
const STALL_MS = 120_000;
/** A file from here on is worth several channels, in bytes. */
const LARGE = 8 * 1024 * 1024;

export interface RemoteFile {
  /** The bytes of a range, in order (B1). */
  read(from: number, to: number): AsyncGenerator<Uint8Array, void>;
  /** Brings a range to the same place of a file here. Yields how far it has got (B1). Rejects with LocalDiskError, too. */
  fetch(descriptor: number, from: number, to: number): AsyncGenerator<number, void>;
  /** The other way. `shorter` is thrown when the file here ends before. */
  push(descriptor: number, from: number, to: number, shorter: () => Error): AsyncGenerator<number, void>;
}

/** Opens a regular file on the host on as many channels as its size is worth, hands it to `use`, closes it. A link at that place is followed by SFTP: callers have looked. Throws SshError. */
export async function withRemoteFile<T>(lines: TransferLines, options: { readonly path: string; readonly bytes: number; readonly mode: "r" | "r+"; readonly signal: AbortSignal | undefined }, use: (file: RemoteFile) => Promise<T>): Promise<T> {
  const { path, bytes, mode, signal } = options;
  const channels = await lines.take(bytes >= LARGE ? CHANNELS : 1, signal);
  let reusable = false;
  try {
    const asked = <R>(request: Promise<R>): Promise<R> => request.catch((error: unknown) => { throw inWords(lines.name, path, error); });
    const handles = await within(Promise.all(channels.map(async (channel) => ({ channel, handle: await asked(channel.open(path, mode)) }))), STALL_MS, signal, () => silent(lines.name));
    const pieces = <R>(from: number, to: number, each: (channel: TransferChannel, part: Part) => Promise<R>) => inOrder(from, to, signal, () => silent(lines.name), (offset, length, turn) => {
      const { channel, handle } = handles[turn % handles.length]!;
      return asked(each(channel, { handle, offset, length }));
    });
    const whole = (count: number, { offset, length }: Part): number => {
      if (count < length) throw new SshError("SSH_FILE_CHANGED", lines.name, `${path} became shorter while it was read: it ends at ${offset + count} bytes. Fetch it when whoever writes it has finished.`);
      return offset + length;
    };
    const result = await use({
      read: (from, to) => pieces(from, to, async (channel, part) => {
        const read = await channel.read(part);
        whole(read.length, part);
        return read;
      }),
      fetch: (descriptor, from, to) => pieces(from, to, async (channel, part) => whole(await channel.fetch(descriptor, part), part)),
      push: (descriptor, from, to, shorter) => pieces(from, to, async (channel, part) => {
        if ((await channel.push(descriptor, part)) < part.length) throw shorter();
        return part.offset + part.length;
      }),
    });
    await within(Promise.all(handles.map(({ channel, handle }) => asked(channel.close(handle)))), STALL_MS, signal, () => silent(lines.name));
    reusable = true;
    return result;
  } finally {
    await lines.giveBack(channels, reusable); // B4: requests may still be under way
  }
}

/** B1, B2, B3. Yields what `work` resolved with for each piece. */
async function* inOrder<R>(from: number, to: number, signal: AbortSignal | undefined, late: () => Error, work: (offset: number, length: number, turn: number) => Promise<R>): AsyncGenerator<R, void> {
  const under: Promise<R>[] = [];
  let [next, turn] = [from, 0];
  for (;;) {
    for (; next < to && under.length < WINDOW; turn++) {
      const length = Math.min(PIECE, to - next);
      const done = work(next, length, turn);
      done.catch(() => undefined); // the first in order is the one that is told
      under.push(done);
      next += length;
    }
    const first = under.shift();
    if (first === undefined) return;
    yield await within(first, STALL_MS, signal, late);
  }
}

function silent(name: string): SshError {
  return new SshError("SSH_NOT_ANSWERING", name, `nothing came or went for ${STALL_MS / 1_000} s while a file was transferred. Its disk may hang.`);
}

/** A request of SFTP that failed without a cause that SFTP has a word for: a full disk among others. */
export class SftpFailure extends Error {}

function inWords(name: string, path: string, error: unknown): unknown {
  if (!(error instanceof SftpStatusError)) return error;
  const { NO_SUCH_FILE, PERMISSION_DENIED } = ssh2.utils.sftp.STATUS_CODE;
  if (error.status === NO_SUCH_FILE) return new SshError("SSH_FILE_MISSING", name, `there is no file ${path} any more. It may have been tidied up; look at the host.`, { cause: error });
  if (error.status === PERMISSION_DENIED) return new SshError("SSH_DIRECTORY_REFUSED", name, `${path} is closed to this user. Give the user the right to it.`, { cause: error });
  return new SftpFailure(`${path}: ${error.message}`, { cause: error });
}
