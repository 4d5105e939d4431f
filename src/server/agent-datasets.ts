// What agents ask of the registry: what a reference stands for, and the content of a version.
//   A1. The content is sent as it lies on disk, with its length announced: an agent that gets fewer bytes, or others, notices by length and hash.

import { createReadStream } from "node:fs";
import type { ServerResponse } from "node:http";
import { pipeline } from "node:stream/promises";
import type { AgentPrincipal } from "../actors/agent-gateway.js";
import { formatOf } from "../data/read/format.js";
import type { Db } from "../db/database.js";
import { findDataset, readDatasets, readFiles } from "../db/datasets.js";
import { parseDatasetRef } from "../domain/data/dataset.js";
import { ConflictError, NotFoundError } from "../domain/errors.js";
import type { AgentId, DatasetId, SessionId } from "../domain/ids.js";
import type { ResolvedDataset } from "../protocol/messages.js";
import type { Registry } from "../registry/registry.js";

/** Places that an agent is told to look at, at most. */
const PATHS_TOLD = 20;

export interface AgentDatasets {
  /** Throws NotFoundError. */
  resolve(principal: AgentPrincipal, input: { readonly ref: string; readonly sessionId?: SessionId | undefined }): Promise<ResolvedDataset>;
  /** Writes the content into the response. Throws NotFoundError, ConflictError DATASET_NOT_HERE. */
  send(id: DatasetId, response: ServerResponse, signal: AbortSignal): Promise<void>;
}

export function createAgentDatasets({ db, registry }: { readonly db: Db; readonly registry: Pick<Registry, "fileOf"> }): AgentDatasets {
  return {
    async resolve(principal, { ref, sessionId }) {
      const parsed = parseDatasetRef(ref);
      const found = parsed === null ? null : await findDataset(db, parsed);
      if (found === null) throw new NotFoundError("data set", ref);
      const [files, agentId] = await Promise.all([readFiles(db, [found.id]), callerOf(principal, sessionId)]);
      const own = agentId === null ? undefined : files.find((file) => file.agentId === agentId);
      const here = await registry.fileOf(found);
      return {
        datasetId: found.id, name: found.name, version: found.version, contentHash: found.contentHash, sizeBytes: found.sizeBytes, format: found.format, gzip: formatOf(files[0]?.path ?? "")?.gzip ?? false,
        path: own?.path ?? null,
        elsewhere: [...new Set([...(here === null ? [] : [here]), ...files.map((file) => file.path)])].filter((path) => path !== own?.path).slice(0, PATHS_TOLD),
        downloadable: here !== null,
      };
    },

    async send(id, response, signal) {
      const [found] = await readDatasets(db, [id]);
      if (found === undefined) throw new NotFoundError("data set", id);
      const path = await registry.fileOf(found);
      if (path === null) throw new ConflictError("DATASET_NOT_HERE", `The content of ${found.name}@${found.version} is not on this control plane. Register a copy in one of its data directories, or upload it.`);
      response.writeHead(200, { "content-type": "application/octet-stream", "content-length": found.sizeBytes, "x-content-sha256": found.contentHash, "cache-control": "no-store" });
      const bytes = createReadStream(path, found.sizeBytes === 0 ? { start: 0 } : { start: 0, end: found.sizeBytes - 1, highWaterMark: 1_048_576 });
      await pipeline(bytes, response, { signal }).catch((error: unknown) => {
        if (!signal.aborted) throw error; // the agent went away, or its connection broke off: it asks again
      });
    },
  };

  /** Which agent asks: by its session, otherwise by its token where only one agent uses that; null when that does not tell. */
  async function callerOf(principal: AgentPrincipal, sessionId: SessionId | undefined): Promise<AgentId | null> {
    const agents = await db.selectFrom("agents").select(["id", "session_id"]).where("token_id", "=", principal.tokenId).limit(1_000).execute();
    if (sessionId !== undefined) return agents.find((agent) => agent.session_id === sessionId)?.id ?? null;
    return agents.length === 1 ? agents[0]!.id : null;
  }
}
