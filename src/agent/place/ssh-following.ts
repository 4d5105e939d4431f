// Brings what a program on an SSH host writes into home's files: growing ones as they grow, the others when the program has ended.
//   F1. What a result is there, it is here: a file with its bytes, no file when there is none, and something that nobody reads as a file when it is no regular one.

import { mkdirSync, renameSync, rmSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { mirrorFiles } from "../../hosts/file-mirror.js";
import type { HostLink } from "../../hosts/host-link.js";
import type { RemoteHelper } from "../../hosts/remote-helper.js";
import type { FollowedFiles, Following } from "./place.js";

/** A larger result is here by its size only, in bytes. */
const RESULT_LIMIT = 64 * 1024 * 1024;
const PIECE = 192 * 1024;

export interface FollowingOptions {
  readonly link: HostLink;
  readonly there: (path: string) => string;
  /** Repeats what a cut interrupted. */
  readonly overCuts: <T>(use: (helper: RemoteHelper) => Promise<T>) => Promise<T>;
  readonly signal: AbortSignal;
}

export function followOverSsh({ growing, results }: FollowedFiles, { link, there, overCuts, signal }: FollowingOptions, failed: (error: Error) => void): Following {
  const mirrored = growing.map((file) => (typeof file === "string" ? { local: file, remote: there(file) } : { local: file.here, remote: file.there }));
  for (const folder of new Set([...mirrored.map(({ local }) => local), ...results].map(dirname))) mkdirSync(folder, { recursive: true, mode: 0o700 });
  const mirror = mirrorFiles(link, mirrored, failed);
  return {
    async caughtUp() {
      await overCuts(() => mirror.caughtUp(signal));
      for (const local of results) await overCuts((helper) => fetchResult(helper, there(local), local));
    },
    close: () => mirror.close(),
  };
}

/** F1. May be repeated. */
async function fetchResult(helper: RemoteHelper, remote: string, local: string): Promise<void> {
  const found = (await helper.stat([remote]))[0] ?? null;
  const aside = `${local}.new`;
  rmSync(aside, { recursive: true, force: true });
  if (found === null) return rmSync(local, { recursive: true, force: true });
  if (found.kind === "link") symlinkSync("nowhere", aside);
  else if (found.kind !== "file") mkdirSync(aside);
  else if (found.size > RESULT_LIMIT) {
    writeFileSync(aside, "", { mode: 0o600 });
    truncateSync(aside, found.size);
  } else {
    const pieces: Buffer[] = [];
    for (let at = 0; at < found.size;) {
      const { bytes } = await helper.read(remote, at, PIECE);
      if (bytes.length === 0) break; // it became shorter
      pieces.push(bytes);
      at += bytes.length;
    }
    writeFileSync(aside, Buffer.concat(pieces), { mode: 0o600 });
  }
  rmSync(local, { recursive: true, force: true });
  renameSync(aside, local);
}
