// Evaluate stages without a program of their own: finds the data, then starts our evaluation program (src/evaluation), which speaks the protocol of command stages.
//   E1. The endpoint's secrets go through the environment only; the configuration file names the variables.
//   E2. What a program of this attempt was told does not change: an agent that takes over reads no data and writes no configuration.

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { inputsOf } from "../../domain/data/preprocess-params.js";
import { evaluateModelParamsSchema, evaluateProblems, readingParams, type EvaluateModelParams } from "../../domain/evaluation/evaluate-params.js";
import { createDataRoots } from "../../data/read/data-roots.js";
import { API_KEY_VARIABLE, headerVariable, type EvaluateConfig } from "../../evaluation/evaluate-config.js";
import { SAMPLES_FILE } from "../../evaluation/samples-file.js";
import { programArguments } from "../../worker-program.js";
import { gatherInputs } from "../data/input-files.js";
import { createWorkProgress } from "../data/work-progress.js";
import type { HeldAttempt } from "../journal/records.js";
import { createMetricsTailer } from "../telemetry/metrics-tailer.js";
import { earlierOutputDirectories, type AttemptDirectory } from "./attempt-directory.js";
import type { AttemptHost } from "./attempt-host.js";
import { createSamplesTailer } from "../telemetry/samples-tailer.js";
import { ofSimulated } from "../place/simulated-folder.js";
import { collectOutputs } from "./command-role.js";
import { failureOf } from "./preprocess-failures.js";
import { failed, NeverStarted, type ProgramPlan, type ProgramRole, type RoleContext } from "./program-role.js";
import { refuseNul, stageEnvironment, unusableParams } from "./stage-environment.js";

/** Throws NeverStarted. */
export function evaluationRole(host: AttemptHost, held: HeldAttempt, resumed: boolean): ProgramRole {
  const { assignment } = held;
  const params = readParams(held);
  const environment = stageEnvironment({ ...params.env, ...endpointVariables(params) }, held, host, resumed); // E1
  refuseNul(Object.values(environment.variables));
  const configFile = (directory: AttemptDirectory) => join(directory.root, "evaluation.json");
  const plan = (directory: AttemptDirectory): ProgramPlan => ({
    argv: [process.execPath, ...programArguments("evaluation/evaluate.program"), configFile(directory)], workingDirectory: null, environment: environment.variables, stopSignal: null,
  });

  const prepare = async ({ directory, signal, say }: RoleContext): Promise<ProgramPlan> => {
    const made = await ofSimulated(params, host.place);
    if (made && params.model !== undefined && !params.simulate) {
      throw new NeverStarted(failed("INVALID_INPUT", `params.model: ${params.model} was left by a simulated training: there are no weights in it that could be loaded.`, "Add simulate: true to this stage too, so that it is rehearsed without a GPU, or train in earnest first."));
    }
    if (params.simulate) say("simulated: a stand-in makes up the answers in place of the model");
    const reading = readingParams(params);
    const inputs = inputsOf(reading);
    const roots = createDataRoots([...host.dataDirectories, host.attemptsRoot]);
    const files = await gatherInputs(reading, { registry: host.registry, roots, datasetsRoot: host.datasetsRoot, attemptsRoot: host.attemptsRoot, owner: assignment.attemptId, signal, progress: createWorkProgress(), say });
    const config: EvaluateConfig = {
      params, python: params.python ?? host.python, gpus: assignment.gpus.length, simulated: made || params.simulate, earlier: [...earlierOutputDirectories(host.attemptsRoot, assignment)],
      files: files.map(({ path, name, spec, format, gzip }) => ({ path, name, spec: inputs.findIndex((input) => JSON.stringify(input) === JSON.stringify(spec)), format, gzip })),
    };
    writeFileSync(configFile(directory), JSON.stringify(config), { mode: 0o600 });
    return plan(directory);
  };

  return {
    phases: ["run"], apart: false, graceMs: params.graceSeconds * 1_000, secrets: environment.secrets,
    async next(ended, status, context) {
      if (ended !== null) return { end: await collectOutputs(assignment, status as number, context.directory, context.redactor, host.place) };
      try {
        return { run: await prepare(context), phase: 0 };
      } catch (error) {
        context.signal.throwIfAborted();
        if (error instanceof NeverStarted) throw error;
        throw new NeverStarted(failureOf(error, []));
      }
    },
    recall: (_, directory) => plan(directory), // E2
    follow: (_, { directory, artifact, redactor, publisher, notice }) => {
      const metrics = createMetricsTailer({ directory, artifact, redactor, source: held.metrics, publisher, totalSteps: null, notice });
      const samples = createSamplesTailer({ file: join(directory.output, SAMPLES_FILE), redactor, source: held.samples ?? null, publisher, notice });
      return {
        advance: async () => { await samples.advance(); await metrics.advance(); },
        finish: async () => { await samples.finish(); await metrics.finish(); },
      };
    },
  };
}

function readParams({ assignment }: HeldAttempt): EvaluateModelParams {
  const parsed = evaluateModelParamsSchema.safeParse(assignment.params);
  if (!parsed.success) throw unusableParams(parsed.error.issues);
  const [problem] = evaluateProblems(parsed.data, "params", { gpus: assignment.gpus.length, nodes: assignment.members.length });
  if (problem !== undefined) throw new NeverStarted(failed("INVALID_INPUT", `${problem.path}: ${problem.message}`, problem.hint));
  return parsed.data;
}

/** Variable → reference to a secret. */
function endpointVariables({ endpoint }: EvaluateModelParams): Record<string, string> {
  const variables: Record<string, string> = {};
  if (endpoint?.apiKey !== undefined) variables[API_KEY_VARIABLE] = endpoint.apiKey;
  for (const [index, value] of Object.values(endpoint?.headers ?? {}).entries()) if (value.startsWith("secret://")) variables[headerVariable(index)] = value;
  return variables;
}
