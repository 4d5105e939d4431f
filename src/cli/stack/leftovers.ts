// What a killed `up` left behind: its children are on their way out (parent-link.ts K1), or hang.
import { identifyProcess, isAlive } from "../../process-identity.js";
import { endProcess } from "../../server/embedded/server-process.js";
import { readChildren, writeChildren } from "./data-directory.js";

/** They close connections and write their last reports; this long they may, in milliseconds. */
const PATIENCE_MS = 4_000;

/** Waits for the children of the last `up` of this directory to be gone, and ends those that stay. Gives their names. Call it holding the directory's lock. */
export async function endLeftovers(dataDir: string): Promise<string[]> {
  const left = Object.entries(readChildren(dataDir)).filter(([, identity]) => isAlive(identity) && identity.pid !== process.pid);
  await Promise.all(left.map(([, identity]) => endProcess(identity, [
    { signal: "SIGTERM", patienceMs: PATIENCE_MS },
    { signal: "SIGKILL", patienceMs: 5_000 },
  ])));
  writeChildren(dataDir, {});
  return left.map(([name]) => name);
}

/** Notes a child as soon as it runs, so that the next start can find it. */
export function noteChild(dataDir: string, name: string, pid: number): void {
  const identity = identifyProcess(pid);
  if (identity !== null) writeChildren(dataDir, { ...readChildren(dataDir), [name]: identity });
}
