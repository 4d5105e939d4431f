// Evaluate stages without a program of their own. Our evaluation program (src/evaluation) reads the rows, asks an endpoint, scores and tells, at home. What it needs of the attempt's place (verl's
// generation server, verl's main_eval, a scorer of the user's) it does not start: it ends, saying what it wants, that runs as a program of the place, and the evaluation program begins again where
// it was. Phases alternate: at home, in the place, at home, ….
//   E1. The endpoint's secrets go through the environment only, and only to the program at home; the configuration file names the variables.
//   E2. What a program of this attempt was told does not change: an agent that takes over reads no data and writes no configuration.
//   E3. On another machine than the place the program at home gets nothing of the stage's environment: what changes how programs are loaded would run the user's code there.

import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { inputsOf } from "../../domain/data/preprocess-params.js";
import { evaluateModelParamsSchema, evaluateProblems, readingParams, type EvaluateModelParams } from "../../domain/evaluation/evaluate-params.js";
import { createDataRoots } from "../../data/read/data-roots.js";
import { API_KEY_VARIABLE, headerVariable, type EvaluateConfig } from "../../evaluation/evaluate-config.js";
import { SAMPLES_FILE } from "../../evaluation/samples-file.js";
import { isWork, readWanted, type WantedProgram } from "../../evaluation/wanted-program.js";
import { programArguments } from "../../worker-program.js";
import { gatherInputs } from "../data/input-files.js";
import { createWorkProgress } from "../data/work-progress.js";
import type { HeldAttempt } from "../journal/records.js";
import type { Place } from "../place/place.js";
import { ofSimulated } from "../place/simulated-folder.js";
import { readLogTail } from "../telemetry/log-tailer.js";
import { createMetricsTailer } from "../telemetry/metrics-tailer.js";
import { createSamplesTailer } from "../telemetry/samples-tailer.js";
import { withOurPrograms } from "../training/python-programs.js";
import { findFile } from "../training/run-data.js";
import { attemptDirectory, earlierOutputDirectories, type AttemptDirectory } from "./attempt-directory.js";
import type { AttemptHost } from "./attempt-host.js";
import { collectOutputs } from "./command-role.js";
import { evaluationVerl } from "./evaluation-verl.js";
import { classifyExit } from "./exit-causes.js";
import { failureOf } from "./preprocess-failures.js";
import { failed, NeverStarted, NOTHING_TO_FOLLOW, type ProgramPlan, type ProgramRole, type RoleContext } from "./program-role.js";
import { refuseNul, stageEnvironment, unusableParams } from "./stage-environment.js";

