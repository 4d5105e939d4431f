// A host with a line that can be cut, for the tests of files.
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openFileSync, type FileSync } from "../../src/hosts/file-sync.js";
import { openHostLink, type HostLink } from "../../src/hosts/host-link.js";
import { startCutLine, type CutLine } from "../support/cut-line.js";
import { startSshd, type OwnSshd } from "../support/sshd.js";

export interface FilesWorld {
  readonly sshd: OwnSshd;
  readonly line: CutLine;
  /** A folder of this side. */
  readonly here: string;
  /** The working directory on the host, and its store. */
  readonly root: string;
  readonly store: string;
  /** A link over the line. */
  open(): { readonly link: HostLink; readonly files: FileSync };
}

export async function startFilesWorld(atEnd: (end: () => unknown) => void, directory?: string): Promise<FilesWorld> {
  const sshd = await startSshd();
  atEnd(() => sshd.stop());
  const line = await startCutLine(sshd.port);
  atEnd(() => line.stop());
  const [here, root] = [join(sshd.folder, "here"), directory ?? join(sshd.folder, "work")];
  mkdirSync(here);
  const access = sshd.access({ port: line.port });
  return {
    sshd, line, here, root, store: join(root, "store"),
    open() {
      const link = openHostLink({ name: "gpu1", access: async () => access, directory: root, pythonEnvironment: null });
      const files = openFileSync(link);
      atEnd(() => {
        files.close();
        link.close();
      });
      return { link, files };
    },
  };
}

/** Whether a disk of a few MiB can be made here; says what is not run otherwise. */
export function smallDisksAreHere(what: string): boolean {
  const endings: (() => void)[] = [];
  try {
    if (process.getuid?.() === 0 && process.platform === "linux") {
      smallDisk(1, (end) => endings.push(end));
      return true;
    }
  } catch {
    // said below
  } finally {
    for (const end of endings) end();
  }
  console.warn(`NOT RUN: the test of ${what}, because it needs root and the right to mount a tmpfs.`);
  return false;
}

/** The folder of a disk of so many MiB; gone at the end. */
export function smallDisk(mib: number, atEnd: (end: () => void) => unknown): string {
  const folder = mkdtempSync(join(tmpdir(), "ty-disk-"));
  let mounted = false;
  atEnd(() => {
    if (mounted) execFileSync("umount", ["-l", folder]);
    rmSync(folder, { recursive: true });
  });
  execFileSync("mount", ["-t", "tmpfs", "-o", `size=${mib}m`, "none", folder], { stdio: "ignore" });
  mounted = true;
  return folder;
}
