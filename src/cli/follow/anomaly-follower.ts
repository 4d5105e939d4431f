// What is found wrong with a watched pipeline's trainings, as it is found.
//   A1. It begins after one that the view has, or with the first there is, and moves with each: a reconnect misses none, and what the view has already is passed over.
//   A2. Watching never fails for it: where the server does not tell, nothing is shown.
import type { SubscriptionClient } from "../api/subscriptions.js";
import { ANOMALY_VIEW, applyAnomaly, type AnomalyView, type PipelineView } from "./pipeline-view.js";

export const ANOMALIES_SUBSCRIPTION = `subscription Anomalies($pipelineId: ID!, $after: ID) { anomalies(pipelineId: $pipelineId, after: $after) { ${ANOMALY_VIEW} trainingJob { stage { name } } } }`;

type Item = AnomalyView & { readonly trainingJob: { readonly stage: { readonly name: string } } };

/** Nothing for a pipeline without train stages. `current`: the view as it stands now. Returns how to stop. */
export function followAnomalies(subscriptions: SubscriptionClient, first: PipelineView, current: () => PipelineView, onAnomaly: (stage: string, anomaly: AnomalyView) => void): () => void {
  if (![...first.stages.values()].some(({ kind }) => kind === "TRAIN")) return () => undefined;
  const newest = [...first.stages.values()].flatMap(({ anomalies }) => anomalies).sort((a, b) => (a.id < b.id ? -1 : 1)).at(-1);
  const variables: Record<string, unknown> = { pipelineId: first.id, after: newest?.id ?? null };
  const stream = subscriptions.stream<Item>({
    query: ANOMALIES_SUBSCRIPTION, variables,
    onItem({ trainingJob, ...anomaly }) {
      variables["after"] = anomaly.id;
      if (applyAnomaly(current(), trainingJob.stage.name, anomaly)) onAnomaly(trainingJob.stage.name, anomaly);
    },
  });
  stream.done.catch(() => undefined); // A2
  return () => stream.stop();
}
