// Links to SSH hosts for requests of users: one for each host, made when it is asked for and ended IDLE_MS after the last use.
//   N1. A request does not wait for a host that is away: the first failed try is its answer, and the next request tries anew.

import type { SshHosts } from "../../access/ssh-hosts.js";
import { openFileSync, type FileSync } from "../../hosts/file-sync.js";
import { openHostLink, type HostLink } from "../../hosts/host-link.js";
import type { RemoteHelper } from "../../hosts/remote-helper.js";
import { unlessAborted } from "../../hosts/waiting.js";

const IDLE_MS = 60_000;

export interface ReachedHost { readonly name: string; readonly helper: RemoteHelper; readonly files: FileSync }

export interface HostLinks {
  /** Throws SshError, SealError, NotFoundError, and the signal's reason. */
  use<T>(hostId: string, signal: AbortSignal, work: (host: ReachedHost) => Promise<T>): Promise<T>;
  /** Ends all. May be called twice. */
  close(): void;
}

interface Entry { readonly link: HostLink; readonly files: FileSync; readonly failed: Promise<never>; users: number; stale: boolean; timer: NodeJS.Timeout | undefined }

export function createHostLinks(sshHosts: Pick<SshHosts, "open" | "noteAlarm">): HostLinks {
  const entries = new Map<string, Promise<Entry>>();

  const make = async (id: string): Promise<Entry> => {
    const { row } = await sshHosts.open(id);
    let fail: (error: Error) => void = () => undefined;
    const failed = new Promise<never>((_, reject) => { fail = reject; });
    failed.catch(() => undefined);
    const link = openHostLink({
      name: row.name, access: async () => (await sshHosts.open(id)).access, directory: row.working_directory, pythonEnvironment: row.python_environment,
      changed: (trouble) => { if (trouble !== null) fail(trouble); },
      alarmed: (error) => void sshHosts.noteAlarm(id, error).catch(() => undefined),
    });
    return { link, files: openFileSync(link), failed, users: 0, stale: false, timer: undefined };
  };
  const close = (entry: Entry): void => {
    clearTimeout(entry.timer);
    entry.files.close();
    entry.link.close();
  };
  const leave = (id: string, making: Promise<Entry>, entry: Entry): void => {
    entry.users--;
    if (entry.stale && entries.get(id) === making) entries.delete(id);
    if (entry.users > 0) return;
    if (entry.stale) return close(entry);
    entry.timer = setTimeout(() => {
      if (entries.get(id) === making) entries.delete(id);
      close(entry);
    }, IDLE_MS).unref();
  };

  return {
    async use(id, signal, work) {
      const making = entries.get(id) ?? make(id);
      entries.set(id, making);
      const entry = await making.catch((error: unknown) => {
        if (entries.get(id) === making) entries.delete(id);
        throw error;
      });
      clearTimeout(entry.timer);
      entry.users++;
      try {
        const helper = await unlessAborted(Promise.race([entry.link.helper(signal), entry.failed]), signal).catch((error: unknown) => { // N1
          entry.stale = true;
          throw error;
        });
        return await work({ name: entry.link.name, helper, files: entry.files });
      } finally {
        entry.stale ||= entry.link.trouble() !== null;
        leave(id, making, entry);
      }
    },
    close() {
      for (const making of entries.values()) void making.then(close, () => undefined);
      entries.clear();
    },
  };
}
