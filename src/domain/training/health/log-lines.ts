// OUT_OF_MEMORY: seen in the log, by the same table of signatures that failed attempts are diagnosed with.

import { FAILURE_SIGNATURES, type FailureSignature } from "../../failure-signatures.js";
import { ALGORITHM_FACTS, type Algorithm } from "../algorithms.js";
import { anomalyKey, type Anomaly, type HealthFacts } from "./anomaly.js";
import { stateForAttempt, type HealthState } from "./health-state.js";
import { MEMORY_CAUSES } from "./thresholds.js";

export const MEMORY_SIGNATURES: readonly FailureSignature[] = FAILURE_SIGNATURES.filter(({ cause }) => MEMORY_CAUSES.includes(cause));

/** A line of the log that is an anomaly by itself. */
export interface LogSign {
  readonly kind: "OUT_OF_MEMORY";
  readonly severity: "HIGH";
  /** Of the signature. */
  readonly cause: string;
  readonly message: string;
  readonly suggestion: string;
}

/** Characters of a line that are looked at, and shown. */
const LONGEST_LINE = 4_000;
const LONGEST_QUOTE = 300;

/** What a line says about memory; null for nearly all. */
export function judgeLogLine(text: string, signatures: readonly FailureSignature[] = MEMORY_SIGNATURES): LogSign | null {
  const line = text.slice(0, LONGEST_LINE).replace(/\x1b\[[0-9;?]*[A-Za-z]/g, "").trim();
  const signature = signatures.find(({ lines }) => lines.some((pattern) => pattern.test(line)));
  if (signature === undefined) return null;
  const quote = line.length <= LONGEST_QUOTE ? line : `${line.slice(0, LONGEST_QUOTE - 1).toWellFormed()}…`;
  return { kind: "OUT_OF_MEMORY", severity: "HIGH", cause: signature.cause, message: `The log says: ${quote}`, suggestion: signature.suggestion };
}

/** Lines of an attempt's log; each cause is told once per attempt. The state comes back as it was where nothing is told. */
export function detectInLog(before: HealthState, lines: readonly string[], facts: HealthFacts): { readonly state: HealthState; readonly anomalies: readonly Anomaly[] } {
  const begun = stateForAttempt(before, facts);
  if (begun === null) return { state: before, anomalies: [] };
  const causes = [...begun.logCauses];
  const anomalies: Anomaly[] = [];
  for (const line of lines) {
    const sign = judgeLogLine(line);
    if (sign === null || causes.includes(sign.cause)) continue;
    causes.push(sign.cause);
    const { kind, severity, message, suggestion } = sign;
    anomalies.push({ key: anomalyKey(facts.attempt, kind, sign.cause, null, severity), kind, severity, step: null, metric: null, value: null, threshold: null, message, suggestion: `${suggestion} ${fieldsFor(sign.cause, facts.algorithm)}`.trim() });
  }
  return { state: anomalies.length === 0 ? begun : { ...begun, logCauses: causes }, anomalies };
}

/** The fields of a train stage that help. */
function fieldsFor(cause: string, algorithm: Algorithm): string {
  if (cause !== "GPU_OUT_OF_MEMORY") return "";
  return ALGORITHM_FACTS[algorithm].trainer === "verl-rl"
    ? "Fields: microBatchSize, maxTokensPerGpu, maxResponseLength, offload, and rollout.memoryShare, which the rollout engine takes before training gets any."
    : "Fields: microBatchSize, maxTokensPerGpu, maxLength, gradientCheckpointing, lora.";
}
