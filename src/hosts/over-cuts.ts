// Repeats what was cut off until it is done, as long as the host can be reached again.
//   O1. While the host is away it waits for the link, however long that takes; the signal ends it.
//   O2. What fails TRIES times in a row on a host that is there, without a byte that moved, is given up with its last error.

import { setTimeout as delay } from "node:timers/promises";
import { retryDelayMs, type HostLink } from "./host-link.js";
import { HelperRefusal, type RemoteHelper } from "./remote-helper.js";
import { SshError } from "./ssh-error.js";

const TRIES = 8;

/** `attempt` calls `moved` with each byte that it need not transfer again. Throws SshError, or the reason of the signal. */
export async function overCuts<T>(link: HostLink, signal: AbortSignal | undefined, attempt: (helper: RemoteHelper, moved: () => void) => Promise<T>): Promise<T> {
  for (let inARow = 0; ;) {
    const helper = await link.helper(signal); // O1
    try {
      return await attempt(helper, () => { inARow = 0; });
    } catch (error) {
      signal?.throwIfAborted();
      const known = inWords(link.name, error);
      if (!(known instanceof SshError) || !known.retryable || ++inARow >= TRIES) throw known; // O2
      await delay(retryDelayMs(inARow, known, Math.random()), undefined, signal === undefined ? {} : { signal });
    }
  }
}

/** What the helper could not do, as an error of the host. */
export function inWords(name: string, error: unknown): unknown {
  if (!(error instanceof HelperRefusal)) return error;
  switch (error.code) {
    case "DISK_FULL": return new SshError("SSH_DISK_FULL", name, `its disk is full: ${error.message}. Free space, or name a working directory on a larger disk.`, { cause: error });
    case "PERMISSION_DENIED": return new SshError("SSH_DIRECTORY_REFUSED", name, `${error.message}. Give the user the right to it, or name another working directory.`, { cause: error });
    case "FILE_NOT_FOUND": return new SshError("SSH_FILE_MISSING", name, `${error.message}. It may have been tidied up; look at the host.`, { cause: error });
    default: return new SshError("SSH_TRANSFER_FAILED", name, `its helper met an error: ${error.message}. Look at disk and permissions on the host.`, { cause: error });
  }
}
