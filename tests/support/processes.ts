// Which processes a test left behind.
import { readdirSync, readlinkSync } from "node:fs";
import { identifyProcess } from "../../src/process-identity.js";

/** Every process that stands in a folder or beneath it. On systems without /proc: none are known. */
export function processesBelow(folder: string): number[] {
  if (process.platform !== "linux") return [];
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        const at = readlinkSync(`/proc/${pid}/cwd`);
        return at.startsWith(`${folder}/`) && identifyProcess(pid) !== null;
      } catch {
        return false;
      }
    });
}
