// Objects by id alone. Ids show their kind, so they are global as they are: `pip_…` is a pipeline.

import { idKind } from "../domain/ids.js";
import { builder } from "./builder.js";
import type { Context } from "./context.js";

/** Kind of id → type. */
const TYPE_OF_KIND: Readonly<Record<string, string>> = {
  pip: "Pipeline", stg: "Stage", att: "Attempt", agt: "Agent", ckp: "Checkpoint", evl: "Evaluation", dst: "Dataset", ssh: "SshHost", job: "TrainingJob", ano: "Anomaly",
};

export interface NodeShape { readonly id: string }

export const Node = builder.interfaceRef<NodeShape>("Node").implement({
  description: "Whatever has an id that finds it again.",
  fields: (t) => ({ id: t.exposeID("id") }),
  resolveType: (node) => TYPE_OF_KIND[idKind(node.id) ?? ""],
});

type Find = (id: string, context: Context) => Promise<NodeShape | null>;
const finders = new Map<string, Find>();

/** Makes a type reachable through `node`. Called once by the file of the type. */
export function nodeKind(kind: string, find: Find): void {
  finders.set(kind, find);
}

builder.queryField("node", (t) => t.field({
  type: Node, nullable: true,
  description: "The object with this id, of whatever type; null when there is none.",
  args: { id: t.arg.id({ required: true }) },
  resolve: (_root, { id }, context) => finders.get(idKind(id) ?? "")?.(id, context) ?? null,
}));
