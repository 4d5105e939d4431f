// What is said between a process and the thread of a transfer line (transfer-thread.ts, transfer.worker.ts).

import type { HostAccess } from "./host-access.js";
import type { ToldSshError } from "./ssh-error.js";

/** What the thread is started with. */
export interface TransferThreadData { readonly access: HostAccess }

/** A part of an open file on the host; `offset` and `length` in bytes. */
export interface Part { readonly handle: number; readonly offset: number; readonly length: number }

/** `channel` and `handle` are numbers that the thread gave; `descriptor` is of a file that is open in this process. Both ends of a part have the same offset. */
export type TransferAct =
  | { readonly act: "channel" }
  /** Done when nothing of the channel touches a descriptor any more. */
  | { readonly act: "end"; readonly channel: number }
  | { readonly act: "open"; readonly channel: number; readonly path: string; readonly mode: "r" | "r+" }
  | { readonly act: "close"; readonly channel: number; readonly handle: number }
  | ({ readonly act: "fetch" | "push"; readonly channel: number; readonly descriptor: number } & Part)
  | ({ readonly act: "read"; readonly channel: number } & Part);

/** Answered once, under its id. */
export type TransferOrder = TransferAct & { readonly id: number };

export type TransferReport =
  | { readonly type: "connected" }
  | { readonly type: "refused"; readonly error: ToldError }
  /** `value`: a number that was given, or how many bytes there were before the end of the file; 0 where there is nothing to tell. `bytes`: what was read. */
  | { readonly type: "done"; readonly id: number; readonly value: number; readonly bytes?: Uint8Array }
  | { readonly type: "failed"; readonly id: number; readonly error: ToldError }
  | { readonly type: "over"; readonly channel: number };

/** One of our errors, the answer of an SFTP server with its status, what this machine's disk said with its code, or a connection that was lost. */
export type ToldError =
  | { readonly kind: "ours"; readonly error: ToldSshError }
  | { readonly kind: "status"; readonly status: number; readonly message: string }
  | { readonly kind: "disk"; readonly code: string; readonly message: string }
  | { readonly kind: "lost"; readonly message: string };
