// Finds anomalies in metrics as they arrive, without ever looking back. Pure: state and points in, state and what is new out.
//   T1. Each metric is judged by itself in the order of steps, each step once (watermark per metric): points that come twice, or in other batches of whole steps, change
//       nothing. Of two values for one step in one batch the earlier report counts.
//   T2. An attempt with a higher number begins anew at the step it resumed from; what an older one still reports is passed over.
//   T3. The state given is never changed. Where nothing was new, the very same object comes back, and there is nothing to store.
//   T4. No number, finite or not, makes it throw.

import { anomalyKey, type Anomaly, type HealthFacts, type HealthPoint } from "./anomaly.js";
import { messageFor, suggestionFor } from "./advice.js";
import { advanceEpisode, newEpisode } from "./episodes.js";
import { kept, newSeries, stateForAttempt, type HealthState, type SeriesState } from "./health-state.js";
import { judgeNonFinite, nonFiniteWatchOf } from "./non-finite.js";
import { leastGain, standingOf, type Standing } from "./rules.js";
import { followBest, remember, smooth, usualOf, type Usual } from "./series.js";
import { followPace } from "./silence.js";
import { NON_FINITE_WATCHES, WARM_UP, WATCHES, type Rule, type Watch } from "./thresholds.js";

export interface Detection {
  readonly state: HealthState;
  /** By step; at most one per kind, metric and step. */
  readonly anomalies: readonly Anomaly[];
}

const WATCH_OF: ReadonlyMap<string, { readonly watch: Watch; readonly order: number }> = new Map(WATCHES.flatMap((watch) => watch.names.map((name) => ({ watch, name }))).map(({ watch, name }, order) => [name, { watch, order }]));

/** Takes a batch of points in. Within it the order does not matter; batches come by rising step. */
export function detect(before: HealthState, points: readonly HealthPoint[], facts: HealthFacts): Detection {
  const begun = stateForAttempt(before, facts);
  if (begun === null) return { state: before, anomalies: [] }; // T2
  const state = structuredClone(begun);
  const anomalies: Anomaly[] = [];
  let isChanged = begun !== before;
  for (const [step, ofStep] of bySteps(points, state.from)) {
    isChanged = followPace(state.pace, step, ofStep) || isChanged;
    const watched = ofStep.map((point) => ({ point, watch: nonFiniteWatchOf(point.name)?.watch }));
    for (const watch of NON_FINITE_WATCHES) {
      const group = watched.filter((one) => one.watch === watch).map(({ point }) => point);
      if (group.length > 0) isChanged = judgeNonFinite(state.nonFinite[watch.group], watch, group, facts, anomalies) || isChanged;
    }
    for (const point of ofStep.filter(({ name }) => WATCH_OF.has(name)).sort(byTableAndReport)) isChanged = judgePoint(state, point, facts, anomalies) || isChanged;
  }
  return isChanged ? { state, anomalies } : { state: before, anomalies }; // T3
}

function bySteps(points: readonly HealthPoint[], from: number): [number, HealthPoint[]][] {
  const steps = new Map<number, HealthPoint[]>();
  for (const point of points) {
    if (!Number.isSafeInteger(point.step) || point.step < from) continue;
    const ofStep = steps.get(point.step);
    if (ofStep === undefined) steps.set(point.step, [point]);
    else ofStep.push(point);
  }
  return [...steps].sort(([a], [b]) => a - b);
}

/** T1: the same for any order of the batch. */
function byTableAndReport(a: HealthPoint, b: HealthPoint): number {
  const order = (point: HealthPoint) => WATCH_OF.get(point.name)!.order;
  return order(a) - order(b) || (a.at - b.at || 0) || (a.value - b.value || 0);
}

function judgePoint(state: HealthState, point: HealthPoint, facts: HealthFacts, anomalies: Anomaly[]): boolean {
  const series = state.series[point.name] ??= newSeries();
  if (point.step <= series.step) return false;
  series.step = point.step;
  if (!Number.isFinite(point.value)) return true;
  const { watch } = WATCH_OF.get(point.name)!;
  const value = kept(point.value);
  const usual = point.step <= (facts.warmupSteps ?? 0) ? null : usualOf(series);
  if (usual !== null) series.settled ??= kept(usual.median);

  const standings = new Map<Rule, Standing | null>();
  const stand = (rule: Rule): Standing | null => {
    const standing = standingOf(rule, series, value, usual);
    standings.set(rule, standing);
    return standing;
  };
  const onValue = watch.rules.filter((rule) => "on" in rule && rule.on === "value");
  const isRemarkable = onValue.map((rule) => stand(rule)?.levels.some(({ beyond }) => beyond) === true).includes(true);
  remember(series, value, isRemarkable, usual);
  smooth(series, value, watch.smoothing);
  follow(series, watch, point.step, usual);
  for (const rule of watch.rules) {
    const standing = standings.has(rule) ? standings.get(rule)! : stand(rule);
    if (standing !== null) tell(state, point, rule, standing, series, usual, facts, anomalies);
  }
  return true;
}

/** The best is followed where a rule is about it, once a single value no longer makes it. */
function follow(series: SeriesState, watch: Watch, step: number, usual: Usual | null): void {
  if (series.count < Math.min(WARM_UP, 1 / watch.smoothing.weight)) return;
  const spread = usual?.spread ?? 0;
  for (const rule of watch.rules) {
    if (rule.shape === "drop" && series.settled !== null) followBest(series, step, spread, "up", 0);
    if (rule.shape === "stall") followBest(series, step, spread, "down", leastGain(rule, series));
  }
}

function tell(state: HealthState, { name, step }: HealthPoint, rule: Rule, standing: Standing, series: SeriesState, usual: Usual | null, facts: HealthFacts, anomalies: Anomaly[]): void {
  const episode = series.episodes[rule.kind] ??= newEpisode(rule.levels.length);
  const level = advanceEpisode(episode, standing);
  if (level === null || isToldElsewhere(state, rule, name, episode.told)) return;
  const { kind } = rule;
  anomalies.push({
    key: anomalyKey(facts.attempt, kind, name, step, level.severity), kind, severity: level.severity, step, metric: name, value: standing.value, threshold: level.threshold,
    message: messageFor(rule, name, step, standing.value, level, series, usual), suggestion: suggestionFor(kind as Parameters<typeof suggestionFor>[0], name, facts.algorithm),
  });
}

/** Another metric of the group tells it already, and no less severely. */
function isToldElsewhere(state: HealthState, rule: Rule, name: string, rank: number): boolean {
  return rule.group !== undefined && Object.entries(state.series).some(([other, { episodes }]) => other !== name && (episodes[rule.kind]?.told ?? 0) >= rank);
}
