// The Python that a trainer runs in: found, asked what it has, and judged against what the stage needs.

import { ALGORITHM_FACTS, ROLLOUT_ENGINES, type RolloutEngine } from "../../domain/training/algorithms.js";
import { DEFAULT_VERL, type TrainParams } from "../../domain/training/train-params.js";
import { simulatedPython } from "../../simulation/stand-in.js";
import { releaseFor, type Release } from "../../verl/releases.js";
import { failed, NeverStarted } from "../attempt/program-role.js";
import type { Place } from "../place/place.js";
import { packageConflict, probePython, type PythonFacts } from "../host/python-probe.js";

export interface Interpreter {
  /** Words that start it. */
  readonly python: readonly string[];
  readonly release: Release;
  /** Null: a stand-in that has nothing installed. */
  readonly facts: PythonFacts | null;
}

/** How long the probe may take, in milliseconds: a cold disk is slow. */
const PROBE_MS = 60_000;

/** For a train stage. Throws NeverStarted naming what is missing. */
export async function trainInterpreter(place: Place, params: TrainParams, program: string, environment: Readonly<Record<string, string>>, say: (text: string) => void): Promise<Interpreter> {
  if (params.simulate) {
    say("simulated: a stand-in that follows the trainer's contract runs in its place, and trains nothing");
    return standIn(params.verl ?? DEFAULT_VERL);
  }
  const facts = await askInterpreter(place, program, environment);
  const { trainer } = ALGORITHM_FACTS[params.algorithm];
  const conflict = packageConflict(facts);
  if (conflict !== null && trainer !== "trl-dpo") throw lacking(conflict, "Correct that environment, or name another interpreter in params.python.");
  const needs: (keyof PythonFacts)[] = trainer === "trl-dpo" ? ["trl", "torch"] : trainer === "verl-sft" ? ["verl", "torch"] : ["verl", "torch", "ray", ...rolloutEngine(params)];
  if (params.lora !== undefined) needs.push("peft");
  const missing = needs.filter((name) => facts[name] === null);
  if (missing.length > 0) throw lacking(`${facts.pythonPath} on this host has no ${missing.join(" and no ")}, which ${params.algorithm} needs.`, `Install ${missing.join(", ")} there, or name an interpreter that has it in params.python.`);
  return { python: [facts.pythonPath], facts, release: trainer === "trl-dpo" ? releaseFor(DEFAULT_VERL)!.release : releaseOf(facts, say) };
}

/** What draws the answers, if it is one that the probe knows. */
function rolloutEngine({ rollout, overrides }: TrainParams): readonly (keyof PythonFacts & RolloutEngine)[] {
  const name = overrides["actor_rollout_ref.rollout.name"] ?? rollout?.engine ?? ROLLOUT_ENGINES[0];
  return ROLLOUT_ENGINES.filter((engine) => engine === name);
}

/** For merging what this trainer saved: words that start it. Throws NeverStarted. */
export async function mergeInterpreter(place: Place, program: string, trainer: "verl" | "trl", environment: Readonly<Record<string, string>>, say: (text: string) => void): Promise<readonly string[]> {
  const facts = await askInterpreter(place, program, environment);
  const missing = (trainer === "verl" ? (["verl", "transformers"] as const) : (["transformers"] as const)).filter((name) => facts[name] === null);
  if (missing.length > 0) throw lacking(`${facts.pythonPath} on this host has no ${missing.join(" and no ")}, which merging needs.`, `Install ${missing.join(", ")} there, or name an interpreter that has it in params.python.`);
  if (trainer === "verl") releaseOf(facts, say);
  return [facts.pythonPath];
}

/** A stand-in that plays this version. */
function standIn(version: string): Interpreter {
  const { release } = releaseFor(version) ?? releaseFor(DEFAULT_VERL)!;
  return { python: simulatedPython(release.release), facts: null, release };
}

async function askInterpreter(place: Place, program: string, environment: Readonly<Record<string, string>>): Promise<PythonFacts> {
  const facts = await probePython(place, program, environment, PROBE_MS);
  if (facts === "silent") throw new NeverStarted(failed("INTERNAL", `${program} on this host did not say within ${PROBE_MS / 1_000} s what it has installed.`, "Look at the disk that it lies on, then retry."));
  if (facts === null) throw new NeverStarted(failed("COMMAND_NOT_FOUND", `There is no Python interpreter ${JSON.stringify(program)} on this host that answers.`, "Give its path in params.python, or in TRAINYARD_AGENT_PYTHON of the agent."));
  return facts;
}

function releaseOf({ verl, pythonPath }: PythonFacts, say: (text: string) => void): Release {
  const choice = releaseFor(verl!);
  if (choice === null) throw lacking(`${pythonPath} has verl ${verl}, which cannot be used; 0.7.0 is the oldest.`, "Install a newer verl there, or name an interpreter that has one in params.python.");
  say(`verl ${verl} in ${pythonPath}${choice.tried ? "" : `, which was never tried here; taken for ${choice.release.release}`}`);
  return choice.release;
}

function lacking(message: string, hint: string): NeverStarted {
  return new NeverStarted(failed("MODULE_NOT_FOUND", message, hint));
}
