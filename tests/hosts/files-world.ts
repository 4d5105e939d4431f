// A host with a line that can be cut, for the tests of files.
import { mkdirSync } from "node:fs";
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
