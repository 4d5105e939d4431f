// The files of a checkpoint on an SSH host (K1, K2 in checkpoint-source.ts): looked at by the helper, read over SFTP.

import { NotFoundError } from "../../domain/errors.js";
import { remoteDigest } from "../../hosts/digests.js";
import { listTree } from "../../hosts/fetch-tree.js";
import { inWords } from "../../hosts/over-cuts.js";
import type { RemoteHelper } from "../../hosts/remote-helper.js";
import { withRemoteFile } from "../../hosts/sftp-files.js";
import { partsOf, versionOf, type CheckpointSource, type SourceFile } from "./checkpoint-source.js";
import type { HostLinks, ReachedHost } from "./host-links.js";

/** `root`: absolute path of the checkpoint on the host, a folder or one file. */
export function sshSource(links: HostLinks, hostId: string, root: string): CheckpointSource {
  const name = root.slice(root.lastIndexOf("/") + 1);
  const on = <T>(signal: AbortSignal, work: (host: ReachedHost) => Promise<T>): Promise<T> => links.use(hostId, signal, async (host) => {
    try {
      return await work(host);
    } catch (error) {
      throw inWords(host.name, error);
    }
  });
  /** K1: every part on the way is a folder, the last a file. */
  const place = async (helper: RemoteHelper, path: string): Promise<SourceFile & { readonly remote: string }> => {
    const parts = partsOf(path);
    const ways = [root, ...parts.map((_, index) => [root, ...parts.slice(0, index + 1)].join("/"))];
    const stats = await helper.stat(ways);
    const one = stats[0]?.kind === "file" && path === name ? stats[0] : null;
    const last = one ?? (stats.slice(0, -1).every((stat) => stat?.kind === "folder") && stats.at(-1)?.kind === "file" ? stats.at(-1)! : null);
    if (last === null) throw new NotFoundError("file of the checkpoint", path);
    return { path, sizeBytes: last.size, version: versionOf(last.size, last.changedMs), remote: one === null ? ways.at(-1)! : root };
  };
  return {
    list: (signal) => on(signal, async ({ name: host, helper }) => {
      const [top] = await helper.stat([root]);
      if (top?.kind === "file") return { files: [{ path: name, sizeBytes: top.size, version: versionOf(top.size, top.changedMs) }], folders: [], skipped: [] };
      const entries = (await listTree(helper, host, root)).map(({ parts, stat }) => ({ path: parts.join("/"), ...stat }));
      return {
        files: entries.filter(({ kind }) => kind === "file").map(({ path, size, changedMs }) => ({ path, sizeBytes: size, version: versionOf(size, changedMs) })),
        folders: entries.filter(({ kind }) => kind === "folder").map(({ path }) => path),
        skipped: entries.filter(({ kind }) => kind !== "file" && kind !== "folder").map(({ path, kind }) => ({ path, kind })),
      };
    }),
    stat: (path, signal) => on(signal, async ({ helper }) => {
      const { remote: _, ...found } = await place(helper, path);
      return found;
    }),
    read: (path, from, to, sink, signal) => on(signal, async ({ helper, files }) => {
      const { remote } = await place(helper, path);
      await withRemoteFile(files.lines, { path: remote, bytes: to - from, mode: "r", signal }, async (file) => {
        for await (const bytes of file.read(from, to)) await sink(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length));
      });
    }),
    digest: (path, progressed, signal) => on(signal, async ({ helper }) => {
      const { remote, sizeBytes } = await place(helper, path);
      const found = await remoteDigest(helper.store, remote, { progressed, signal }).advance(sizeBytes, true);
      if (found === null) throw new NotFoundError("file of the checkpoint in that length", path);
      return found;
    }),
  };
}
