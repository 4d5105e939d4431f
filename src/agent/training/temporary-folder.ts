// A short folder of an attempt's own for Ray: its sockets lie below it, and a socket's path holds 107 bytes.

import { mkdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Ray adds about 70 bytes. */
const LONGEST = 30;

/** Makes it, closed to others. The same for every process of the agent. */
export function temporaryFolder(attemptId: string): string {
  const folder = temporaryFolderPath(attemptId);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  return folder;
}

export function removeTemporaryFolder(attemptId: string): void {
  rmSync(temporaryFolderPath(attemptId), { recursive: true, force: true });
}

/** Where it is, whether it was made or not. */
export function temporaryFolderPath(attemptId: string): string {
  const name = `ty-${attemptId.slice(-12)}`;
  const usual = join(tmpdir(), name);
  return usual.length <= LONGEST ? usual : join("/tmp", name);
}
