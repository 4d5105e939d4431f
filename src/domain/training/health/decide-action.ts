// What is done about an anomaly. The stage's policy says it for the hard kinds; all others are only told.
//   P1. In shadow nothing is done; what would have been done is said.
//   P2. Rollbacks have a budget for the whole stage; after that, or with nothing to go back to, the run is stopped.

import type { TrainParams } from "../train-params.js";
import { inWords, rankOf, type Anomaly, type AnomalyKind, type AnomalySeverity } from "./anomaly.js";

export type HealthPolicy = TrainParams["health"];
export type AnomalyAction = "NOTIFIED" | "STOPPED" | "ROLLED_BACK";

export interface ActionDecision {
  /** What is done. */
  readonly action: AnomalyAction;
  /** In shadow: what would have been done; otherwise null. */
  readonly would: AnomalyAction | null;
  /** Why, in a sentence. */
  readonly reason: string;
}

export interface ActionSituation {
  /** Rollbacks of the stage so far. */
  readonly budgetUsed: number;
  /** Step of the newest complete checkpoint before the anomaly; null: there is none. Absent: not looked at. */
  readonly checkpointStep?: number | null;
}

/** Kinds that may act: the field that says how, and the severity from which it counts. A lower one is a warning that may yet pass. */
export const HARD_KINDS: Readonly<Partial<Record<AnomalyKind, { readonly field: "onNonFinite" | "onDivergence"; readonly from: AnomalySeverity }>>> = {
  NON_FINITE: { field: "onNonFinite", from: "CRITICAL" }, // HIGH is a NaN in validation alone
  KL_EXPLOSION: { field: "onDivergence", from: "HIGH" },
  GRADIENT_EXPLOSION: { field: "onDivergence", from: "HIGH" },
  REWARD_COLLAPSE: { field: "onDivergence", from: "HIGH" },
};

export function decideAction(anomaly: Pick<Anomaly, "kind" | "severity">, policy: HealthPolicy, situation: ActionSituation): ActionDecision {
  const wanted = wantedAction(anomaly, policy, situation);
  if (!policy.shadow || wanted.action === "NOTIFIED") return { ...wanted, would: null };
  return { action: "NOTIFIED", would: wanted.action, reason: `Only told, as health.shadow is set. ${wanted.reason}` }; // P1
}

function wantedAction({ kind, severity }: Pick<Anomaly, "kind" | "severity">, policy: HealthPolicy, { budgetUsed, checkpointStep }: ActionSituation): { action: AnomalyAction; reason: string } {
  const hard = HARD_KINDS[kind];
  if (hard === undefined) return { action: "NOTIFIED", reason: `${kind} is only told.` };
  const says = policy[hard.field];
  if (rankOf(severity) < rankOf(hard.from)) return { action: "NOTIFIED", reason: `${kind} acts from ${hard.from} on; this is ${severity}.` };
  if (says === "notify") return { action: "NOTIFIED", reason: `health.${hard.field} is notify.` };
  if (says === "stop") return { action: "STOPPED", reason: `health.${hard.field} is stop.` };
  if (budgetUsed >= policy.budget) return { action: "STOPPED", reason: `health.${hard.field} is rollback, but its budget of ${policy.budget} is used up.` }; // P2
  if (checkpointStep === null) return { action: "STOPPED", reason: `health.${hard.field} is rollback, but there is no complete checkpoint before it.` };
  return { action: "ROLLED_BACK", reason: `health.${hard.field} is rollback: ${inWords(budgetUsed + 1)} of ${policy.budget}${checkpointStep === undefined ? "" : `, to step ${checkpointStep}`}.` };
}
