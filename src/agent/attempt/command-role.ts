// Command stages, and evaluate stages that are a program: the user's argv as it is, outputs and metrics through the files it was told of.

import { SIMULATED_OUTPUT } from "../../domain/pipeline/simulated.js";
import { commandParamsSchema, evaluateProgramParamsSchema } from "../../domain/pipeline/spec.js";
import type { Assignment } from "../../protocol/messages.js";
import type { Place } from "../place/place.js";
import { ofSimulated } from "../place/simulated-folder.js";
import type { HeldAttempt } from "../journal/records.js";
import { readLogTail } from "../telemetry/log-tailer.js";
import { createMetricsTailer } from "../telemetry/metrics-tailer.js";
import { redactJson, type Redactor } from "../telemetry/redactor.js";
import type { AttemptDirectory } from "./attempt-directory.js";
import type { AttemptHost } from "./attempt-host.js";
import { classifyExit } from "./exit-causes.js";
import { checkScores, readOutputs } from "./outputs-file.js";
import { failed, phasesInPlace, type ProgramPlan, type ProgramRole } from "./program-role.js";
import type { Outcome } from "./running-attempt.js";
import { refuseNul, stageEnvironment, unusableParams } from "./stage-environment.js";

/** Throws NeverStarted. */
export function commandRole(host: AttemptHost, held: HeldAttempt, resumed: boolean): ProgramRole {
  const { assignment } = held;
  const parsed = (assignment.kind === "evaluate" ? evaluateProgramParamsSchema : commandParamsSchema).safeParse(assignment.params);
  if (!parsed.success) throw unusableParams(parsed.error.issues);
  const params = parsed.data;
  const environment = stageEnvironment(params.env ?? {}, held, host, resumed);
  const argv = params.run.map(String);
  refuseNul([...argv, ...Object.values(environment.variables), params.workingDirectory ?? ""]);
  const plan: ProgramPlan = { argv, workingDirectory: params.workingDirectory ?? null, environment: environment.variables, stopSignal: null };

  return {
    phase: phasesInPlace("run"), outputs: "together", graceMs: params.graceSeconds * 1_000, secrets: environment.secrets,
    next: async (ended, status, { directory, place, redactor }) => (ended === null ? { run: plan, phase: 0 } : { end: await collectOutputs(assignment, status as number, directory, redactor, place) }),
    recall: () => plan,
    follow: (_, { directory, artifact, redactor, publisher, notice }) => createMetricsTailer({ directory, artifact, redactor, source: held.metrics, publisher, totalSteps: params.totalSteps ?? null, notice }),
  };
}

/** How a program of this protocol ended: by its exit status, and the outputs it left. Those of an evaluate stage must hold scores. */
export async function collectOutputs(assignment: Pick<Assignment, "kind" | "rank" | "params">, status: number, directory: AttemptDirectory, redactor: Redactor, place: Place): Promise<Outcome> {
  const logTail = readLogTail(directory.logFile, redactor);
  if (status !== 0) return { kind: "FAILED", failure: { ...classifyExit(status, logTail), logTail: [...logTail] } };
  let read = readOutputs(directory.outputsFile);
  if (read.kind === "outputs" && assignment.kind === "evaluate" && assignment.rank === 0) read = checkScores(read.outputs);
  if (read.kind === "outputs" && assignment.kind === "evaluate" && (await ofSimulated(assignment.params, place))) read = { ...read, outputs: { ...read.outputs, [SIMULATED_OUTPUT]: true } };
  return read.kind === "outputs" ? { kind: "COMPLETED", outputs: redactJson(read.outputs, redactor) as Record<string, never> } : failed(read.code, redactor.redact(read.problem), null, logTail, 0);
}
