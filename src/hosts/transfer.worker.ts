// The thread of one transfer line: its connection and the SFTP channels on it, between files of the host and descriptors of this process. Decrypting and checking
// bulk keeps one processor busy; here it is not the one on which the process answers, renews leases and reads tails.
//   K1. Buffers are used again: fresh ones would cost as much in garbage collection as all the rest.
//   K2. A descriptor is the process's own. It is read and written synchronously: after a channel's end has been answered, nothing of it touches one any more, and
//       this thread has nothing else to do. (Handing each piece to the file system's threads and back cost a tenth of the throughput.)

import { readSync, writeSync } from "node:fs";
import { parentPort, workerData } from "node:worker_threads";
import ssh2, { type SFTPWrapper } from "ssh2";
import { connectHost, type HostConnection } from "./connection.js";
import { SshError, tellSshError } from "./ssh-error.js";
import type { ToldError, TransferOrder, TransferReport, TransferThreadData } from "./transfer-messages.js";

interface Channel {
  readonly sftp: SFTPWrapper;
  readonly handles: Map<number, Buffer>;
  open: boolean;
}

/** A request whose channel is over: ssh2 would never answer it. */
class ChannelOver extends Error {}

/** What the disk of this machine said. */
class DiskError extends Error {
  readonly code: string;
  constructor({ code = "EIO", message }: NodeJS.ErrnoException) {
    super(message);
    this.code = code;
  }
}

const { CONNECTION_LOST, NO_CONNECTION } = ssh2.utils.sftp.STATUS_CODE;
const port = parentPort!;
const channels = new Map<number, Channel>();
const free: Buffer[] = []; // K1
let given = 0;

function say(report: TransferReport, transferred: ArrayBuffer[] = []): void {
  port.postMessage(report, transferred);
}

function told(error: unknown): ToldError {
  const { message, code } = error as Error & { code?: unknown };
  if (error instanceof SshError) return { kind: "ours", error: tellSshError(error) };
  if (error instanceof DiskError) return { kind: "disk", code: error.code, message };
  if (typeof code === "number" && code !== CONNECTION_LOST && code !== NO_CONNECTION) return { kind: "status", status: code, message };
  return { kind: "lost", message };
}

async function openChannel(connection: HostConnection): Promise<number> {
  const sftp = await connection.sftp();
  const id = ++given;
  const channel: Channel = { sftp, handles: new Map(), open: true };
  channels.set(id, channel);
  sftp.on("end", () => { channel.open = false; });
  sftp.on("error", () => undefined); // every request hears of it
  sftp.on("close", () => {
    channel.open = false;
    channels.delete(id);
    say({ type: "over", channel: id });
  });
  return id;
}

/** One request over a channel. */
function ask<T>({ open }: Channel, begin: (done: (error: Error | null | undefined, value: T) => void) => void): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    if (!open) return reject(new ChannelOver("the channel is over"));
    begin((error, value) => (error == null ? resolve(value) : reject(error)));
  });
}

/** K2. Moves all bytes that there are, by `move` from the n-th on; answers with their number. */
function disk({ open }: Channel, length: number, move: (done: number) => number): number {
  if (!open) throw new ChannelOver("the channel is over");
  for (let done = 0; done < length;) {
    let count: number;
    try {
      count = move(done);
    } catch (error) {
      throw new DiskError(error as NodeJS.ErrnoException);
    }
    if (count === 0) return done;
    done += count;
  }
  return length;
}

/** Fills the bytes; servers may give less at once. Resolves with how many there are before the end of the file. */
async function fill(channel: Channel, handle: Buffer, bytes: Buffer, offset: number): Promise<number> {
  for (let done = 0; done < bytes.length;) {
    const count = await ask<number>(channel, (answer) => channel.sftp.read(handle, bytes, done, bytes.length - done, offset + done, (error, read) => answer(error, read)));
    if (count === 0) return done;
    done += count;
  }
  return bytes.length;
}

/** K1. */
async function withBuffer<T>(length: number, use: (bytes: Buffer) => Promise<T>): Promise<T> {
  const at = free.findIndex((one) => one.length >= length);
  const buffer = at < 0 ? Buffer.allocUnsafeSlow(length) : free.splice(at, 1)[0]!;
  const result = await use(buffer.subarray(0, length));
  free.push(buffer); // not after an error: what was asked for may still fill it
  return result;
}

/** The number that is answered, or the bytes. */
async function carryOut(connection: HostConnection, order: TransferOrder): Promise<number | Buffer> {
  if (order.act === "channel") return openChannel(connection);
  const channel = channels.get(order.channel);
  if (channel === undefined) {
    if (order.act === "end") return 0;
    throw new ChannelOver("the channel is over");
  }
  if (order.act === "end") {
    channel.open = false;
    channel.sftp.end();
    return 0;
  }
  if (order.act === "open") {
    const opened = await ask<Buffer>(channel, (answer) => channel.sftp.open(order.path, order.mode, answer));
    channel.handles.set(++given, opened);
    return given;
  }
  const handle = channel.handles.get(order.handle)!;
  switch (order.act) {
    case "close":
      channel.handles.delete(order.handle);
      await ask<void>(channel, (answer) => channel.sftp.close(handle, (error) => answer(error, undefined)));
      return 0;
    case "read": {
      const bytes = Buffer.allocUnsafeSlow(order.length);
      return bytes.subarray(0, await fill(channel, handle, bytes, order.offset));
    }
    case "fetch": return withBuffer(order.length, async (bytes) => {
      const count = await fill(channel, handle, bytes, order.offset);
      return disk(channel, count, (done) => writeSync(order.descriptor, bytes, done, count - done, order.offset + done));
    });
    case "push": return withBuffer(order.length, async (bytes) => {
      const count = disk(channel, bytes.length, (done) => readSync(order.descriptor, bytes, done, bytes.length - done, order.offset + done));
      if (count > 0) await ask<void>(channel, (answer) => channel.sftp.write(handle, bytes, 0, count, order.offset, (error) => answer(error, undefined)));
      return count;
    });
  }
}

try {
  const connection = await connectHost((workerData as TransferThreadData).access);
  void connection.closed.then(() => port.close()); // nothing is left to wait for: the thread ends
  port.on("message", (order: TransferOrder) => void carryOut(connection, order).then(
    (value) => (typeof value === "number" ? say({ type: "done", id: order.id, value }) : say({ type: "done", id: order.id, value: value.length, bytes: value }, [value.buffer as ArrayBuffer])),
    (error: unknown) => say({ type: "failed", id: order.id, error: told(error) }),
  ));
  say({ type: "connected" });
} catch (error) {
  say({ type: "refused", error: told(error) });
}
