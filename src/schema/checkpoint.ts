// Checkpoints: weights that a stage left behind on an agent's disk.

import { NotFoundError } from "../domain/errors.js";
import { isId, type CheckpointId } from "../domain/ids.js";
import { pinCheckpoint, type CheckpointRow } from "../db/telemetry/checkpoints.js";
import { builder } from "./builder.js";
import type { Context } from "./context.js";
import { Conflict, Forbidden, memberOf, NotFound } from "./domain-error.js";
import { audited } from "./mutation.js";
import { Node, nodeKind } from "./node.js";
import { Stage } from "./stage.js";

export const Checkpoint = builder.objectRef<CheckpointRow>("Checkpoint");
Checkpoint.implement({
  description: "Weights that a stage left behind.",
  interfaces: [Node],
  fields: (t) => ({
    stage: t.field({ type: Stage, resolve: async (row, _args, { loaders }) => (await loaders.stage.load(row.stageId))! }),
    step: t.expose("step", { type: "SafeInt" }),
    path: t.exposeString("path", { description: "On its host." }),
    host: t.string({ description: "Name of the agent that holds it.", resolve: async (row, _args, { loaders }) => (await loaders.agent.load(row.agentId))?.name ?? row.agentId }),
    sizeBytes: t.expose("sizeBytes", { type: "SafeInt", nullable: true }),
    metrics: t.expose("metrics", { type: "JSON", description: "Metric values at its step; NaN and infinities as text." }),
    isBest: t.exposeBoolean("isBest", { description: "Best of its stage by the metric that the pipeline's cleanup names." }),
    isPinned: t.boolean({ description: "Pinned ones are never deleted.", resolve: (row) => row.pinned }),
    simulated: t.boolean({ description: "Left by a stand-in: there are no weights in it.", resolve: async (row, _args, { loaders }) => (await loaders.jobOf.load(row.stageId))?.simulated ?? false }),
    deletedAt: t.expose("deletedAt", { type: "DateTime", nullable: true }),
    createdAt: t.field({ type: "DateTime", resolve: (row) => new Date(row.createdAt) }),
  }),
});
nodeKind("ckp", (id, { loaders }) => (isId("ckp", id) ? loaders.checkpoint.load(id) : Promise.resolve(null)));

interface Kept { readonly checkpoint: CheckpointRow }
const CheckpointPayload = builder.objectRef<Kept>("CheckpointPayload").implement({ fields: (t) => ({ checkpoint: t.expose("checkpoint", { type: Checkpoint }) }) });
const CheckpointResult = builder.unionType("CheckpointResult", { types: [CheckpointPayload, NotFound, Conflict, Forbidden], resolveType: memberOf("CheckpointPayload") });

/** The resolver of a change to one checkpoint. */
function changing(change: (id: CheckpointId, context: Context) => Promise<void>) {
  return audited<{ id: string }, Kept>({
    subject: ({ id }) => id,
    run: async ({ id }, _actor, context) => {
      if (!isId("ckp", id)) throw new NotFoundError("checkpoint", id);
      await change(id, context);
      const checkpoint = await context.loaders.checkpoint.load(id);
      if (checkpoint === null) throw new NotFoundError("checkpoint", id);
      return { checkpoint };
    },
  });
}

const CHANGES = [
  ["pinCheckpoint", "Keeps a checkpoint whatever retention and cleanup say.", (id: CheckpointId, { deps }: Context) => pinCheckpoint(deps.db, id, true)],
  ["unpinCheckpoint", "Takes the pin off.", (id: CheckpointId, { deps }: Context) => pinCheckpoint(deps.db, id, false)],
  ["deleteCheckpoint", "Orders its files to be deleted on the host that holds them; `deletedAt` is set when the host has done so. Pinned ones are refused.", (id: CheckpointId, { deps }: Context) => deps.controlPlane.deleteCheckpoint(id)],
] as const;
for (const [name, description, change] of CHANGES) {
  builder.mutationField(name, (t) => t.field({ type: CheckpointResult, description, args: { id: t.arg.id({ required: true }) }, resolve: changing(change) }));
}
