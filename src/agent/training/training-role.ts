// Train stages: the trainer as first program, the export of its last checkpoint as second one.
//   T1. The trainer's exit code alone says nothing: the attempt has trained when judgeRun says so, and that is noted before anything follows.
//   T2. What was trained is not trained again: a retry after a failed export begins with the export.

import { ALGORITHM_FACTS } from "../../domain/training/algorithms.js";
import { trainParamsSchema } from "../../domain/training/train-params.js";
import { readLogTail } from "../telemetry/log-tailer.js";
import type { AttemptHost } from "../attempt/attempt-host.js";
import { classifyExit } from "../attempt/exit-causes.js";
import { failed, NOTHING_TO_FOLLOW, phasesInPlace, type ProgramPlan, type ProgramRole, type RoleContext, type RoleStep } from "../attempt/program-role.js";
import { refuseNul, stageEnvironment, unusableParams } from "../attempt/stage-environment.js";
import type { HeldAttempt } from "../journal/records.js";
import { exportCommand, keepModel, needsBase } from "./model-export.js";
import { judgeEnd } from "./run-evidence.js";
import { createRunFollower } from "./run-follower.js";
import { readNote, readTrained, sharedNotes, writeTrained, type RunNote, type TrainedNote } from "./run-note.js";
import { planRun } from "./run-plan.js";
import { removeTemporaryFolder } from "./temporary-folder.js";

const TRAIN = 0;
const EXPORT = 1;

/** Throws NeverStarted. */
export function trainingRole(host: AttemptHost, held: HeldAttempt, resumed: boolean): ProgramRole {
  const { assignment } = held;
  const parsed = trainParamsSchema.safeParse(assignment.params);
  if (!parsed.success) throw unusableParams(parsed.error.issues);
  const params = parsed.data;
  const environment = stageEnvironment(params.env ?? {}, held, host, resumed);
  refuseNul(Object.values(environment.variables));

  const isHere = host.place === host.home;
  const exportPlan = async (note: RunNote, checkpoint: string, context: RoleContext): Promise<ProgramPlan> => ({
    argv: await exportCommand({
      python: note.python, checkpoint, trainer: note.trainer === "trl-dpo" ? "trl" : "verl", backend: note.expectation.backend, lora: "fold", loraAlpha: note.loraAlpha, base: needsBase(note) ? note.model : null, simulated: note.simulated,
    }, note.modelDir, context),
    workingDirectory: null, environment: environment.variables, stopSignal: null,
  });
  /** After the training: the export, or the end. */
  const follows = async (note: RunNote, trained: TrainedNote, context: RoleContext): Promise<RoleStep> =>
    (params.export === "last" && trained.checkpoint !== null ? { run: await exportPlan(note, trained.checkpoint, context), phase: EXPORT } : { end: { kind: "COMPLETED", outputs: trained.outputs } });

  return {
    phase: phasesInPlace("train", "export"), outputs: "by stream", graceMs: params.graceSeconds * 1_000, secrets: environment.secrets,
    async next(ended, status, context) {
      const { directory } = context;
      if (ended === null) {
        const run = await planRun(params, held, environment.variables, host, context);
        refuseNul(run.plan.argv);
        if (run.trained === null) return { run: run.plan, phase: TRAIN };
        return assignment.rank > 0 ? { end: { kind: "COMPLETED", outputs: {} } } : follows(run.note, run.trained, context);
      }
      if (status !== 0) return { end: badEnd(ended, status as number, context) };
      if (assignment.rank > 0) return { end: { kind: "COMPLETED", outputs: {} } };
      if (ended === TRAIN) {
        const note = readNote(directory)!;
        const { verdict, trained } = await judgeEnd(note, directory, context.place);
        if (verdict.kind === "unsound") return { end: failed(verdict.code, verdict.message, verdict.hint, readLogTail(directory.logFile, context.redactor), 0) };
        if (note.sharedFolder !== null) await sharedNotes(context.place, note.sharedFolder).writeTrained(trained);
        writeTrained(directory.root, trained); // T1
        return follows(note, trained, context);
      }
      const model = context.place.there(readNote(directory)!.modelDir);
      keepModel(directory, model);
      return { end: { kind: "COMPLETED", outputs: { ...readTrained(directory.root)?.outputs, model } } };
    },
    recall(phase, directory) {
      const note = readNote(directory);
      if (phase === EXPORT) return { argv: [], workingDirectory: null, environment: {}, stopSignal: null };
      return { argv: note?.argv ?? [], workingDirectory: null, environment: {}, stopSignal: note?.stopSignal ?? null };
    },
    follow(phase, context) {
      const note = readNote(context.directory);
      return phase !== TRAIN || assignment.rank > 0 || note === null ? NOTHING_TO_FOLLOW : createRunFollower(note, held.training, { place: host.place, isHere }, context);
    },
    brings: (phase, directory) => {
      const { loggerFile = null, loggerThere } = readNote(directory) ?? {};
      return { growing: phase !== TRAIN || assignment.rank > 0 || loggerFile === null ? [] : [loggerThere === undefined ? loggerFile : { here: loggerFile, there: loggerThere }], results: [] };
    },
    tidy: () => {
      if (isHere || ALGORITHM_FACTS[params.algorithm].trainer !== "verl-sft") removeTemporaryFolder({ place: host.place, isHere, python: [params.python ?? host.python] }, assignment.attemptId);
    },
  };
}

function badEnd(ended: number, status: number, { directory, redactor }: RoleContext): ReturnType<typeof failed> {
  const logTail = readLogTail(directory.logFile, redactor);
  const failure = classifyExit(status, logTail);
  const hint = ended === EXPORT ? `The training itself is done and its checkpoint is there: a retry only exports it again.${failure.hint === null ? "" : ` ${failure.hint}`}` : failure.hint;
  return { kind: "FAILED", failure: { ...failure, hint, logTail: [...logTail] } };
}
