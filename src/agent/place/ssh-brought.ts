// Files of the agent's machine that attempts on an SSH host use: brought there by content, and noted there for as long as the attempt is held. See ssh-place.ts for S1 and S5.

import { statSync } from "node:fs";
import { openFileSync, type LocalFile } from "../../hosts/file-sync.js";
import { SshError } from "../../hosts/ssh-error.js";
import { isBelow, ownerOf, realPathInside } from "../attempt/attempt-directory.js";
import type { ProgramStart, PushOptions } from "./place.js";
import { pathsBelow, translated } from "./ssh-paths.js";
import type { SshReach } from "./ssh-reach.js";

export interface BroughtFiles {
  /** Answers with the paths there, in the same order. Throws SshError. */
  push(paths: readonly string[], options: PushOptions): Promise<readonly string[]>;
  /** Brings what a start needs and answers with the translation of its words. Throws SshError. */
  bring(start: ProgramStart, say: PushOptions["say"]): Promise<(text: string) => string>;
  /** Removes there what nothing used for so many days; 0: nothing. `held`: attempts whose files stay. Answers with the number of removed files. */
  removeUnused(keepDays: number, held: readonly string[]): Promise<number>;
  close(): void;
}

/** `there`: a text with the agent's paths as the host's. */
export function bringFiles(host: SshReach, name: string, attemptsRoot: string, there: (text: string) => string): BroughtFiles {
  const files = openFileSync(host.link);
  /** By attempt, then by sha256. */
  const uses = new Map<string, Map<string, LocalFile>>();

  /** S1, for what `files` does. */
  const overAlarms = async <T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> => {
    for (;;) {
      await host.reach(signal);
      try {
        return await work();
      } catch (error) {
        if (!(error instanceof SshError) || error.code !== "SSH_HOST_KEY_CHANGED") throw error;
      }
    }
  };
  const pushFiles = async (locals: readonly LocalFile[], { signal: outer, user, say }: PushOptions): Promise<readonly string[]> => {
    if (locals.length === 0) return [];
    const signal = AbortSignal.any([host.closing, outer]);
    for (;;) {
      const pushed = await overAlarms(outer, () => files.pushAll(locals, { signal }));
      pushed.forEach(({ path, sentBytes }, index) => { if (sentBytes > 0) say(`sent ${locals[index]!.path} to ${name} (${sentBytes} bytes): ${path}`); });
      if (user !== undefined) {
        const used = uses.get(user) ?? new Map<string, LocalFile>();
        uses.set(user, used);
        pushed.forEach(({ sha256 }, index) => void used.set(sha256, { ...locals[index]!, sha256 }));
        if ((await overAlarms(outer, () => files.use(user, pushed.map(({ sha256 }) => sha256), signal))).length > 0) continue;
      }
      return pushed.map(({ path }) => path);
    }
  };
  /** S5: what was brought for the attempt earlier, and swept since. */
  const bringAgain = async (user: string, pushing: PushOptions): Promise<void> => {
    const used = uses.get(user);
    if (used === undefined) return;
    const missing = await overAlarms(pushing.signal, () => files.use(user, [...used.keys()], AbortSignal.any([host.closing, pushing.signal])));
    await pushFiles(missing.map((sha256) => used.get(sha256)!), pushing);
  };
  /** What an earlier stage left at home (a preprocess stage's files). The real path decides: no `..` and no link in what a stage names leads to another file of home's. */
  const leftAtHome = ({ argv, environment, directory }: ProgramStart): readonly string[] =>
    [...argv, ...Object.values(environment)].flatMap((text) => pathsBelow(text, attemptsRoot))
      .filter((path) => !isBelow(directory.root, path) && realPathInside(attemptsRoot, attemptsRoot, path) !== null && statSync(path, { throwIfNoEntry: false })?.isFile() === true);

  return {
    push: (paths, options) => pushFiles(paths.map((path) => ({ path })), options),
    async bring(start, say) {
      const user = ownerOf(start.directory);
      const pushing = { signal: start.signal, say, ...(user === null ? {} : { user }) };
      if (user !== null) await bringAgain(user, pushing);
      const paths = [...new Set([...leftAtHome(start), ...(start.reads ?? [])])];
      const sent = await pushFiles(paths.map((path) => ({ path })), pushing);
      return (text) => there(paths.reduce((result, path, index) => translated(result, path, sent[index]!), text));
    },
    async removeUnused(keepDays, held) {
      for (const user of uses.keys()) if (!held.includes(user)) uses.delete(user);
      return keepDays === 0 ? 0 : (await files.sweep(keepDays, held)).length;
    },
    close: () => files.close(),
  };
}
