// From the id of a checkpoint to where its files can be read.
//   F1. On an SSH host: over SSH, whoever runs programs there. On this machine: only below the folders that stages of the agent here write to. Elsewhere: refused, with how to copy it by hand.

import { realpath } from "node:fs/promises";
import { sep } from "node:path";
import type { Db } from "../../db/database.js";
import { readCheckpoints, type CheckpointRow } from "../../db/telemetry/checkpoints.js";
import { ConflictError, NotFoundError } from "../../domain/errors.js";
import { isId } from "../../domain/ids.js";
import type { CheckpointSource } from "./checkpoint-source.js";
import type { HostLinks } from "./host-links.js";
import { localSource } from "./local-source.js";
import { sshSource } from "./ssh-source.js";

export interface LocatedCheckpoint {
  readonly row: CheckpointRow;
  /** Name of the agent that holds it. */
  readonly host: string;
  readonly source: CheckpointSource;
}

export interface CheckpointFiles {
  /** Throws NotFoundError, ConflictError CHECKPOINT_GONE and CHECKPOINT_ELSEWHERE. */
  locate(id: string): Promise<LocatedCheckpoint>;
}

/** `ownDirs`: where stages of the agent on this machine leave checkpoints. */
export function createCheckpointFiles({ db, links, ownDirs }: { readonly db: Db; readonly links: HostLinks; readonly ownDirs: readonly string[] }): CheckpointFiles {
  /** The real path when it lies here and below one of `ownDirs`. */
  const placeHere = async (path: string): Promise<string | null> => {
    const real = await realpath(path).catch(() => null);
    if (real === null) return null;
    for (const folder of ownDirs) {
      const root = await realpath(folder).catch(() => null);
      if (root !== null && real.startsWith(root + sep)) return real;
    }
    return null;
  };
  return {
    async locate(id) {
      const [row] = isId("ckp", id) ? await readCheckpoints(db, [id]) : [];
      if (row === undefined) throw new NotFoundError("checkpoint", id);
      if (row.deletedAt !== null || row.deleteOrderedAt !== null) {
        throw new ConflictError("CHECKPOINT_GONE", `Checkpoint ${id} ${row.deletedAt === null ? "is being deleted by its agent" : "was deleted"}: it cannot be fetched any more. Choose another one of the stage.`);
      }
      const agent = await db.selectFrom("agents").select(["name", "address", "run_mode"]).where("id", "=", row.agentId).executeTakeFirstOrThrow();
      const host = await db.selectFrom("ssh_hosts").select("id").where("name", "=", agent.name).executeTakeFirst();
      const here = host === undefined && agent.run_mode === "LOCAL" ? await placeHere(row.path) : null;
      if (host === undefined && here === null) throw new ConflictError("CHECKPOINT_ELSEWHERE", elsewhere(id, row.path, agent));
      return { row, host: agent.name, source: host !== undefined ? sshSource(links, host.id, row.path) : localSource(here!) };
    },
  };
}

function elsewhere(id: string, path: string, { name, address, run_mode: runMode }: { readonly name: string; readonly address: string | null; readonly run_mode: string }): string {
  const where = `The files of ${id} lie on ${name}${address === null ? "" : ` (${address})`} at ${path}`;
  if (runMode === "SSH") return `${where}, and ${name} is no longer among the SSH hosts. Add it again under that name, then fetch.`;
  const from = `${address ?? name}:${path}`;
  return `${where}, and this control plane has no way to them: it reads checkpoints of SSH hosts and of the agent that it started itself. Copy them with: rsync -a --partial --progress ${quoted(`${from}/`)} ${quoted(`./${id}/`)} (or: scp -rp ${quoted(from)} ${quoted(`./${id}`)})`;
}

/** A word of a POSIX shell. */
function quoted(word: string): string {
  return /^[A-Za-z0-9_./:@%+=-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
