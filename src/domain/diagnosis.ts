// Finds out why an attempt failed, beyond the agent's first classification. Pure: failure, log and metrics in; cause, evidence and advice out.
//   D1. What is said rests on evidence that is shown; without any the cause is UNKNOWN and the advice says where to look.
//   D2. A loss that was no number well before the end is named as the cause only where nothing else explains the end.

import { FAILURE_SIGNATURES, type FailureSignature } from "./failure-signatures.js";
import type { AttemptStatus, Failure } from "./pipeline/state.js";

export interface DiagnosisFacts {
  readonly status: Extract<AttemptStatus, "FAILED" | "LOST">;
  readonly failure: Failure | null;
  /** Last lines of the attempt's log, oldest first. */
  readonly logTail: readonly string[];
  /** Newest value of each metric of the attempt. */
  readonly metricsTail: Readonly<Record<string, { readonly step: number; readonly value: number }>>;
}

export interface Diagnosis {
  /** Of FAILURE_SIGNATURES, or one of LOSS_NOT_FINITE, AGENT_LOST, HOST_REBOOTED, TIMEOUT, NO_PROGRESS, KILLED, UNKNOWN. */
  readonly cause: string;
  /** Lines of the log and facts that show it; at most 5, each at most 300 characters. */
  readonly evidence: readonly string[];
  readonly suggestion: string;
}

const MOST_EVIDENCE = 5;
const LONGEST_LINE = 300;

/** Judges a failed or lost attempt. */
export function diagnose(facts: DiagnosisFacts): Diagnosis {
  const lines = [...facts.logTail, ...(facts.failure?.logTail ?? []).filter((line) => !facts.logTail.includes(line))].map(plain);
  return byOutcome(facts) ?? bySignature(facts, lines) ?? byMetrics(facts) ?? byExit(facts, lines) ?? unknown(facts, lines);
}

/** Ends that say by themselves what happened. */
function byOutcome({ status, failure }: DiagnosisFacts): Diagnosis | null {
  const said = failure === null ? [] : [cut(failure.message)];
  switch (failure?.code) {
    case "HOST_REBOOTED":
      return { cause: "HOST_REBOOTED", evidence: said, suggestion: "The host restarted while the program ran. Look for the reason there (power, kernel log); a stage with retry and checkpoints goes on by itself." };
    case "NO_PROGRESS":
      return { cause: "NO_PROGRESS", evidence: said, suggestion: "The program was silent for longer than noProgressTimeoutSeconds. Look at its last lines for what it waited on (a peer, a download, a lock), or raise the limit if such pauses are normal." };
    case "TIMEOUT":
      return { cause: "TIMEOUT", evidence: said, suggestion: "The attempt took longer than timeoutSeconds. Raise the limit, or make the work smaller; with checkpoints, retry resumes." };
    default:
  }
  if (status !== "LOST" && failure?.code !== "AGENT_LOST") return null;
  return { cause: "AGENT_LOST", evidence: said, suggestion: "The agent's lease ran out; the program may have been healthy. Check that the host is up and reaches the control plane, then start the agent again: it finds what is still running." };
}

function bySignature(facts: DiagnosisFacts, lines: readonly string[]): Diagnosis | null {
  const match = matching(lines) ?? FAILURE_SIGNATURES.map((signature) => ({ signature, evidence: [] as string[] })).find(({ signature }) => facts.failure !== null && signature.codes?.includes(facts.failure.code) === true);
  if (match === null || match === undefined) return null;
  const evidence = match.evidence.length > 0 || facts.failure === null ? match.evidence : [cut(facts.failure.message)];
  return { cause: match.signature.cause, evidence, suggestion: match.signature.suggestion };
}

function matching(lines: readonly string[]): { signature: FailureSignature; evidence: string[] } | null {
  for (const signature of FAILURE_SIGNATURES) {
    const evidence = lines.filter((line) => signature.lines.some((pattern) => pattern.test(line)));
    if (evidence.length > 0) return { signature, evidence: [...new Set(evidence)].slice(0, MOST_EVIDENCE).map(cut) };
  }
  return null;
}

/** D2. */
function byMetrics({ metricsTail }: DiagnosisFacts): Diagnosis | null {
  const odd = Object.entries(metricsTail).filter(([, { value }]) => !Number.isFinite(value)).sort(([a], [b]) => Number(isLoss(b)) - Number(isLoss(a)) || (a < b ? -1 : 1));
  if (odd.length === 0) return null;
  return {
    cause: "LOSS_NOT_FINITE",
    evidence: odd.slice(0, MOST_EVIDENCE).map(([name, { step, value }]) => cut(`${name} = ${value} at step ${step}`)),
    suggestion: "Training diverged. Lower the learning rate or warm up longer, clip gradients, look at the data of the steps before it, use bf16 instead of fp16, and go on from a checkpoint before that step.",
  };
}

function isLoss(name: string): boolean {
  return /loss|grad_norm/i.test(name);
}

function byExit({ failure }: DiagnosisFacts, lines: readonly string[]): Diagnosis | null {
  if (failure === null) return null;
  if (failure.code === "KILLED_BY_SIGNAL" || failure.exitCode === 137 || failure.exitCode === 143) {
    return {
      cause: "KILLED", evidence: [cut(failure.message), ...lastWords(lines)],
      suggestion: "Something outside ended the program. SIGKILL without a word is most often the kernel or a container limit running out of memory: look at dmesg. Otherwise somebody or a batch system stopped it.",
    };
  }
  if (failure.code === "PROCESS_VANISHED") {
    return { cause: "KILLED", evidence: [cut(failure.message), ...lastWords(lines)], suggestion: "The program was gone when the agent looked for it, and left no exit code. Look at dmesg and at who else may end processes on the host, then retry." };
  }
  return null;
}

function unknown({ failure }: DiagnosisFacts, lines: readonly string[]): Diagnosis {
  const errors = lines.filter((line) => /\b(error|exception|fatal|failed|traceback|panic)\b/i.test(line) || /\w(Error|Exception)\b/.test(line));
  const evidence = errors.length > 0 ? errors.slice(-MOST_EVIDENCE).map(cut) : lastWords(lines);
  return {
    cause: "UNKNOWN",
    evidence: evidence.length > 0 || failure === null ? evidence : [cut(failure.message)],
    suggestion: "No known sign was found. Read the log from its first error on; the command of the attempt, as shown, runs the same by hand on that host.",
  };
}

function lastWords(lines: readonly string[]): string[] {
  return lines.filter((line) => line.trim() !== "").slice(-3).map(cut);
}

function cut(line: string): string {
  const text = line.trim();
  return text.length <= LONGEST_LINE ? text : `${text.slice(0, LONGEST_LINE - 1)}…`;
}

/** Without colours and other terminal sequences. */
function plain(line: string): string {
  return line.replace(/\x1b\[[0-9;?]*[A-Za-z]/g, "");
}
