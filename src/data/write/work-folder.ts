// The folder beside the outputs in which everything is made: finished files are moved out of it, and what is left goes with it.
//   W1. Under its final name a file is whole and on disk, or it is not there.
//   W2. manifest.json appears last and goes first: where it lies, every file it names lies beside it.
//   W3. Spilled rows live in here too, on the disk of the outputs, so one removal ends every trace of a run.

import { mkdir, mkdtemp, open, readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";

export const OUTPUT_FILES = { train: "train.parquet", validation: "validation.parquet", rejects: "rejects.jsonl", manifest: "manifest.json" } as const;

const PREFIX = ".preprocess-";

/** Makes `outputDir` where it is missing, and the work folder in it. */
export async function createWorkFolder(outputDir: string): Promise<string> {
  await mkdir(outputDir, { recursive: true });
  return mkdtemp(join(outputDir, PREFIX));
}

/** Moves the named files to their final place (W1, W2) and takes away what an earlier run left under names that this one did not write. */
export async function publishFiles(workFolder: string, outputDir: string, names: readonly string[]): Promise<void> {
  await rm(join(outputDir, OUTPUT_FILES.manifest), { force: true });
  for (const name of Object.values(OUTPUT_FILES)) {
    if (!names.includes(name)) await rm(join(outputDir, name), { force: true });
  }
  const manifestLast = [...names].sort((a, b) => Number(a === OUTPUT_FILES.manifest) - Number(b === OUTPUT_FILES.manifest));
  for (const name of manifestLast) {
    if (name === OUTPUT_FILES.manifest) await syncFolder(outputDir);
    await rename(join(workFolder, name), join(outputDir, name));
  }
  await syncFolder(outputDir);
}

/** Tolerates files that are still appearing (a thread that is being ended) and a folder that is gone. */
export async function removeWorkFolder(workFolder: string): Promise<void> {
  await rm(workFolder, { recursive: true, force: true, maxRetries: 5, retryDelay: 20 });
}

/** Removes the work folders of runs whose process died. Only while no run writes into `outputDir`. */
export async function removeLeftovers(outputDir: string): Promise<void> {
  const names = await readdir(outputDir).catch(() => []);
  for (const name of names) if (name.startsWith(PREFIX)) await removeWorkFolder(join(outputDir, name));
}

async function syncFolder(path: string): Promise<void> {
  const handle = await open(path, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
