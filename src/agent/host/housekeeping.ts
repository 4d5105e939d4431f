// Removes the directories of attempts that ended long ago and hold neither a checkpoint nor a registered data file, here and where their programs ran.

import { existsSync, readFileSync } from "node:fs";
import { readdir, rmdir, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Place } from "../place/place.js";

/** How often it looks, in milliseconds. */
export const HOUSEKEEPING_EVERY_MS = 3_600_000;

/** Removes what ended more than `keepDays` ago, unless `isHeld` says that the attempt goes on. Resolves with the removed directories. */
export async function removeOldAttempts(options: { place: Pick<Place, "stat" | "removeAttempt">; attemptsRoot: string; keepDays: number; now: number; isHeld: (directory: string) => boolean }): Promise<string[]> {
  const { place, attemptsRoot, keepDays, now, isHeld } = options;
  if (keepDays === 0) return [];
  const removed: string[] = [];
  for (const pipeline of await namesIn(attemptsRoot)) {
    for (const stage of await namesIn(join(attemptsRoot, pipeline))) {
      for (const number of await namesIn(join(attemptsRoot, pipeline, stage))) {
        const directory = join(attemptsRoot, pipeline, stage, number);
        const changed = await stat(join(directory, "exit.json")).catch(() => stat(directory)).catch(() => null);
        if (changed === null || now - changed.mtimeMs < keepDays * 86_400_000) continue;
        if (isHeld(directory) || (await holdsListed(place, directory, "checkpoints")) || (await holdsListed(place, directory, "datasets"))) continue;
        await place.removeAttempt({ root: directory });
        removed.push(directory);
      }
      await rmdir(join(attemptsRoot, pipeline, stage)).catch(() => undefined); // only when empty
    }
    await rmdir(join(attemptsRoot, pipeline)).catch(() => undefined);
  }
  return removed;
}

/** Whether a checkpoint, or a data file, that was reported from here still exists. */
async function holdsListed(place: Pick<Place, "stat">, directory: string, list: "checkpoints" | "datasets"): Promise<boolean> {
  let paths: string[];
  try {
    paths = readFileSync(join(directory, list), "utf8").split("\n").filter((line) => line !== "").map((line) => JSON.parse(line) as string);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "ENOENT"; // unreadable: keep
  }
  return paths.some((path) => existsSync(path)) || (paths.length > 0 && (await place.stat(paths)).some((found) => found !== null));
}

function namesIn(directory: string): Promise<string[]> {
  return readdir(directory).catch(() => []);
}
