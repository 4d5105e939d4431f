// Everything between an assignment and the launch of its trainer: interpreter, data, model, the rules of preflight with what this host knows, the checkpoint to go
// on from, disk, reward function, and the installed verl composing the very configuration. Each refusal is one clear failure before a GPU is used.
//   P1. Estimates warn; only what is certain, or an estimate that is missed by more than its error, refuses.
//   P2. Secrets are references in the environment; in overrides, which verl prints, they are refused.

import { mkdirSync, rmSync, statSync, symlinkSync } from "node:fs";
import { dirname, isAbsolute, join } from "node:path";
import { ALGORITHM_FACTS } from "../../domain/training/algorithms.js";
import type { TrainParams } from "../../domain/training/train-params.js";
import { checkpointBytes, exportBytes, type ModelSize } from "../../verl/memory-estimate.js";
import { savingFacts } from "../../verl/checkpoint-expectation.js";
import { dataLink, dpoArguments, dpoCommand, type DpoContext } from "../../verl/dpo.js";
import { overrideArgument } from "../../verl/hydra.js";
import { worldSize, type LaunchContext } from "../../verl/launch-context.js";
import type { CheckpointExpectation } from "../../verl/output/checkpoint-layout.js";
import { preflight } from "../../verl/preflight.js";
import { chooseResume, runIdentity, type EarlierAttempt } from "../../verl/resume.js";
import { checkpointsOf, stepsOf } from "../../verl/run-length.js";
import { configOf, overridesOf, trainCommand } from "../../verl/train-command.js";
import { earlierOutputDirectories } from "../attempt/attempt-directory.js";
import type { AttemptHost } from "../attempt/attempt-host.js";
import { failed, NeverStarted, type ProgramPlan, type RoleContext } from "../attempt/program-role.js";
import { freeDisk } from "../host/versions.js";
import type { HeldAttempt } from "../journal/records.js";
import { checkpointsAt, listCheckpoints } from "./checkpoint-folder.js";
import { trainInterpreter, type Interpreter } from "./interpreter.js";
import { askPython } from "./python-programs.js";
import { findData, type RunData } from "./run-data.js";
import { findModel } from "./run-model.js";
import { readNote, readTrained, writeNote, writeTrained, type RunNote } from "./run-note.js";
import { temporaryFolder } from "./temporary-folder.js";

/** How long a look by the installed packages themselves may take, in milliseconds: Hydra alone is quick, TRL imports torch. */
const COMPOSE_MS = 120_000;
const IMPORT_MS = 300_000;
/** By how much the estimate of a checkpoint's size may be wrong, as a share (P1). */
const SIZE_ERROR = 0.3;

export interface RunPlan {
  readonly plan: ProgramPlan;
  readonly note: RunNote;
  /** An earlier attempt has trained to the end: only what follows is left. */
  readonly trained: boolean;
}

