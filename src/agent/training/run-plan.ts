// Everything between an assignment and the launch of its trainer: interpreter, data, model, the rules of preflight with what this host knows, the checkpoint to go
// on from, disk, reward function, and the installed verl composing the very configuration. Each refusal is one clear failure before a GPU is used.
//   P1. Estimates warn; only what is certain, or an estimate that is missed by more than its error, refuses.

import { mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { ALGORITHM_FACTS, type Trainer } from "../../domain/training/algorithms.js";
import type { TrainParams } from "../../domain/training/train-params.js";
import { checkpointBytes, exportBytes, type ModelSize } from "../../verl/memory-estimate.js";
import { savingFacts } from "../../verl/checkpoint-expectation.js";
import { dataLink, dpoArguments, dpoCommand, type DpoContext } from "../../verl/dpo.js";
import { worldSize, type LaunchContext } from "../../verl/launch-context.js";
import type { CheckpointExpectation } from "../../verl/output/checkpoint-layout.js";
import { preflight } from "../../verl/preflight.js";
import { chooseResume, runIdentity, type EarlierAttempt, type ResumeChoice } from "../../verl/resume.js";
import { checkpointsOf, stepsOf } from "../../verl/run-length.js";
import { compositionOf, trainCommand } from "../../verl/train-command.js";
import { earlierAttempts, isBelow } from "../attempt/attempt-directory.js";
import type { AttemptHost } from "../attempt/attempt-host.js";
import { failed, NeverStarted, type ProgramPlan, type RoleContext } from "../attempt/program-role.js";
import type { HeldAttempt } from "../journal/records.js";
import type { Place } from "../place/place.js";
import { checkpointsAt, listCheckpoints } from "./checkpoint-folder.js";
import { trainInterpreter, type Interpreter } from "./interpreter.js";
import { decideTogether, meet, meetingOf, meetingPort, sharedFolder } from "./meeting.js";
import { askPython, withOurPrograms } from "./python-programs.js";
import { rayMember } from "./ray-member.js";
import { findData, findFile, type RunData } from "./run-data.js";
import { findModel, type ModelHost, type RunModel } from "./run-model.js";
import { readNote, readTrained, sharedNotes, writeNote, writeTrained, type RunNote, type TrainedNote } from "./run-note.js";
import { makeTemporaryFolder, temporaryFolderPath } from "./temporary-folder.js";

/** How long a look by the installed packages themselves may take, in milliseconds: Hydra alone is quick, TRL imports torch. */
const COMPOSE_MS = 120_000;
const IMPORT_MS = 300_000;
/** By how much the estimate of a checkpoint's size may be wrong, as a share (P1). */
const SIZE_ERROR = 0.3;

export interface RunPlan {
  readonly plan: ProgramPlan;
  readonly note: RunNote;
  /** An earlier attempt has trained to the end: only what follows is left. Otherwise null. */
  readonly trained: TrainedNote | null;
}

/** Throws NeverStarted. */
export async function planRun(params: TrainParams, held: HeldAttempt, stageVariables: Readonly<Record<string, string>>, host: AttemptHost, context: RoleContext): Promise<RunPlan> {
  const { assignment } = held;
  const { directory, place, say, signal } = context;
  const isHere = host.place === host.home;
  const { trainer } = ALGORITHM_FACTS[params.algorithm];
  const environment = context.environmentWith(stageVariables);
  if (host.guest !== undefined && assignment.members.length > 1) throw new NeverStarted(failed("INVALID_INPUT", "A rehearsal over several nodes needs agents that run on their hosts; this one acts for a host over SSH, and rehearses beside itself.", "Set resources.nodes to 1 for the rehearsal."));
  const meeting = assignment.members.length > 1 ? meetingOf(assignment, host) : null;
  if (meeting !== null && trainer === "trl-dpo") throw new NeverStarted(failed("INVALID_INPUT", "dpo trains on one node.", "Set resources.nodes to 1."));
  const interpreter = await trainInterpreter(place, params, params.python ?? host.python, environment, say);
  const data = await findData(params, host, { place, python: interpreter.python, environment, owner: assignment.attemptId, signal, say });
  const reward = params.reward?.file === undefined || trainer !== "verl-rl" || params.simulate ? params.reward : { ...params.reward, file: await findFile(params.reward.file, "params.reward.file", host, { place, signal, say }) };
  const local: TrainParams = { ...params, ...(reward === undefined ? {} : { reward }), trainFiles: [...data.trainFiles], ...(data.valFiles.length === 0 ? {} : { valFiles: [...data.valFiles] }) };
  const model = params.simulate ? { facts: null, size: null } : await findModels(local, { place, python: interpreter.python, environment, signal });

  const folderOf = (name: string, alone: string = directory.root) => join(meeting?.folder ?? alone, name);
  const launch: LaunchContext = {
    nodes: assignment.members.length, gpusPerNode: assignment.gpus.length, rank: assignment.rank, meeting: meeting === null ? null : { ...meeting, port: meetingPort(assignment.attemptId, host.ports) }, python: interpreter.python,
    checkpointDir: folderOf("checkpoints", directory.output), hydraDir: join(directory.root, "hydra"), samplesDir: folderOf("samples"), project: assignment.pipelineName, experiment: assignment.stage,
    resumeFrom: null, cpus: trainer === "verl-rl" && meeting === null ? host.cpus : null, device: assignment.gpus.length > 0 ? "cuda" : "cpu", // a cluster that is there already has its processors
  };
  judge(local, interpreter, launch, data, model.facts, host.cpus, say);
  const { savesLast, ...expectation } = savingFacts(local, interpreter.release, launch);
  const totalSteps = stepsOf(local, data.facts.trainRows, worldSize(launch));
  if (assignment.rank === 0) await checkDisk(local, model.size, totalSteps, place, meeting === null ? directory.root : host.sharedRoot!, say);
  const shared = meeting === null ? directory.root : meeting.folder;
  const temporary = trainer === "verl-rl" || (trainer === "trl-dpo" && !isHere) ? temporaryFolderPath(assignment.attemptId, isHere) : null;
  const dataFolder = trainer !== "trl-dpo" ? "" : isHere ? join(directory.root, "data") : join(temporary!, "data");
  await makeTemporaryFolder({ place, isHere, python: interpreter.python, environment, signal }, temporary, trainer === "trl-dpo" ? { folder: dataFolder, links: dataLinks(data) } : null);
  const commandFor = (context: LaunchContext): Launch => (trainer === "trl-dpo" ? dpoLaunch(local, { ...context, dataFolder, validates: data.valFiles.length > 0 }) : trainCommand(local, interpreter.release, context));
  if (interpreter.facts !== null) {
    const asked = { ...commandFor(launch).environment, ...stageVariables };
    await askInstalled(place, local, interpreter, { ...launch, dataFolder, validates: data.valFiles.length > 0 }, context.environmentWith(asked), signal, say);
  }

  const identity = runIdentity(assignment.params);
  const decide = async (): Promise<Decision> => {
    const earlier = await earlierNotes(place, host, assignment);
    const choice = chooseResume({
      mode: typeof params.resume === "string" ? params.resume : { from: await checkpointsAt(place, place.here(params.resume.from), trainer, expectation), asked: params.resume.from },
      attempts: await findEarlier(place, earlier, identity, trainer, expectation), rollbacks: assignment.rollbacks ?? [], worldSize: worldSize(launch),
    });
    const finished = choice.kind === "resume" && choice.finished ? (await earlier.find(({ fence }) => fence === choice.fence)?.trained() ?? null) : null;
    return { choice, trained: finished };
  };
  let met: LaunchContext["meeting"] = null;
  if (meeting !== null) {
    say(`waiting for the ${assignment.members.length} members in ${meeting.folder}`);
    met = { address: meeting.address, port: await meet(meeting, assignment, host.ports, context) };
    say(`they are there; they meet at ${met.address}:${met.port}`);
  }
  const { choice, trained } = meeting === null ? await decide() : await decideTogether(meeting, assignment, context, decide);
  if (choice.kind === "refuse") throw new NeverStarted(failed("INVALID_INPUT", choice.message, choice.hint));
  if (choice.kind === "start" && choice.why !== null) say(`starts from the model: ${choice.why}`);
  if (choice.kind === "resume") say(`goes on from the checkpoint of step ${choice.checkpoint.step}${choice.fence === null ? "" : ` of attempt ${choice.fence}`}: ${place.there(choice.checkpoint.path)}`);
  if (trained !== null) say("that attempt had trained to the end; only what comes after is left");

  const resumed = choice.kind === "resume" ? { step: choice.checkpoint.step, path: choice.checkpoint.path } : null;
  for (const folder of [launch.checkpointDir, launch.hydraDir, launch.samplesDir]) if (isHere || isBelow(directory.root, folder)) mkdirSync(folder, { recursive: true, mode: 0o700 });
  const command = commandFor({ ...launch, meeting: met, resumeFrom: resumed?.path ?? null });
  const ray = trainer === "verl-rl" ? temporary : null;
  const own = await withOurPrograms(place, command.argv, { signal, say });
  const member = meeting === null || met === null || ray === null ? null
    : await rayMember({ ...meeting, ...met }, assignment, { python: interpreter.python, trainer: own, cpus: host.cpus, temporaryFolder: ray, cluster: !params.simulate }, directory, context);
  const argv = member?.argv ?? own;
  const logger = trainer !== "trl-dpo" && interpreter.release.fileLogger ? join(shared, "logger.jsonl") : null;
  const loggerFile = logger === null || isHere ? logger : join(directory.root, "logger.jsonl");
  const note: RunNote = {
    identity, trainer, python: interpreter.python, argv, stopSignal: command.stopSignal, checkpointDir: launch.checkpointDir, expectation, savesLast, sharedFolder: meeting?.folder ?? null, modelDir: folderOf("model", directory.output),
    samplesDir: trainer === "verl-rl" && params.samples ? launch.samplesDir : null, loggerFile, ...(logger === null || logger === loggerFile ? {} : { loggerThere: logger }), resumed, totalSteps, simulated: params.simulate,
    model: params.model, loraAlpha: params.lora === undefined ? null : (params.lora.alpha ?? params.lora.rank * 2),
  };
  writeNote(directory, note);
  if (trained !== null) writeTrained(directory.root, trained);
  if (meeting !== null && assignment.rank === 0) {
    const notes = sharedNotes(place, meeting.folder);
    await notes.writeNote(note);
    if (trained !== null) await notes.writeTrained(trained);
  }
  return {
    note, trained,
    plan: {
      argv, workingDirectory: null, stopSignal: command.stopSignal,
      environment: { ...command.environment, ...stageVariables, ...(ray === null ? {} : { RAY_TMPDIR: ray }), ...(logger === null ? {} : { VERL_FILE_LOGGER_PATH: logger }) },
      ...(member === null ? {} : { reads: member.reads }),
    },
  };
}

type Launch = Pick<ReturnType<typeof trainCommand>, "argv" | "environment"> & { readonly stopSignal: NodeJS.Signals | null };
interface Decision { readonly choice: ResumeChoice; readonly trained: TrainedNote | null }

function dpoLaunch(params: TrainParams, context: DpoContext): Launch {
  return { argv: dpoCommand(params, context), stopSignal: null, environment: { PYTHONUNBUFFERED: "1", TOKENIZERS_PARALLELISM: "true" } };
}

async function findModels(params: TrainParams, host: ModelHost): Promise<RunModel> {
  if (params.criticModel !== undefined) await findModel(params.criticModel, "params.criticModel", host);
  if (params.reward?.model !== undefined) await findModel(params.reward.model, "params.reward.model", host);
  return findModel(params.model, "params.model", host);
}

/** The rules of the submission once more: now data, model and host are known. */
function judge(params: TrainParams, interpreter: Interpreter, context: LaunchContext, data: RunData, model: RunModel["facts"], hostCpus: number, say: (text: string) => void): void {
  const problems = preflight({ params, release: interpreter.release, context, data: data.facts, model, hostCpus, path: "params" });
  const errors = problems.filter(({ severity }) => severity === "ERROR");
  for (const { path, message } of problems) if (!errors.some((error) => error.path === path && error.message === message)) say(`warning: ${path}: ${message}`);
  if (errors.length === 0) return;
  throw new NeverStarted(failed("INVALID_INPUT", errors.map(({ path, message }) => `${path}: ${message}`).join("\n"), errors[0]!.hint));
}

interface EarlierNotes {
  readonly fence: number;
  note(): Promise<RunNote | null>;
  trained(): Promise<TrainedNote | null>;
}

/** What earlier attempts of the stage have noted, newest first: in their own directories here, or, of runs over several nodes, in the folder that all nodes see. */
async function earlierNotes(place: Place, host: AttemptHost, assignment: HeldAttempt["assignment"]): Promise<readonly EarlierNotes[]> {
  if (assignment.members.length === 1) {
    return earlierAttempts(host.attemptsRoot, assignment).map(({ fence, root }) => ({ fence, note: async () => readNote({ planFile: join(root, "plan.json") }), trained: async () => readTrained(root) }));
  }
  const stage = dirname(sharedFolder(host.sharedRoot!, assignment));
  const fences = (await place.list(stage)).map(({ name }) => Number(name)).filter((fence) => Number.isInteger(fence) && fence > 0 && fence < assignment.fence);
  return fences.sort((a, b) => b - a).map((fence) => ({ fence, ...sharedNotes(place, join(stage, String(fence))) }));
}

async function findEarlier(place: Place, earlier: readonly EarlierNotes[], identity: string, trainer: Trainer, expectation: CheckpointExpectation): Promise<readonly EarlierAttempt[]> {
  const found = await Promise.all(earlier.map(async ({ fence, ...attempt }): Promise<readonly EarlierAttempt[]> => {
    const note = await attempt.note();
    if (note === null) return [];
    const trained = await attempt.trained();
    const own = await listCheckpoints(place, note.checkpointDir, trainer, expectation);
    // A run that was resumed at its very end has its result in an earlier attempt's folder.
    const elsewhere = trained?.checkpoint != null && !own.some(({ path }) => path === trained.checkpoint) ? await checkpointsAt(place, trained.checkpoint, trainer, expectation) : [];
    return [{ fence, sameRun: note.identity === identity, checkpoints: [...elsewhere, ...own], finishedStep: trained?.checkpoint == null ? null : trained.step }];
  }));
  return found.flat();
}

/** P1. */
async function checkDisk(params: TrainParams, size: ModelSize | null, steps: number | null, place: Place, folder: string, say: (text: string) => void): Promise<void> {
  const free = size === null ? null : await place.freeDisk(folder);
  if (size === null || free === null) return;
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
async function askInstalled(place: Place, params: TrainParams, interpreter: Interpreter, context: DpoContext, environment: Readonly<Record<string, string>>, signal: AbortSignal, say: (text: string) => void): Promise<void> {
  const ask = (program: "compose_config" | "check_reward" | "parse_dpo", args: readonly string[], timeoutMs: number, input?: string) =>
    askPython({ place, say, python: interpreter.python, program, args, environment, signal, timeoutMs, ...(input === undefined ? {} : { input }) });
  const { reward } = params;
  if (reward?.file !== undefined && ALGORITHM_FACTS[params.algorithm].trainer === "verl-rl") {
    const answer = await ask("check_reward", [reward.file, reward.function, ...Object.keys(reward.arguments ?? {})], IMPORT_MS);
    if (answer.kind === "unanswered") say(`the reward function could not be tried: ${answer.why}`);
    else if (answer.problem !== null) throw new NeverStarted(failed("INVALID_INPUT", `params.reward: ${answer.problem}`, "It is called with (data_source, solution_str, ground_truth, extra_info) and the arguments of params.reward.arguments."));
  }
  if (ALGORITHM_FACTS[params.algorithm].trainer === "trl-dpo") {
    const answer = await ask("parse_dpo", dpoArguments(params, context), IMPORT_MS);
    if (answer.kind === "unanswered") say(`TRL could not be asked about its arguments: ${answer.why}`);
    else if (answer.problem !== null) throw new NeverStarted(failed("INVALID_INPUT", `TRL ${interpreter.facts?.trl ?? ""} refuses the arguments: ${answer.problem}`, "For dpo the overrides are arguments of `trl dpo`, by name."));
    return;
  }
  const answer = await ask("compose_config", [], COMPOSE_MS, JSON.stringify(compositionOf(params, interpreter.release, context)));
  if (answer.kind === "unanswered") say(`verl could not be asked to compose its configuration: ${answer.why}`);
  else if (answer.problem !== null) {
    throw new NeverStarted(answer.missing ? failed("MODULE_NOT_FOUND", `verl cannot compose its configuration: ${answer.problem}`, null)
      : failed("INVALID_INPUT", `The installed verl ${interpreter.facts?.verl ?? ""} refuses the configuration: ${answer.problem}`, "Correct params.overrides for that version, and name it in params.verl, so that it is checked before the stage is placed."));
  }
}

/** D1 of src/verl/dpo.ts. */
function dataLinks(data: RunData): readonly (readonly [name: string, target: string])[] {
  return ([["train", data.trainFiles], ["validation", data.valFiles]] as const).flatMap(([split, files]) => files.map((file, position) => [dataLink(split, position), file] as const));
}
