// Checkpoints on disk: how large, and gone.
//   C1. Nothing outside the attempts of this agent, and those it shares, is ever deleted: the real path decides, links resolved.
//   C2. A checkpoint is renamed before it is deleted: half a checkpoint never carries its name.

import { existsSync, realpathSync } from "node:fs";
import { lstat, readdir, rename, rm } from "node:fs/promises";
import { randomBytes } from "node:crypto";
import { dirname, join } from "node:path";
import { isBelow } from "../attempt/attempt-directory.js";

/** Files counted before the size is given up. */
const COUNT_LIMIT = 200_000;

/** Bytes of a file or of everything in a folder, links not followed; null when there are too many files to count. */
export async function sizeOnDisk(path: string): Promise<number | null> {
  let bytes = 0;
  let left = COUNT_LIMIT;
  const visit = async (at: string): Promise<void> => {
    if (--left < 0) return;
    const stat = await lstat(at);
    if (!stat.isDirectory()) {
      bytes += stat.size;
      return;
    }
    for (const name of await readdir(at)) await visit(join(at, name)).catch(() => undefined); // a file may vanish meanwhile
  };
  await visit(path);
  return left < 0 ? null : bytes;
}

/** Deletes a checkpoint that lies below one of the roots; resolves with the bytes freed, 0 when it is gone already. Throws Error saying why it was not deleted. */
export async function deleteCheckpointFiles(roots: readonly string[], path: string): Promise<number> {
  if (path.includes("\0") || !path.startsWith("/")) throw new Error(`${JSON.stringify(path)} is no absolute path.`);
  if (!existsSync(path)) {
    if (!roots.some((root) => isBelow(root, path))) throw new Error(`${path} lies outside this agent's attempt directories; nothing was deleted.`);
    return 0;
  }
  const real = realpathSync(path);
  // <pipeline>/<stage>/<number>/<something>: never a whole attempt, and C1
  const isOurs = (root: string) => isBelow(root, real) && real.slice(root.length + 1).split("/").length >= 4;
  if (!roots.filter((root) => existsSync(root)).map((root) => realpathSync(root)).some(isOurs)) throw new Error(`${path} lies outside this agent's attempt directories; nothing was deleted.`);
  const bytes = (await sizeOnDisk(real)) ?? 0;
  const doomed = join(dirname(real), `.deleted-${randomBytes(6).toString("hex")}`);
  await rename(real, doomed); // C2
  await rm(doomed, { recursive: true, force: true });
  return bytes;
}
