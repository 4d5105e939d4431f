// Whether a stand-in wrote a folder, wherever it lies: by the mark that it leaves (src/simulation/simulated-mark.ts).

import { isAbsolute, join } from "node:path";
import { carriesMark, MARKED_FILES } from "../../simulation/simulated-mark.js";
import type { Place } from "./place.js";

/** Longest description that is looked at, in bytes. */
const MOST_BYTES = 1024 * 1024;

/** Whether a stand-in wrote the model or checkpoint in this folder of the place's. Not so where there is none. */
export async function isSimulated(folder: string, place: Pick<Place, "readText">): Promise<boolean> {
  for (const name of MARKED_FILES) {
    const text = await place.readText(join(folder, name), MOST_BYTES);
    if (text !== null && carriesMark(text)) return true;
  }
  return false;
}

/** Whether what an evaluate stage says that it evaluates was written by a stand-in, as far as it is a folder of the place's. */
export async function ofSimulated({ model, checkpoint }: Readonly<Record<string, unknown>>, place: Pick<Place, "readText">): Promise<boolean> {
  for (const path of [model, checkpoint]) if (typeof path === "string" && isAbsolute(path) && (await isSimulated(path, place))) return true;
  return false;
}