/** Throws NeverStarted. */
export async function planRun(params: TrainParams, held: HeldAttempt, stageVariables: Readonly<Record<string, string>>, host: AttemptHost, context: RoleContext): Promise<RunPlan> {
  const { assignment } = held;
  const { directory, say, signal } = context;
  const { trainer } = ALGORITHM_FACTS[params.algorithm];
  const environment = context.environmentWith(stageVariables);
  refuseSecrets(params);
  if (assignment.members.length > 1) throw new NeverStarted(failed("INVALID_INPUT", "This agent cannot train over several nodes.", "Set resources.nodes to 1."));
  const interpreter = await trainInterpreter(params, params.python ?? host.python, environment, say);
  const data = await findData(params, host, { owner: assignment.attemptId, signal, say });
  const local: TrainParams = { ...params, trainFiles: [...data.trainFiles], ...(data.valFiles.length === 0 ? {} : { valFiles: [...data.valFiles] }) };
  const model = params.simulate ? { facts: null, size: null } : findModels(local, environment);

  const launch: LaunchContext = {
    nodes: assignment.members.length, gpusPerNode: assignment.gpus.length, rank: assignment.rank, meeting: null, python: interpreter.python,
    checkpointDir: join(directory.output, "checkpoints"), hydraDir: join(directory.root, "hydra"), samplesDir: join(directory.root, "samples"),
    project: assignment.pipelineName, experiment: assignment.stage, resumeFrom: null, cpus: trainer === "verl-rl" ? host.cpus : null, device: assignment.gpus.length > 0 ? "cuda" : "cpu",
  };
  judge(local, interpreter, launch, data, model.facts, host.cpus, say);
  const saving = savingFacts(local, interpreter.release, launch);
  const expectation: CheckpointExpectation = { backend: saving.backend, folders: saving.folders, contents: saving.contents };
  const identity = runIdentity(assignment.params);
  const choice = chooseResume({
    mode: typeof params.resume === "string" ? params.resume : { from: checkpointsAt(params.resume.from, trainer, expectation), asked: params.resume.from },
    attempts: earlierAttempts(host, held, identity, expectation), rollbacks: assignment.rollbacks ?? [], worldSize: worldSize(launch),
  });
  if (choice.kind === "refuse") throw new NeverStarted(failed("INVALID_INPUT", choice.message, choice.hint));
  if (choice.kind === "start" && choice.why !== null) say(`starts from the model: ${choice.why}`);
  if (choice.kind === "resume") say(`goes on from the checkpoint of step ${choice.checkpoint.step}${choice.fence === null ? "" : ` of attempt ${choice.fence}`}: ${choice.checkpoint.path}`);
  const resumed = choice.kind === "resume" ? { step: choice.checkpoint.step, path: choice.checkpoint.path } : null;
  const launched: LaunchContext = { ...launch, resumeFrom: resumed?.path ?? null };
  const totalSteps = stepsOf(local, data.facts.trainRows, worldSize(launch));
  checkDisk(local, model.size, totalSteps, directory.root, say);
  for (const folder of [launch.checkpointDir, launch.hydraDir, launch.samplesDir]) mkdirSync(folder, { recursive: true, mode: 0o700 });

  const dpo: DpoContext | null = trainer === "trl-dpo" ? { ...launched, dataFolder: linkData(data, join(directory.root, "data")), validates: data.valFiles.length > 0 } : null;
  const command = dpo === null ? trainCommand(local, interpreter.release, launched) : { argv: dpoCommand(local, dpo), stopSignal: null, environment: { PYTHONUNBUFFERED: "1", TOKENIZERS_PARALLELISM: "true" } };
  if (interpreter.facts !== null) await askInstalled(local, interpreter, launched, dpo, context.environmentWith({ ...command.environment, ...stageVariables }), signal, say);
  const loggerFile = trainer !== "trl-dpo" && interpreter.release.fileLogger ? join(directory.root, "logger.jsonl") : null;
  const note: RunNote = {
    identity, trainer, python: interpreter.python, argv: command.argv, stopSignal: command.stopSignal, checkpointDir: launch.checkpointDir, expectation, savesLast: saving.savesLast,
    samplesDir: trainer === "verl-rl" && params.samples ? launch.samplesDir : null, loggerFile, resumed, totalSteps, simulated: params.simulate,
    model: params.model, loraAlpha: params.lora === undefined ? null : (params.lora.alpha ?? params.lora.rank * 2),
  };
  writeNote(directory, note);
  const finished = choice.kind === "resume" && choice.finished ? readTrained(rootOf(host, held, choice.fence!)) : null;
  if (finished !== null) {
    say(`attempt ${choice.kind === "resume" ? choice.fence! : ""} had trained to the end; only what comes after is left`);
    writeTrained(directory.root, finished);
  }
  return {
    note, trained: finished !== null,
    plan: {
      argv: command.argv, workingDirectory: null, stopSignal: command.stopSignal,
      environment: { ...command.environment, ...stageVariables, ...(trainer === "verl-rl" ? { RAY_TMPDIR: temporaryFolder(assignment.attemptId) } : {}), ...(loggerFile === null ? {} : { VERL_FILE_LOGGER_PATH: loggerFile }) },
    },
  };
}

