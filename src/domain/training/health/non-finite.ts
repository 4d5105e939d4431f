// NaN and infinities. They come in flocks (the loss, its gradient and everything computed from it), so a group of metrics tells them once.
//   F1. A group is told by the first of its metrics in the table's order at the first step that has any; while that lasts, others are silent.
//   F2. It is over when the told metric was finite for NON_FINITE_RECOVERY steps in which no other of the group was not.

import { anomalyKey, inWords, type Anomaly, type HealthFacts, type HealthPoint } from "./anomaly.js";
import { suggestionFor } from "./advice.js";
import type { NonFiniteState } from "./health-state.js";
import { LONGEST_NAME, NON_FINITE_RECOVERY, NON_FINITE_WATCHES, type NonFiniteWatch } from "./thresholds.js";

/** The group that a metric belongs to, with its place in it; null for most. */
export function nonFiniteWatchOf(name: string): { readonly watch: NonFiniteWatch; readonly order: number } | null {
  if (name.length > LONGEST_NAME) return null;
  for (const watch of NON_FINITE_WATCHES) {
    const order = watch.names.findIndex((pattern) => pattern.test(name));
    if (order >= 0 && !watch.except.some((pattern) => pattern.test(name))) return { watch, order };
  }
  return null;
}

/** Takes the group's points of one step in. Changes the state in place; returns whether it did. */
export function judgeNonFinite(state: NonFiniteState, watch: NonFiniteWatch, points: readonly HealthPoint[], facts: HealthFacts, anomalies: Anomaly[]): boolean {
  const step = points[0]!.step;
  if (step < state.step) return false;
  const bad = points.filter(({ value }) => !Number.isFinite(value));
  const isNew = step > state.step;
  if (bad.length === 0 && !isNew) return false;
  state.step = step;
  if (bad.length > 0) {
    const wasWell = state.metric === null;
    const before = state.good;
    state.good = 0;
    if (!wasWell) return isNew || before !== 0;
    const order = (point: HealthPoint) => nonFiniteWatchOf(point.name)!.order;
    const told = [...bad].sort((a, b) => order(a) - order(b) || (a.name < b.name ? -1 : a.name > b.name ? 1 : 0))[0]!; // F1
    state.metric = told.name;
    anomalies.push(nonFinite(told, watch, new Set(bad.map(({ name }) => name)).size - 1, facts));
    return true;
  }
  if (state.metric !== null && points.some(({ name }) => name === state.metric) && ++state.good >= NON_FINITE_RECOVERY) Object.assign(state, { metric: null, good: 0 }); // F2
  return true;
}

function nonFinite({ name, step, value }: HealthPoint, { severity }: NonFiniteWatch, others: number, facts: HealthFacts): Anomaly {
  return {
    key: anomalyKey(facts.attempt, "NON_FINITE", name, step, severity), kind: "NON_FINITE", severity, step, metric: name, value, threshold: null,
    message: `${name} is ${inWords(value)} at step ${step}${others === 0 ? "" : `, and ${others} more metric${others === 1 ? "" : "s"} with it`}.`,
    suggestion: suggestionFor("NON_FINITE", name, facts.algorithm),
  };
}
