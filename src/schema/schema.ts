// The schema as served: every type of this folder, sorted by name, with the permission table in front.

import type { GraphQLSchema } from "graphql";
import { builder } from "./builder.js";
import { guardSchema } from "./guard.js";
import "./scalars.js";
import "./node.js";
import "./validation.js";
import "./domain-error.js";
import "./pipeline.js";
import "./stage.js";
import "./attempt.js";
import "./event.js";
import "./metric.js";
import "./log.js";
import "./checkpoint.js";
import "./evaluation.js";
import "./dataset.js";
import "./dataset-diff.js";
import "./training-job.js";
import "./sample.js";
import "./evaluation-samples.js";
import "./evaluation-comparison.js";
import "./anomaly.js";
import "./create-training-job.js";
import "./recipe.js";
import "./agent.js";
import "./host-deployment.js";
import "./host-deployment-orders.js";
import "./ssh-host.js";
import "./queue.js";
import "./token.js";
import "./webhook.js";
import "./viewer.js";
import "./audit-entry.js";

/** Builds the schema. Throws when a field has no rule in permissions.ts. */
export function buildSchema(): GraphQLSchema {
  return guardSchema(builder.toSchema({ sortSchema: true }));
}
