// Merge stages: a training checkpoint, cut into shards, becomes a Hugging Face folder.

import { dirname, isAbsolute, join } from "node:path";
import { SIMULATED_OUTPUT } from "../../domain/pipeline/simulated.js";
import { mergeParamsSchema } from "../../domain/training/merge-params.js";
import { DEFAULT_VERL } from "../../domain/training/train-params.js";
import { simulatedPython } from "../../simulation/stand-in.js";
import { releaseFor } from "../../verl/releases.js";
import type { AttemptHost } from "../attempt/attempt-host.js";
import { classifyExit } from "../attempt/exit-causes.js";
import { failed, NeverStarted, NOTHING_TO_FOLLOW, phasesInPlace, type ProgramPlan, type ProgramRole } from "../attempt/program-role.js";
import { refuseNul, stageEnvironment, unusableParams } from "../attempt/stage-environment.js";
import type { HeldAttempt } from "../journal/records.js";
import { readLogTail } from "../telemetry/log-tailer.js";
import { isSimulated } from "../place/simulated-folder.js";
import { mergeInterpreter } from "./interpreter.js";
import { exportCommand, keepModel, needsBase } from "./model-export.js";
import { readNote, type RunNote } from "./run-note.js";

/** Throws NeverStarted. */
export function mergeRole(host: AttemptHost, held: HeldAttempt, resumed: boolean): ProgramRole {
  const { assignment } = held;
  const parsed = mergeParamsSchema.safeParse(assignment.params);
  if (!parsed.success) throw unusableParams(parsed.error.issues);
  const params = parsed.data;
  refuseNul([params.checkpoint]);
  const environment = stageEnvironment({}, held, host, resumed);
  const running = (argv: readonly string[]): ProgramPlan => ({ argv, workingDirectory: null, environment: { PYTHONUNBUFFERED: "1", TOKENIZERS_PARALLELISM: "true" }, stopSignal: null });

  return {
    phase: phasesInPlace("merge"), outputs: "together", graceMs: 30_000, secrets: environment.secrets,
    async next(ended, status, { directory, place, redactor, environmentWith, say, signal }) {
      const model = join(directory.output, "model");
      const reported = place.there(model);
      if (ended === null) {
        const checkpoint = params.checkpoint.replace(/\/+$/, "");
        if (!isAbsolute(checkpoint) || !["folder", "link"].includes((await place.stat([checkpoint]))[0]?.kind ?? "")) {
          throw new NeverStarted(failed("FILE_NOT_FOUND", `params.checkpoint: there is no folder ${params.checkpoint} on ${place.name}.`, "Checkpoints are only on the host that trained: run both stages on one host (resources.labels), or on a shared file system."));
        }
        const training = noteOf(place.here(checkpoint));
        const trainer = training?.trainer === "trl-dpo" ? "trl" : "verl";
        const simulated = training?.simulated === true || (await isSimulated(checkpoint, place));
        if (params.simulate && !simulated) {
          throw new NeverStarted(failed("INVALID_INPUT", `params.simulate: ${checkpoint} was trained in earnest; a stand-in can only merge what a stand-in left.`, "Take simulate out of the stage."));
        }
        const python = simulated ? (training?.python ?? simulatedPython(releaseFor(DEFAULT_VERL)!.release.release)) : await mergeInterpreter(place, params.python ?? host.python, trainer, environmentWith({}), say);
        const { lora } = params;
        const backend = training?.expectation.backend ?? params.backend;
        return { run: running(await exportCommand({ python, checkpoint, backend, lora, trainer, loraAlpha: training?.loraAlpha ?? null, base: training !== null && needsBase(training) ? training.model : null, simulated }, model, { place, signal, say })), phase: 0 };
      }
      if (status !== 0) {
        const logTail = readLogTail(directory.logFile, redactor);
        return { end: { kind: "FAILED", failure: { ...classifyExit(status as number, logTail), logTail: [...logTail] } } };
      }
      keepModel(directory, reported);
      return { end: { kind: "COMPLETED", outputs: { model: reported, ...((await isSimulated(reported, place)) ? { [SIMULATED_OUTPUT]: true } : {}) } } };
    },
    recall: () => running([]),
    follow: () => NOTHING_TO_FOLLOW,
  };
}

/** What the training that left the checkpoint was, when it was one of this agent's: <attempt>/output/checkpoints/<step>. */
function noteOf(checkpoint: string): RunNote | null {
  return readNote({ planFile: join(dirname(dirname(dirname(checkpoint))), "plan.json") });
}