/** P2. */
function refuseSecrets(params: TrainParams): void {
  const holding = [...Object.entries(params.overrides).map(([key, value]) => [`overrides.${key}`, value] as const), ...Object.entries(params.reward?.arguments ?? {}).map(([key, value]) => [`reward.arguments.${key}`, value] as const)]
    .find(([, value]) => JSON.stringify(value).includes("secret://"));
  if (holding !== undefined) throw new NeverStarted(failed("INVALID_INPUT", `params.${holding[0]}: a secret cannot stand there: the trainer prints its whole configuration.`, "Give it in params.env, and let the program read the variable."));
}

function findModels(params: TrainParams, environment: Readonly<Record<string, string>>): ReturnType<typeof findModel> {
  if (params.criticModel !== undefined) findModel(params.criticModel, "params.criticModel", environment);
  if (params.reward?.model !== undefined) findModel(params.reward.model, "params.reward.model", environment);
  return findModel(params.model, "params.model", environment);
}

/** The rules of the submission once more: now data, model and host are known. */
function judge(params: TrainParams, interpreter: Interpreter, context: LaunchContext, data: RunData, model: ReturnType<typeof findModel>["facts"], hostCpus: number, say: (text: string) => void): void {
  const problems = preflight({ params, release: interpreter.release, context, data: data.facts, model, hostCpus, path: "params" });
  const errors = problems.filter(({ severity }) => severity === "ERROR");
  for (const { path, message } of problems) if (!errors.some((error) => error.path === path && error.message === message)) say(`warning: ${path}: ${message}`);
  if (errors.length === 0) return;
  throw new NeverStarted(failed("INVALID_INPUT", errors.map(({ path, message }) => `${path}: ${message}`).join("\n"), errors[0]!.hint));
}

function earlierAttempts(host: AttemptHost, { assignment }: HeldAttempt, identity: string, expectation: CheckpointExpectation): readonly EarlierAttempt[] {
  const { trainer } = ALGORITHM_FACTS[(assignment.params as { algorithm: TrainParams["algorithm"] }).algorithm];
  return earlierOutputDirectories(host.attemptsRoot, assignment).flatMap((output): EarlierAttempt[] => {
    const root = dirname(output);
    const note = readNote({ planFile: join(root, "plan.json") });
    if (note === null) return [];
    const trained = readTrained(root);
    const own = listCheckpoints(note.checkpointDir, trainer, expectation);
    // A run that was resumed at its very end has its result in an earlier attempt's folder.
    const elsewhere = trained?.checkpoint != null && !own.some(({ path }) => path === trained.checkpoint) ? checkpointsAt(trained.checkpoint, trainer, expectation) : [];
    return [{ fence: Number(root.split("/").at(-1)), sameRun: note.identity === identity, checkpoints: [...elsewhere, ...own], finishedStep: trained?.checkpoint == null ? null : trained.step }];
  });
}

function rootOf(host: AttemptHost, { assignment }: HeldAttempt, fence: number): string {
  return dirname(earlierOutputDirectories(host.attemptsRoot, assignment).find((output) => Number(dirname(output).split("/").at(-1)) === fence) ?? "");
}

/** P1. */
function checkDisk(params: TrainParams, size: ModelSize | null, steps: number | null, folder: string, say: (text: string) => void): void {
  const free = Number(freeDisk(folder) ?? NaN);
  if (size === null || !Number.isFinite(free)) return;
  const count = checkpointsOf(params, steps);
  const needed = checkpointBytes(params, size) * count + (params.export === "last" ? exportBytes(params, size) : 0);
  const told = `${count} checkpoint${count === 1 ? "" : "s"} of about ${gib(checkpointBytes(params, size))}${params.export === "last" ? ` and the exported model of ${gib(exportBytes(params, size))}` : ""}`;
  if (needed * (1 - SIZE_ERROR) > free) {
    throw new NeverStarted(failed("DISK_FULL", `The disk of this agent has ${gib(free)} free; ${told} need about ${gib(needed)}.`, "Free space, save less often (saveEvery), keep fewer (keepCheckpoints), or run the stage where there is more."));
  }
  if (needed > free) say(`warning: the disk has ${gib(free)} free, and ${told} need about ${gib(needed)}`);
}

