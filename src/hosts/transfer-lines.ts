// SFTP channels for bulk, on connections of their own beside the one that carries the helper.
//   T1. Bulk never stands in the way of tails, pings and orders: those have their own connection, and each connection for bulk its own thread.
//   T2. At most LINES connections, one where this process has MANY already; channels are spread over them and used again. All end IDLE_MS after the last use.
//   T3. FILES at once, of CHANNELS each: more than that would wait for channels of each other's. Whoever comes later waits.
//   T4. A channel that met an error is not used again.

import type { HostLink } from "./host-link.js";
import { createSlots } from "./slots.js";
import { SshError } from "./ssh-error.js";
import { startTransferThread, type OwnedChannel, type TransferChannel, type TransferThread } from "./transfer-thread.js";
import { unlessAborted } from "./waiting.js";

/** Two: one sshd process for each, so that two processors of the host encrypt and two here decrypt, and two TCP streams where a way is long. */
const LINES = 2;
/** Each is a thread of some 15 MB. */
const MANY = 16;
const FILES = 4;
/** Most channels for one file. */
export const CHANNELS = 4;
const IDLE_MS = 15_000;

export interface TransferLines {
  readonly name: string;
  /** Opens so many channels, CHANNELS at most, or takes ones that are free; answers with fewer when not all can be had. Throws SshError. */
  take(count: number, signal?: AbortSignal): Promise<readonly TransferChannel[]>;
  /** `reusable` false ends them (T4), and resolves when they have ended. */
  giveBack(channels: readonly TransferChannel[], reusable: boolean): Promise<void>;
  /** Ends everything. May be called twice. */
  close(): void;
}

interface Line { readonly connecting: Promise<TransferThread>; channels: number; over: boolean }

/** Of all links of this process. */
let linesOfAll = 0;

export function openTransferLines(link: Pick<HostLink, "name" | "connect">): TransferLines {
  const lines = new Set<Line>();
  const idle = new Set<OwnedChannel>();
  const files = createSlots(FILES);
  const turns = new Map<readonly TransferChannel[], () => void>();
  let closed = false;
  let timer: NodeJS.Timeout | undefined;

  const endAll = (): void => {
    idle.clear();
    for (const line of lines) void line.connecting.then((connection) => connection.end(), () => undefined);
    lines.clear();
  };
  const lineFor = (): Line => {
    const free = [...lines].filter((line) => !line.over).sort((a, b) => a.channels - b.channels);
    if (free[0] !== undefined && (free.length >= (linesOfAll < MANY ? LINES : 1) || free[0].channels === 0)) return free[0];
    const line: Line = { connecting: link.connect(startTransferThread), channels: 0, over: false };
    lines.add(line);
    linesOfAll++;
    const forget = (): void => {
      line.over = true;
      lines.delete(line);
      linesOfAll--;
    };
    line.connecting.then((connection) => {
      if (closed) connection.end();
      void connection.closed.then(forget);
    }, forget);
    return line;
  };
  const open = async (): Promise<OwnedChannel> => {
    for (const channel of idle) {
      idle.delete(channel);
      if (channel.isOpen()) return channel;
    }
    if (closed) throw new SshError("SSH_CONNECTION_LOST", link.name, "the link was closed.");
    const line = lineFor();
    line.channels++;
    try {
      const channel = await (await line.connecting).channel();
      void channel.closed.then(() => { line.channels--; });
      return channel;
    } catch (error) {
      line.channels--;
      throw error;
    }
  };
  return {
    name: link.name,
    async take(count, signal) {
      const release = await files.take(signal); // T3
      clearTimeout(timer);
      const opening = Promise.allSettled(Array.from({ length: count }, open));
      const channels = opening.then((results) => results.flatMap((result) => (result.status === "fulfilled" ? [result.value] : [])));
      try {
        const opened = await unlessAborted(channels, signal);
        if (opened.length > 0) {
          turns.set(opened, release);
          return opened;
        }
        throw (await opening).find((result) => result.status === "rejected")!.reason as Error;
      } catch (error) {
        void channels.then((late) => late.forEach((channel) => void channel.end())).finally(release);
        throw error;
      }
    },
    async giveBack(channels, reusable) {
      const kept = (channel: OwnedChannel): boolean => reusable && channel.isOpen() && !closed;
      for (const channel of (channels as readonly OwnedChannel[]).filter(kept)) idle.add(channel);
      await Promise.all((channels as readonly OwnedChannel[]).filter((channel) => !idle.has(channel)).map((channel) => channel.end()));
      turns.get(channels)?.();
      turns.delete(channels);
      clearTimeout(timer);
      if (turns.size === 0) timer = setTimeout(endAll, IDLE_MS).unref();
    },
    close() {
      closed = true;
      clearTimeout(timer);
      endAll();
    },
  };
}