/** Throws NeverStarted. */
export function evaluationRole(host: AttemptHost, held: HeldAttempt, resumed: boolean): ProgramRole {
  const { assignment } = held;
  const params = readParams(held);
  const own = stageEnvironment(params.env ?? {}, held, host, resumed);
  const endpoint = stageEnvironment(endpointVariables(params), held, host, resumed); // E1
  refuseNul([...Object.values(own.variables), ...Object.values(endpoint.variables)]);
  const isHere = host.place === host.home;
  const atHome = { ...(isHere ? own.variables : {}), ...endpoint.variables }; // E3
  const configFile = (directory: AttemptDirectory) => join(directory.root, "evaluation.json");
  const homePlan = (directory: AttemptDirectory, phase: number): ProgramPlan => ({
    argv: [process.execPath, ...programArguments("evaluation/evaluate.program"), configFile(directory), String(phase)], workingDirectory: null, environment: atHome, stopSignal: null,
  });
  const placePlan = async ({ argv, environment, reads }: WantedProgram, context: RoleContext): Promise<ProgramPlan> => ({
    argv: await withOurPrograms(context.place, argv, context), workingDirectory: null, environment: { ...environment, ...own.variables }, stopSignal: null, reads,
  });

  const prepare = async (context: RoleContext): Promise<ProgramPlan> => {
    const { directory, signal, say } = context;
    const made = await ofSimulated(params, host.place);
    if (made && params.model !== undefined && !params.simulate) {
      throw new NeverStarted(failed("INVALID_INPUT", `params.model: ${params.model} was left by a simulated training: there are no weights in it that could be loaded.`, "Add simulate: true to this stage too, so that it is rehearsed without a GPU, or train in earnest first."));
    }
    if (params.simulate) say("simulated: a stand-in makes up the answers in place of the model");
    const python = params.python ?? host.python;
    const verl = await evaluationVerl(params, python, { ...context, environment: context.environmentWith(own.variables) });
    const reading = readingParams(params);
    const inputs = inputsOf(reading);
    const roots = createDataRoots([...host.dataDirectories, host.attemptsRoot, ...host.neighbours()]);
    const files = await gatherInputs(reading, { registry: host.registry, roots, datasetsRoot: host.datasetsRoot, attemptsRoot: host.attemptsRoot, owner: assignment.attemptId, signal, progress: createWorkProgress(), say });
    const config: EvaluateConfig = {
      params: await withRewardThere(params, host, context), python, verl, gpus: assignment.gpus.length, simulated: made || params.simulate, scorerIsHere: isHere, placeOutput: directory.placeOutputFile,
      earlier: [...earlierOutputDirectories(host.attemptsRoot, assignment)],
      files: files.map(({ path, name, spec, format, gzip }) => ({ path, name, spec: inputs.findIndex((input) => JSON.stringify(input) === JSON.stringify(spec)), format, gzip })),
    };
    writeFileSync(configFile(directory), JSON.stringify(config), { mode: 0o600 });
    return homePlan(directory, 0);
  };
  /** What stands between the programs that have run and the next. */
  const follows = async (ended: number, status: number, context: RoleContext): ReturnType<ProgramRole["next"]> => {
    const { directory, redactor, place } = context;
    if (isInPlace(ended)) {
      if (status === 0) return { run: homePlan(directory, ended + 1), phase: ended + 1 };
      const logTail = readLogTail(directory.logFile, redactor);
      return { end: { kind: "FAILED", failure: { ...classifyExit(status, logTail), logTail: [...logTail] } } };
    }
    const wanted = status === 0 ? readWanted(directory.output, ended) : null;
    if (wanted === null) {
      if (!isHere && ended > 0) void removeWork(host.place, directory).catch(() => undefined); // nobody waits for it on another machine
      return { end: await collectOutputs(assignment, status, directory, redactor, place) };
    }
    return { run: await placePlan(wanted, context), phase: ended + 1 };
  };

  return {
    phase: (position) => (position > MOST_PHASES ? null : { name: `${isInPlace(position) ? "place" : "home"}-${position}`, at: isInPlace(position) ? "place" : "home" }),
    outputs: resumed && isOfOldAgent(attemptDirectory(host.attemptsRoot, assignment)) ? "together" : "by place",
    graceMs: params.graceSeconds * 1_000, secrets: [...own.secrets, ...endpoint.secrets],
    async next(ended, status, context) {
      try {
        return ended === null ? { run: await prepare(context), phase: 0 } : await follows(ended, status as number, context);
      } catch (error) {
        context.signal.throwIfAborted();
        if (error instanceof NeverStarted) throw error;
        throw new NeverStarted(failureOf(error, readLogTail(context.directory.logFile, context.redactor)));
      }
    },
    recall: (phase, directory) => (isInPlace(phase) ? { argv: [], workingDirectory: null, environment: {}, stopSignal: null } : homePlan(directory, phase)), // E2
    brings: (phase, directory) => ({ growing: isInPlace(phase) ? (readWanted(directory.output, phase - 1)?.writes ?? []) : [], results: [] }),
    follow: (phase, { directory, artifact, redactor, publisher, notice }) => {
      if (isInPlace(phase)) return NOTHING_TO_FOLLOW;
      const metrics = createMetricsTailer({ directory, artifact, redactor, source: held.metrics, publisher, totalSteps: null, notice });
      const samples = createSamplesTailer({ file: join(directory.output, SAMPLES_FILE), redactor, source: held.samples ?? null, publisher, notice });
      return {
        advance: async () => { await samples.advance(); await metrics.advance(); },
        finish: async () => { await samples.finish(); await metrics.finish(); },
      };
    },
  };
}

/** More programs than an evaluation may want: one for each length of dialogue, and one that scores. */
const MOST_PHASES = 10_000;

function isInPlace(phase: number): boolean {
  return phase % 2 === 1;
}

/** What programs in the place have left there that is at home since. */
async function removeWork(place: Place, { output }: AttemptDirectory): Promise<void> {
  for (const { name } of await place.list(output)) if (isWork(name)) await place.deleteArtifact(place.there(join(output, name)));
}

/** An evaluation that an agent has begun whose programs all wrote to the log file. */
function isOfOldAgent({ logFile, homeOutputFile }: AttemptDirectory): boolean {
  return existsSync(logFile) && !existsSync(homeOutputFile);
}

function readParams({ assignment }: HeldAttempt): EvaluateModelParams {
  const parsed = evaluateModelParamsSchema.safeParse(assignment.params);
  if (!parsed.success) throw unusableParams(parsed.error.issues);
  const [problem] = evaluateProblems(parsed.data, "params", { gpus: assignment.gpus.length, nodes: assignment.members.length });
  if (problem !== undefined) throw new NeverStarted(failed("INVALID_INPUT", `${problem.path}: ${problem.message}`, problem.hint));
  return parsed.data;
}

/** The params with the file of verl's reward function as the place has it, brought there if it has to be. Throws NeverStarted. */
async function withRewardThere(params: EvaluateModelParams, host: AttemptHost, { place, signal, say }: RoleContext): Promise<EvaluateModelParams> {
  const { scorer } = params;
  if (typeof scorer === "string" || !("verl" in scorer) || params.simulate) return params;
  return { ...params, scorer: { verl: { ...scorer.verl, file: await findFile(scorer.verl.file, "params.scorer.verl.file", host, { place, signal, say }) } } };
}

/** Variable → reference to a secret. */
function endpointVariables({ endpoint }: EvaluateModelParams): Record<string, string> {
  const variables: Record<string, string> = {};
  if (endpoint?.apiKey !== undefined) variables[API_KEY_VARIABLE] = endpoint.apiKey;
  for (const [index, value] of Object.values(endpoint?.headers ?? {}).entries()) if (value.startsWith("secret://")) variables[headerVariable(index)] = value;
  return variables;
}
