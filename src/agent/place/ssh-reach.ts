// How far an SSH host is reached: its connection, what is known of it, and what stands in the way. See ssh-place.ts for S1 and S3.

import { setMaxListeners } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { HostAccess } from "../../hosts/host-access.js";
import { openHostLink, type HostLink } from "../../hosts/host-link.js";
import type { HelperFacts, RemoteHelper } from "../../hosts/remote-helper.js";
import { SshError } from "../../hosts/ssh-error.js";
import { writeDurably } from "./durable-file.js";

/** Pause before something that failed with the connection is asked again; the link notices within it. Milliseconds. */
export const AGAIN_MS = 50;
/** How long trouble that may pass is kept to itself, in milliseconds. */
export const TROUBLE_AFTER_MS = 5_000;
/** In place of trouble, before the host was ever reached. */
const UNKNOWN = "It has not been reached yet.";

export type KnownFacts = Pick<HelperFacts, "directory" | "home" | "cpus" | "memoryMiB">;

export interface SshReach {
  readonly link: HostLink;
  /** Aborts with close(). */
  readonly closing: AbortSignal;
  /** What was found there when it was last reached, by this process or one before it. */
  facts(): KnownFacts | null;
  isUp(): boolean;
  /** What stands in the way, in words for a person. */
  trouble(): string | null;
  /** Why it is never connected again: its key has changed. */
  barred(): string | null;
  /** Called when trouble or facts have changed. Answers with the way to end that. */
  onChange(listener: () => void): () => void;
  /** The helper, however long it takes (S1). Rejects with the signal's reason. */
  reach(signal?: AbortSignal): Promise<RemoteHelper>;
  /** For what may be asked twice. Throws what the helper refuses, and the signal's reason. */
  overCuts<T>(use: (helper: RemoteHelper) => Promise<T>, signal?: AbortSignal): Promise<T>;
  close(): void;
}

export interface SshReachOptions {
  readonly name: string;
  access(): Promise<HostAccess>;
  readonly workingDirectory: string;
  readonly pythonEnvironment: string | null;
  /** Of the agent, here: what is known of the host lies in it. */
  readonly directory: string;
  alarmed(error: SshError): void;
}

export function reachHost(options: SshReachOptions): SshReach {
  const { name, access, workingDirectory, pythonEnvironment, alarmed } = options;
  const closing = new AbortController();
  setMaxListeners(0, closing.signal); // whoever waits for the host listens
  const factsFile = join(options.directory, "host.json");
  const listeners = new Set<() => void>();
  let facts = readFacts(factsFile);
  let isUp = false;
  let barred: string | null = null;
  let told: string | null = facts === null ? UNKNOWN : null;
  let telling: NodeJS.Timeout | null = null;
  const tell = (trouble: string | null): void => {
    if (telling !== null) clearTimeout(telling);
    telling = null;
    if (trouble === told) return;
    told = trouble;
    for (const listener of listeners) listener();
  };

  const link = openHostLink({
    name, access, directory: workingDirectory, pythonEnvironment, alarmed,
    changed(trouble) {
      isUp = trouble === null;
      if (trouble instanceof SshError && trouble.code === "SSH_HOST_KEY_CHANGED") barred = trouble.message;
      if (trouble === null || !(trouble instanceof SshError) || !trouble.retryable) return tell(trouble === null ? null : wordsOf(trouble));
      if (told !== null) return tell(wordsOf(trouble));
      telling ??= setTimeout(() => tell(wordsOf(link.trouble() ?? trouble)), TROUBLE_AFTER_MS).unref();
    },
  });
  link.each((helper) => {
    const { directory, home, cpus, memoryMiB } = helper.facts;
    const found = { directory, home, cpus, memoryMiB };
    if (JSON.stringify(found) === JSON.stringify(facts)) return;
    facts = found;
    writeDurably(factsFile, JSON.stringify(found)); // S3
    for (const listener of listeners) listener();
  });

  const reach = async (signal?: AbortSignal): Promise<RemoteHelper> => {
    const ended = signal === undefined ? closing.signal : AbortSignal.any([closing.signal, signal]);
    ended.throwIfAborted();
    try {
      return await link.helper(ended);
    } catch {
      ended.throwIfAborted();
      return new Promise((_, reject) => ended.addEventListener("abort", () => reject(ended.reason as Error), { once: true })); // its key has changed
    }
  };

  return {
    link, closing: closing.signal, reach,
    facts: () => facts,
    isUp: () => isUp,
    trouble: () => told,
    barred: () => barred,
    onChange(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    async overCuts(use, signal) {
      for (;;) {
        const helper = await reach(signal);
        try {
          return await use(helper);
        } catch (error) {
          if (!(error instanceof SshError)) throw error;
          await delay(AGAIN_MS);
        }
      }
    },
    close() {
      if (telling !== null) clearTimeout(telling);
      closing.abort();
      link.close();
    },
  };
}

function wordsOf(error: Error): string {
  return error instanceof SshError ? `${error.code}: ${error.message}` : error.message;
}

function readFacts(file: string): KnownFacts | null {
  try {
    return JSON.parse(readFileSync(file, "utf8")) as KnownFacts;
  } catch {
    return null;
  }
}
