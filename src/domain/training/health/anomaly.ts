// What is told about a run that does not train well, and what is known of the run when it is judged. Kinds and severities are those of the public schema.

import type { Algorithm } from "../algorithms.js";

export const ANOMALY_KINDS = [
  "NON_FINITE", "KL_EXPLOSION", "ENTROPY_COLLAPSE", "REWARD_COLLAPSE", "GRADIENT_EXPLOSION", "GRADIENT_VANISHING",
  "LOSS_PLATEAU", "LOSS_SPIKE", "NO_PROGRESS", "OUT_OF_MEMORY", "RESPONSE_LENGTH_CLIPPED",
] as const;
export type AnomalyKind = (typeof ANOMALY_KINDS)[number];

/** Rising. */
export const ANOMALY_SEVERITIES = ["LOW", "MEDIUM", "HIGH", "CRITICAL"] as const;
export type AnomalySeverity = (typeof ANOMALY_SEVERITIES)[number];

/** 1 for LOW to 4 for CRITICAL; 0 is left for "nothing". */
export function rankOf(severity: AnomalySeverity): number {
  return ANOMALY_SEVERITIES.indexOf(severity) + 1;
}

/** One value of one metric. Steps are whole and not negative; others are passed over. */
export interface HealthPoint {
  readonly name: string;
  readonly step: number;
  /** Milliseconds since 1970, by the agent's clock. */
  readonly at: number;
  /** May be NaN or infinite. */
  readonly value: number;
}

export interface HealthFacts {
  /** Number of the attempt that the points are of. A higher one than before begins anew, points of a lower one are passed over. */
  readonly attempt: number;
  readonly algorithm: Algorithm;
  /** Step of the checkpoint that the attempt went on from; null or absent: it began at the start. Points of earlier steps are passed over. */
  readonly resumedFrom?: number | null;
  /** Steps over which the learning rate rises. Until then nothing is compared with what is usual for the run. */
  readonly warmupSteps?: number | null;
}

export interface Anomaly {
  /** The same for the same finding, however often it is found: attempt, kind, metric, step, severity. */
  readonly key: string;
  readonly kind: AnomalyKind;
  readonly severity: AnomalySeverity;
  /** Null for what a log line says. */
  readonly step: number | null;
  /** With the numbers. */
  readonly message: string;
  /** What to do about it, for this algorithm. */
  readonly suggestion: string;
  /** Null for NO_PROGRESS and OUT_OF_MEMORY. */
  readonly metric: string | null;
  /** What was judged: the value, its smoothed course, or for NO_PROGRESS the milliseconds of silence. NaN and infinities for NON_FINITE. */
  readonly value: number | null;
  /** What it was held against, in the same unit; null where there is no such number. */
  readonly threshold: number | null;
}

/** The key of a finding. `subject`: the metric, or what else it is about. */
export function anomalyKey(attempt: number, kind: AnomalyKind, subject: string, step: number | null, severity: AnomalySeverity): string {
  return `${attempt}:${kind}:${subject}:${step ?? "-"}:${severity}`;
}

/** A number for a message: four significant digits. */
export function inWords(value: number): string {
  return Number.isFinite(value) ? String(Number(value.toPrecision(4))) : Number.isNaN(value) ? "NaN" : value > 0 ? "Infinity" : "-Infinity";
}