function gib(bytes: number): string {
  return `${(bytes / 2 ** 30).toFixed(bytes < 2 ** 30 ? 2 : 1)} GiB`;
}

/** What only the installed packages can say. Not being able to ask is no refusal: the launch itself will tell. */
async function askInstalled(params: TrainParams, interpreter: Interpreter, context: LaunchContext, dpo: DpoContext | null, environment: Readonly<Record<string, string>>, signal: AbortSignal, say: (text: string) => void): Promise<void> {
  const ask = (program: "compose_config" | "check_reward" | "parse_dpo", args: readonly string[], timeoutMs: number, input?: string) =>
    askPython({ python: interpreter.python, program, args, environment, signal, timeoutMs, ...(input === undefined ? {} : { input }) });
  const { reward } = params;
  if (reward?.file !== undefined && ALGORITHM_FACTS[params.algorithm].trainer === "verl-rl") {
    if (!isAbsolute(reward.file) || statSync(reward.file, { throwIfNoEntry: false })?.isFile() !== true) throw new NeverStarted(failed("FILE_NOT_FOUND", `params.reward.file: there is no file ${reward.file} on this host.`, "Give the full path of a Python file on the host of this agent."));
    const answer = await ask("check_reward", [reward.file, reward.function, ...Object.keys(reward.arguments ?? {})], IMPORT_MS);
    if (answer.kind === "unanswered") say(`the reward function could not be tried: ${answer.why}`);
    else if (answer.problem !== null) throw new NeverStarted(failed("INVALID_INPUT", `params.reward: ${answer.problem}`, "It is called with (data_source, solution_str, ground_truth, extra_info) and the arguments of params.reward.arguments."));
  }
  if (dpo !== null) {
    const answer = await ask("parse_dpo", dpoArguments(params, dpo), IMPORT_MS);
    if (answer.kind === "unanswered") say(`TRL could not be asked about its arguments: ${answer.why}`);
    else if (answer.problem !== null) throw new NeverStarted(failed("INVALID_INPUT", `TRL ${interpreter.facts?.trl ?? ""} refuses the arguments: ${answer.problem}`, "For dpo the overrides are arguments of `trl dpo`, by name."));
    return;
  }
  const [config, engine] = configOf(params).split("+");
  const overrides = [...(engine === undefined ? [] : [`engine=${engine}`, `optim=${engine}`]), ...overridesOf(params, interpreter.release, context).map(overrideArgument)];
  const answer = await ask("compose_config", [], COMPOSE_MS, JSON.stringify({ config, overrides }));
  if (answer.kind === "unanswered") say(`verl could not be asked to compose its configuration: ${answer.why}`);
  else if (answer.problem !== null) {
    throw new NeverStarted(answer.missing ? failed("MODULE_NOT_FOUND", `verl cannot compose its configuration: ${answer.problem}`, null)
      : failed("INVALID_INPUT", `The installed verl ${interpreter.facts?.verl ?? ""} refuses the configuration: ${answer.problem}`, "Correct params.overrides for that version, and name it in params.verl, so that it is checked before the stage is placed."));
  }
}

/** D1 of src/verl/dpo.ts. */
function linkData(data: RunData, folder: string): string {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  for (const [split, files] of [["train", data.trainFiles], ["validation", data.valFiles]] as const) files.forEach((file, position) => symlinkSync(file, join(folder, dataLink(split, position))));
  return folder;
}
