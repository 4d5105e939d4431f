// The environment that a stage asks for, secrets filled in.

import type { HeldAttempt } from "../journal/records.js";
import type { AttemptHost } from "./attempt-host.js";
import { failed, NeverStarted } from "./program-role.js";
import { resolveSecrets, SecretError, type ResolvedEnvironment } from "./secrets.js";

/** Throws NeverStarted. On a resumed attempt a secret that is gone since is only missed by the redactor. */
export function stageEnvironment(variables: Readonly<Record<string, string | number | boolean>>, held: HeldAttempt, host: AttemptHost, resumed: boolean): ResolvedEnvironment {
  const passing = host.guest === undefined ? variables : Object.fromEntries(Object.entries(variables).filter(([name]) => host.guest!.passes(name)));
  try {
    return resolveSecrets(passing, { environment: host.environment, file: host.secretsFile });
  } catch (error) {
    if (!(error instanceof SecretError)) throw error;
    if (!resumed) throw new NeverStarted(failed("INVALID_INPUT", error.message, "Give the agent the secret, then retry."));
    host.log.warn({ attemptId: held.assignment.attemptId }, `${error.message} Its value cannot be redacted from the rest of the log.`);
    return { variables: {}, secrets: [] };
  }
}

/** Throws NeverStarted when a word cannot be given to any program. */
export function refuseNul(words: readonly string[]): void {
  if (words.some((text) => text.includes("\0"))) throw new NeverStarted(failed("INVALID_INPUT", "An argument, variable or path holds a NUL character; no program can be given that."));
}

/** How params that do not fit their schema end an attempt. */
export function unusableParams(issues: readonly { readonly path: readonly PropertyKey[]; readonly message: string }[]): NeverStarted {
  return new NeverStarted(failed("INVALID_INPUT", `The stage's params are not usable after references were filled in: ${issues.map((issue) => `params.${issue.path.map(String).join(".")}: ${issue.message}`).join("; ")}`.slice(0, 5_000)));
}
