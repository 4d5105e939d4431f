// Which checkpoints stay. Pure; what is chosen here is ordered from the agents, whose answers move the rows.
//   R1. What is kept for one reason is kept, whatever another says: pinned, in use, young, best, newest.
//   R2. A stage that may still run keeps its newest checkpoint: a retry resumes from it.
//   R3. NaN and infinities are never best, nor is a checkpoint without the metric. Of equal values the newer one is better.
//   R4. Doing it twice deletes nothing more.

import type { CheckpointId, StageId } from "./ids.js";

export type MetricMode = "min" | "max";

/** What is looked at of a checkpoint. Values as stored: JSON has no NaN, so those are strings. */
export interface KeptCheckpoint {
  readonly id: CheckpointId;
  readonly stageId: StageId;
  readonly attempt: number;
  readonly step: number;
  readonly path: string;
  readonly metrics: Readonly<Record<string, unknown>>;
  readonly pinned: boolean;
  /** Milliseconds since 1970. */
  readonly createdAt: number;
}

/** What a cleanup stage says (CleanupParams), without its stages. Without a metric, `defaultMetric` chooses. */
export interface CleanupPolicy {
  readonly keepBest: number;
  readonly metric?: string | undefined;
  readonly mode: MetricMode;
  readonly keepLast: number;
  readonly olderThanDays?: number | undefined;
}

export interface StageSituation {
  /** The stage may still make attempts. */
  readonly open: boolean;
  /** Paths that running stages name in their parameters, at any depth. */
  readonly pathsInUse: ReadonlySet<string>;
  /** Milliseconds since 1970. */
  readonly now: number;
}

export const DAY_MS = 86_400_000;

/** Oldest first: by attempt, then step. A later attempt's checkpoint is newer even where it repeats a step. */
export function byAge(a: KeptCheckpoint, b: KeptCheckpoint): number {
  return a.attempt - b.attempt || a.step - b.step || a.createdAt - b.createdAt || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0);
}

/** Those of one stage that may go, oldest first. Pass only what is not deleted. */
export function checkpointsToDelete(checkpoints: readonly KeptCheckpoint[], policy: CleanupPolicy, situation: StageSituation): CheckpointId[] {
  const ordered = [...checkpoints].sort(byAge);
  const chosen = policy.metric === undefined ? defaultMetric(ordered) : { metric: policy.metric, mode: policy.mode };
  const best = chosen === null ? [] : bestFirst(ordered, chosen.metric, chosen.mode).slice(0, policy.keepBest);
  const keepLast = Math.max(policy.keepLast, situation.open ? 1 : 0); // R2
  const kept = new Set<CheckpointId>([...best, ...ordered.slice(Math.max(0, ordered.length - keepLast))].map(({ id }) => id));
  const deleteBefore = policy.olderThanDays === undefined ? Infinity : situation.now - policy.olderThanDays * DAY_MS;
  return ordered.filter((c) => !c.pinned && !kept.has(c.id) && c.createdAt < deleteBefore && !isInUse(c.path, situation.pathsInUse)).map(({ id }) => id);
}

/** Age retention, for the checkpoints of any number of stages: of each stage the best, the newest and the pinned one stay however old. Stages of `openStages` are left alone. */
export function checkpointsPastAge(checkpoints: readonly KeptCheckpoint[], options: {
  readonly days: number;
  readonly openStages: ReadonlySet<StageId>;
  readonly pathsInUse: ReadonlySet<string>;
  /** The metric that a cleanup stage names for a stage; others by defaultMetric. */
  readonly metrics: ReadonlyMap<StageId, { readonly metric: string; readonly mode: MetricMode }>;
  readonly now: number;
}): CheckpointId[] {
  const byStage = new Map<StageId, KeptCheckpoint[]>();
  for (const checkpoint of checkpoints) byStage.set(checkpoint.stageId, [...(byStage.get(checkpoint.stageId) ?? []), checkpoint]);
  return [...byStage].flatMap(([stageId, some]) => {
    if (options.openStages.has(stageId)) return [];
    const named = options.metrics.get(stageId);
    const policy = { keepBest: 1, keepLast: 1, olderThanDays: options.days, metric: named?.metric, mode: named?.mode ?? "min" };
    return checkpointsToDelete(some, policy, { open: false, pathsInUse: options.pathsInUse, now: options.now });
  });
}

