// Anomalies as people read them.
import type { Style } from "../style.js";
import { count } from "./quantities.js";
import { harmless } from "./text-width.js";

/** What is shown of one. */
export interface ShownAnomaly {
  readonly kind: string; readonly severity: string; readonly step: number | null; readonly message: string; readonly action: string; readonly would: string | null;
}

const RANKS = ["LOW", "MEDIUM", "HIGH", "CRITICAL"];

/** `HIGH KL_EXPLOSION: …  stopped`. */
export function anomalyLine({ kind, severity, message, action, would }: ShownAnomaly, style: Style): string {
  const done = action === "NOTIFIED" ? (would === null ? "" : style.dim(`  would have been ${inWords(would)}`)) : `  ${style.red(inWords(action))}`;
  return `${severityStyle(severity, style)(severity)} ${kind}: ${harmless(message)}${done}`;
}

/** `⚠ 3 anomalies (worst: HIGH KL_EXPLOSION at step 120)`; empty without any. */
export function anomalySummary(anomalies: readonly Pick<ShownAnomaly, "kind" | "severity" | "step">[], style: Style): string {
  const worst = [...anomalies].sort((a, b) => RANKS.indexOf(b.severity) - RANKS.indexOf(a.severity))[0];
  if (worst === undefined) return "";
  const named = `${worst.severity} ${worst.kind}${worst.step === null ? "" : ` at step ${count(worst.step)}`}`;
  return severityStyle(worst.severity, style)(`⚠ ${anomalies.length === 1 ? named : `${count(anomalies.length)} anomalies, worst ${named}`}`);
}

export function severityStyle(severity: string, style: Style): (text: string) => string {
  return severity === "CRITICAL" || severity === "HIGH" ? style.red : severity === "MEDIUM" ? style.yellow : style.dim;
}

function inWords(action: string): string {
  return action.toLowerCase().replaceAll("_", " ");
}
