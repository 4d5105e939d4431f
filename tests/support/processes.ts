// Which processes a test left behind.
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { readProcessTable } from "../../src/agent/place/process-table.js";
import { identifyProcess } from "../../src/process-identity.js";
import { pollUntil } from "../../src/server/embedded/server-process.js";

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

/** Command lines of what still runs for an attempt. */
export function leftOf(attemptId: string): string[] {
  return readProcessTable().flatMap(({ pid }) => {
    try {
      return readFileSync(`/proc/${pid}/environ`, "latin1").includes(attemptId) ? [readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ")] : [];
    } catch {
      return [];
    }
  });
}

/** kill -9 to whatever `find` names, all at once and again, until it names nothing. */
export async function killAll(find: () => readonly number[]): Promise<void> {
  await pollUntil(() => {
    const left = find();
    for (const pid of left) {
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // gone since the look
      }
    }
    return left.length === 0;
  }, 10_000);
}