/** R3: those that have the metric, best first. */
export function bestFirst<C extends KeptCheckpoint>(checkpoints: readonly C[], metric: string, mode: MetricMode): C[] {
  const sign = mode === "min" ? 1 : -1;
  return checkpoints
    .flatMap((checkpoint) => {
      const value = Object.hasOwn(checkpoint.metrics, metric) ? checkpoint.metrics[metric] : undefined;
      return typeof value === "number" && Number.isFinite(value) ? [{ checkpoint, value }] : [];
    })
    .sort((a, b) => sign * (a.value - b.value) || byAge(b.checkpoint, a.checkpoint))
    .map(({ checkpoint }) => checkpoint);
}

/** Losses on data that was held out, then any loss. */
const HELD_OUT = /(^|[^a-z])(val|valid|validation|eval|evaluation|test|held_?out|dev)([^a-z].*)?loss$/i;
const LOSS = /(^|[^a-z])loss$/i;
/** What verl validates in reinforcement learning (the mean over so many answers), and what it draws while training. Policy losses say nothing there. */
const VALIDATED_REWARD = /^val-core\/.+\/mean@\d+$/;
const DRAWN_REWARD = /^critic\/(score|rewards)\/mean$/;

/** Which metrics tell good from bad when nobody has said, the better ones first. */
const TELLING: readonly (readonly [name: RegExp, mode: MetricMode])[] = [[HELD_OUT, "min"], [VALIDATED_REWARD, "max"], [DRAWN_REWARD, "max"], [LOSS, "min"]];

/** The metric that tells good from bad when nobody has said: the lowest held-out loss (val/loss, eval_loss, …), else the highest reward, else the lowest loss; of several the first
 *  in the alphabet that has a finite value. Null: there is none, and nothing is best. By the alphabet and not by number, so that deleting some never changes the choice (R4). */
export function defaultMetric(checkpoints: readonly Pick<KeptCheckpoint, "metrics">[]): { metric: string; mode: MetricMode } | null {
  const names = [...new Set(checkpoints.flatMap(({ metrics }) => Object.keys(metrics).filter((name) => Number.isFinite(metrics[name]))))].sort();
  for (const [pattern, mode] of TELLING) {
    const metric = names.find((name) => pattern.test(name));
    if (metric !== undefined) return { metric, mode };
  }
  return null;
}

/** Whether a path in use is the checkpoint, lies within it, or is a folder around it. */
export function isInUse(path: string, pathsInUse: ReadonlySet<string>): boolean {
  const own = withoutEnd(path);
  for (const used of pathsInUse) {
    const other = withoutEnd(used);
    if (other === own || other.startsWith(`${own}/`) || (other.startsWith("/") && own.startsWith(`${other}/`))) return true;
  }
  return false;
}

function withoutEnd(path: string): string {
  return path.length > 1 ? path.replace(/\/+$/, "") : path;
}

/** All texts within a value, at any depth, that could be paths: what a running stage reads is among them. */
export function textsWithin(value: unknown): string[] {
  if (typeof value === "string") return [value, ...argumentValue(value)];
  if (Array.isArray(value)) return value.flatMap(textsWithin);
  if (typeof value === "object" && value !== null) return Object.values(value).flatMap(textsWithin);
  return [];
}

/** The part after `=` of `--checkpoint=/path` and of `key.path=/path`. */
function argumentValue(text: string): string[] {
  const at = text.indexOf("=");
  return at === -1 ? [] : [text.slice(at + 1)];
}
