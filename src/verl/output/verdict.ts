// Whether a training run that ended with exit code 0 did what it was asked to. verl ends well after training nothing, after NaN weights and without a final
// checkpoint, so the exit code alone says little.

export interface RunEvidence {
  readonly exitCode: number;
  /** Last step that the run was to take; null when neither the params nor the console told. */
  readonly expectedStep: number | null;
  /** Whether the run was to save at its last step. */
  readonly savesLast: boolean;
  /** What the tracker names. */
  readonly trackedStep: number | null;
  /** Files of the tracked step that are missing. */
  readonly missingFiles: readonly string[];
  /** Last value of the loss; undefined when none was ever logged. */
  readonly lastLoss: number | undefined;
  /** Last step with any metrics. */
  readonly lastStep: number | null;
}

export type RunVerdict = { readonly kind: "sound" } | { readonly kind: "unsound"; readonly code: "MISSING_OUTPUT" | "HEALTH_POLICY"; readonly message: string; readonly hint: string };

/** The first of the conditions that does not hold. Exit codes other than 0 are classified elsewhere. */
export function judgeRun(run: RunEvidence): RunVerdict {
  const unsound = (code: "MISSING_OUTPUT" | "HEALTH_POLICY", message: string, hint: string): RunVerdict => ({ kind: "unsound", code, message, hint });
  if (run.lastStep === null) return unsound("MISSING_OUTPUT", "The trainer ended with exit code 0 but logged no step: it trained nothing.", "Look at the end of the log; a resumed run that was finished already also ends like this.");
  if (run.savesLast && run.trackedStep === null) return unsound("MISSING_OUTPUT", "The trainer ended with exit code 0 but left no checkpoint.", "verl leaves none when total_training_steps exceeds the steps that the data hold, and for RL without saveEvery.");
  if (run.savesLast && run.expectedStep !== null && run.trackedStep !== null && run.trackedStep < run.expectedStep) {
    return unsound("MISSING_OUTPUT", `The trainer ended with exit code 0, but its newest checkpoint is of step ${run.trackedStep}, not ${run.expectedStep}.`, "Retry the stage: it goes on from that checkpoint.");
  }
  if (run.missingFiles.length > 0) return unsound("MISSING_OUTPUT", `The checkpoint of step ${run.trackedStep ?? "?"} is not whole: ${run.missingFiles.slice(0, 3).join(", ")}${run.missingFiles.length > 3 ? ` and ${run.missingFiles.length - 3} more` : ""} are missing.`, "Check the host's disk, then retry the stage.");
  if (run.lastLoss !== undefined && !Number.isFinite(run.lastLoss)) return unsound("HEALTH_POLICY", `The last loss is ${run.lastLoss}: the weights are of no use.`, "Lower the learning rate, or go on from an earlier checkpoint.");
  return { kind: "sound" };
}
