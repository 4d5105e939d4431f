// One connection for bulk in a thread of its own (transfer.worker.ts), as promises.
//   R1. Every request is answered or rejects: when the thread ends, with those under way.
//   R2. A descriptor that was given may be closed when the requests with it are done, or when their channel has ended.

import { Worker } from "node:worker_threads";
import { workerProgram } from "../worker-program.js";
import { handshakes } from "./connection.js";
import type { HostAccess } from "./host-access.js";
import { hearSshError, SshError } from "./ssh-error.js";
import type { Part, ToldError, TransferAct, TransferOrder, TransferReport, TransferThreadData } from "./transfer-messages.js";

/** The answer of an SFTP server that is no success. */
export class SftpStatusError extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** A file of this machine could not be read or written. */
export class LocalDiskError extends Error {
  readonly code: string;
  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

/** Requests reject with SftpStatusError, LocalDiskError, or SSH_CONNECTION_LOST. */
export interface TransferChannel {
  /** Whether it can still be used. */
  isOpen(): boolean;
  /** Opens a file on the host; answers with what stands for it. */
  open(path: string, mode: "r" | "r+"): Promise<number>;
  close(handle: number): Promise<void>;
  /** From the host to the same place of a file here (R2). Answers with how many bytes there were before the end of the one on the host. */
  fetch(descriptor: number, part: Part): Promise<number>;
  /** The other way. Answers with how many bytes there were before the end of the file here. */
  push(descriptor: number, part: Part): Promise<number>;
  /** From the host into memory; less than was asked for at the end of the file. */
  read(part: Part): Promise<Uint8Array>;
}

export interface OwnedChannel extends TransferChannel {
  readonly closed: Promise<void>;
  /** R2. Never rejects. */
  end(): Promise<void>;
}

export interface TransferThread {
  /** Throws SshError. */
  channel(): Promise<OwnedChannel>;
  readonly closed: Promise<void>;
  /** Ends it with all its channels. May be called twice. */
  end(): void;
}

type Answer = Extract<TransferReport, { type: "done" }>;

/** Starts the thread and connects. Throws SshError. */
export async function startTransferThread(access: HostAccess): Promise<TransferThread> {
  const release = await handshakes.take();
  try {
    return await start(access);
  } finally {
    release();
  }
}

async function start(access: HostAccess): Promise<TransferThread> {
  const { file, argv } = workerProgram("hosts/transfer.worker");
  const worker = new Worker(file, { argv, execArgv: [], name: "files of a host", workerData: { access } satisfies TransferThreadData });
  const waiting = new Map<number, { resolve(answer: Answer): void; reject(error: Error): void }>();
  const channels = new Map<number, () => void>();
  let [over, asked] = [false, 0];
  let broke: unknown;
  const lost = (cause: unknown): SshError => new SshError("SSH_CONNECTION_LOST", access.name, "a connection for files was lost.", { cause });
  let sayConnected: (error: Error | null) => void = () => undefined;
  const connected = new Promise<Error | null>((done) => { sayConnected = done; });
  const closed = new Promise<void>((done) => {
    worker.once("exit", () => { // R1
      over = true;
      sayConnected(lost(broke));
      for (const { reject } of waiting.values()) reject(lost(broke));
      for (const say of channels.values()) say();
      waiting.clear();
      channels.clear();
      done();
    });
  });
  const heard = (told: ToldError): Error => {
    switch (told.kind) {
      case "ours": return hearSshError(told.error);
      case "status": return new SftpStatusError(told.status, told.message);
      case "disk": return new LocalDiskError(told.code, told.message);
      case "lost": return lost(new Error(told.message));
    }
  };
  worker.on("error", (error) => { broke = error; });
  worker.on("message", (report: TransferReport) => {
    switch (report.type) {
      case "connected": return sayConnected(null);
      case "refused": return sayConnected(heard(report.error));
      case "over": return channels.get(report.channel)?.();
      case "done": waiting.get(report.id)?.resolve(report); break;
      case "failed": waiting.get(report.id)?.reject(heard(report.error)); break;
    }
    waiting.delete(report.id);
  });
  const ask = (act: TransferAct): Promise<Answer> => new Promise((resolve, reject) => {
    if (over) return reject(lost(broke));
    const id = ++asked;
    waiting.set(id, { resolve, reject });
    worker.postMessage({ ...act, id } satisfies TransferOrder);
  });
  const value = async (act: TransferAct): Promise<number> => (await ask(act)).value;
  const end = (): void => void worker.terminate();
  const refusal = await connected;
  if (refusal !== null) {
    end();
    throw refusal;
  }
  return {
    closed, end,
    async channel() {
      const channel = await value({ act: "channel" });
      let isOpen = !over;
      const whenOver = new Promise<void>((done) => {
        channels.set(channel, () => {
          isOpen = false;
          channels.delete(channel);
          done();
        });
      });
      return {
        closed: whenOver, isOpen: () => isOpen,
        open: (path, mode) => value({ act: "open", channel, path, mode }),
        close: async (handle) => void (await ask({ act: "close", channel, handle })),
        fetch: (descriptor, part) => value({ act: "fetch", channel, descriptor, ...part }),
        push: (descriptor, part) => value({ act: "push", channel, descriptor, ...part }),
        read: async (part) => (await ask({ act: "read", channel, ...part })).bytes!,
        async end() {
          isOpen = false;
          await ask({ act: "end", channel }).catch(() => undefined); // it is over with the thread
        },
      };
    },
  };
}
