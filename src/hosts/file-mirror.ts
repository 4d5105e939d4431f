// Local copies of growing files on a host, for whoever reads logs, metrics and results here.
//   M1. A local file is at every moment the beginning of the remote one, and its size is where to go on: after a cut, after a restart of ours, whenever.
//   M2. A remote file that was truncated or replaced is so here too, for readers to notice as they would on the host.
//      What is overwritten in place (a launcher's exit file) is no growing file and not for a mirror: ask the helper for the program's state.
//   M3. Local files are made when there are bytes for them; a link is never followed, on neither side.

import { closeSync, constants, fstatSync, ftruncateSync, lstatSync, openSync, writeSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import type { HostLink } from "./host-link.js";

/** Interval of looking whether everything is here, in milliseconds. */
const LOOK_MS = 50;

export interface MirroredFile {
  /** Absolute, on the host. */
  readonly remote: string;
  /** Absolute, here; its folder exists. */
  readonly local: string;
}

export interface FileMirror {
  /** Resolves when everything that the files hold on the host at some moment after the call is here. Rejects as HostLink.helper does. */
  caughtUp(signal?: AbortSignal): Promise<void>;
  /** Ends it; the copies stay. */
  close(): void;
}

/** `failed` hears of a local file that cannot be written; the mirror has ended then. */
export function mirrorFiles(link: HostLink, files: readonly MirroredFile[], failed: (error: Error) => void): FileMirror {
  let stops: (() => void)[] = [];
  let ended = false;
  const close = (): void => {
    ended = true;
    leave();
    for (const stop of stops.splice(0)) stop();
  };
  const guarded = (work: () => void): void => {
    if (ended) return;
    try {
      work();
    } catch (error) {
      close();
      failed(error as Error);
    }
  };
  const leave = link.each((helper) => {
    stops = files.map(({ remote, local }) => helper.tail(remote, sizeOf(local), {
      bytes: (offset, bytes) => guarded(() => append(local, offset, bytes)),
      restarted: () => guarded(() => truncate(local)),
    }));
  });
  return {
    close,
    async caughtUp(signal) {
      let wanted: readonly number[] | null = null;
      for (;;) {
        const helper = await link.helper(signal);
        const sizes: readonly number[] | null = await helper.stat(files.map(({ remote }) => remote)).then((stats) => stats.map((stat) => (stat?.kind === "file" ? stat.size : 0)), () => null); // null: the connection was cut; asked again
        wanted ??= sizes;
        const isHere = (size: number, index: number): boolean => {
          const own = sizeOf(files[index]!.local);
          return own === size || (own >= wanted![index]! && own < size); // it may go on growing
        };
        if (sizes?.every(isHere) === true) return;
        await delay(LOOK_MS, undefined, signal === undefined ? {} : { signal });
      }
    },
  };
}

function sizeOf(file: string): number {
  return lstatSync(file, { throwIfNoEntry: false })?.size ?? 0;
}

function append(file: string, offset: number, bytes: Buffer): void {
  const handle = openSync(file, constants.O_WRONLY | constants.O_CREAT | constants.O_APPEND | constants.O_NOFOLLOW, 0o600);
  try {
    const size = fstatSync(handle).size;
    if (size !== offset) throw new Error(`${file} has ${size} bytes where ${offset} were copied: somebody else writes to it.`); // M1
    for (let done = 0; done < bytes.length;) done += writeSync(handle, bytes, done);
  } finally {
    closeSync(handle);
  }
}

function truncate(file: string): void {
  const handle = openSync(file, constants.O_WRONLY | constants.O_CREAT | constants.O_NOFOLLOW, 0o600);
  try {
    ftruncateSync(handle, 0);
  } finally {
    closeSync(handle);
  }
}
