// Why a preprocess attempt ended badly, from the error it ended with.

import type { FailureCode } from "../../domain/pipeline/spec.js";
import type { Outcome } from "./running-attempt.js";

const BY_CODE: Readonly<Record<string, { readonly code: FailureCode; readonly hint: string | null }>> = {
  INVALID_INPUT: { code: "INVALID_INPUT", hint: "Correct the data or the params and fork the pipeline from this stage." },
  UNREADABLE_FILE: { code: "INVALID_INPUT", hint: "Write or copy the file again; it ends early, or is not written as its ending says (params.format says otherwise)." },
  PATH_REFUSED: { code: "INVALID_INPUT", hint: null }, // the message says it
  FILE_NOT_FOUND: { code: "FILE_NOT_FOUND", hint: "A data set of the registry is named dataset:<name>." },
  ENOENT: { code: "FILE_NOT_FOUND", hint: "The file was there when the stage began and is gone. Put it back and retry." },
  EACCES: { code: "PERMISSION_DENIED", hint: "Give the agent's account the right to read the file." },
  EPERM: { code: "PERMISSION_DENIED", hint: "Give the agent's account the right to the file." },
  ENOSPC: { code: "DISK_FULL", hint: "Free space on the disk of the agent's directory; the output needs about as much room as its input, and while it is made twice as much." },
  EDQUOT: { code: "DISK_FULL", hint: "The quota of the agent's account is used up. Free space or raise it." },
  SSH_DISK_FULL: { code: "DISK_FULL", hint: null },
  SSH_FILE_CHANGED: { code: "INVALID_INPUT", hint: "Write files under another name first and rename them; then retry." },
  SSH_LOCAL_FILE: { code: "FILE_NOT_FOUND", hint: null },
  SSH_DIRECTORY_REFUSED: { code: "PERMISSION_DENIED", hint: null },
  JOURNAL_FULL: { code: "DISK_FULL", hint: "Free space on the disk of the agent's directory." },
  ERR_WORKER_OUT_OF_MEMORY: { code: "OUT_OF_MEMORY", hint: "Lower maxRowBytes, or leave nearDuplicates out, or use a host with more memory." },
};

/** How the attempt is said to have ended. `logTail`: last lines of its log. */
export function failureOf(error: unknown, logTail: readonly string[]): Outcome {
  const { name, message, code: given, hint } = error as { name?: string; message?: string; code?: unknown; hint?: unknown };
  const known = typeof given === "string" && Object.hasOwn(BY_CODE, given) ? BY_CODE[given]! : name === "CallFailedError" ? { code: "NETWORK" as const, hint: "Check the network between this host and the control plane, then retry." } : null;
  if (known === null) return failed("INTERNAL", `The agent failed: ${message ?? String(error)}`, "This is a fault of the agent; its log says more.", logTail);
  return failed(known.code, message ?? known.code, typeof hint === "string" ? hint : known.hint, logTail);
}

function failed(code: FailureCode, message: string, hint: string | null, logTail: readonly string[] = []): Outcome {
  return { kind: "FAILED", failure: { code, message: message.slice(0, 10_000), hint: hint === null ? null : hint.slice(0, 2_000), exitCode: null, logTail: [...logTail] } };
}
